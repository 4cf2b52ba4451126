"""The objective against a full batch in float64, written out with loops; and what a step is made of."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from lvmfast.training.batches import Batching  # noqa: E402
from lvmfast.training.config import TrainConfig  # noqa: E402
from lvmfast.training.corruption import corrupted  # noqa: E402
from lvmfast.training.identities import Identities  # noqa: E402
from lvmfast.training.loss import Negatives, Objective  # noqa: E402
from lvmfast.training.negatives import NegativeMasks  # noqa: E402
from lvmfast.training.optimiser import learning_rate, make_optimiser  # noqa: E402
from lvmfast.training.recipes import RECIPES, settle  # noqa: E402

pytestmark = pytest.mark.heavy

DIM, LENGTH, ROWS = 6, 3, 40


class World:
    """A training set in memory: targets, which of them are equal, windows of them, documents."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        self.targets = rng.normal(size=(ROWS, DIM))
        self.targets[7] = self.targets[3]  # one vector twice, in two documents
        self.targets[9] = self.targets[8] + 0.01 * rng.normal(size=DIM)  # a near-duplicate
        self.name = np.arange(ROWS)
        self.name[7] = 3
        self.context = np.stack([(np.arange(ROWS) - k) % ROWS for k in range(LENGTH, 0, -1)], 1)
        self.context = self.name[self.context]
        self.document = np.arange(ROWS) // 5
        self.predictions = rng.normal(size=(ROWS, DIM))

    @property
    def identities(self):
        return Identities(self.name, self.context)


def unit(v):
    return v / np.linalg.norm(v)


def expected_losses(world, config, batch, bank, project=unit):
    """Per row of `batch`: total and InfoNCE, by the definition."""
    losses = []
    for i in batch:
        query, own = project(unit(world.predictions[i])), unit(world.targets[i])
        candidates = [j for j in batch if j != i]
        in_batch = {world.name[j] for j in batch}
        candidates += [j for j in bank if world.name[j] not in in_batch]
        scores = []
        for j in candidates:
            target = unit(world.targets[j])
            if world.name[j] == world.name[i]:
                continue
            if config.mask_context and world.name[j] in world.context[i]:
                continue
            if config.mask_same_document and world.document[j] == world.document[i]:
                continue
            if config.mask_near > 0 and target @ own >= config.mask_near:
                continue
            scores.append(query @ project(target) / config.tau)
        positive = query @ project(own) / config.tau
        infonce = math.log(sum(math.exp(s - positive) for s in scores) + 1.0)
        cosine = unit(world.predictions[i]) @ own
        losses.append((config.infonce * infonce + config.cosine * (1 - cosine), infonce))
    return np.array(losses)


def losses_by_micro(world, config, objective, batch, bank, micro, weights):
    """Total loss, and the gradient at the predictions, of an effective batch cut into microbatches."""
    masks = NegativeMasks(config, world.identities, world.document, bank)
    candidates = objective.candidates(
        torch.from_numpy(world.targets[batch]),
        torch.nn.functional.normalize(torch.from_numpy(world.targets[bank]), dim=1) if config.bank else None,
    )
    per_row, met = [], 0
    for start in range(0, len(batch), micro):
        part = slice(start, min(start + micro, len(batch)))
        found = masks.of(batch, part)
        as_tensors = [
            tuple(torch.from_numpy(x) for x in pair) for pair in (found.masked, found.same_document)
        ]
        negatives = Negatives(as_tensors[0], torch.from_numpy(found.dropped), as_tensors[1])
        prediction = torch.nn.functional.normalize(weights[batch[part]], dim=-1)
        losses = objective(prediction, torch.arange(part.start, part.stop), candidates, negatives)
        (losses.total.sum() / len(batch)).backward()
        per_row.append(losses.total.detach())
        met += int(losses.same_document or 0)
    return torch.cat(per_row).numpy(), met


CONFIGS = {
    "seed": settle("test", {"recipe": "seed", "head_hidden": 5, "head_dim": 4}),
    "bank": settle("test", {"recipe": "bank", "bank": 30}),
    "all masks": settle(
        "test", {"recipe": "bank", "bank": 30, "mask_same_document": True, "mask_near": 0.99, "cosine": 0.5}
    ),
    "no masks": settle("test", {"recipe": "bank", "bank": 0, "mask_context": False, "mask_near": 0.0}),
}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("rows", [16, 13])  # 13: the last microbatch is a partial one
def test_every_way_of_cutting_an_effective_batch_gives_the_full_batch(name, rows):
    config, world = CONFIGS[name], World(rows)
    rng = np.random.default_rng(1)
    batch = rng.permutation(ROWS)[:rows]
    batch[:4] = [3, 7, 8, 9]
    batch = np.array(list(dict.fromkeys(batch.tolist())))
    bank = np.sort(rng.choice(ROWS, 30, replace=False)) if config.bank else np.empty(0, np.int64)
    torch.manual_seed(0)
    objective = Objective(config, DIM).double()

    def project(vector):
        if objective.head is None:
            return vector
        with torch.no_grad():
            return objective.head(torch.from_numpy(vector)[None])[0].numpy()

    wanted = expected_losses(world, config, batch.tolist(), bank.tolist(), project)[:, 0]
    gradients = []
    for micro in (len(batch), -(-len(batch) // 2), -(-len(batch) // 4), 5):
        weights = torch.from_numpy(world.predictions.copy()).requires_grad_()
        objective.zero_grad()
        got, _ = losses_by_micro(world, config, objective, batch, bank, micro, weights)
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)
        gradients.append([weights.grad, *(p.grad.clone() for p in objective.parameters())])
    for other in gradients[1:]:
        for a, b in zip(gradients[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)


def test_the_gradient_is_that_of_the_full_batch_by_differences():
    """Against central differences of the looped definition, so that stop-gradient is checked, too."""
    config, world = CONFIGS["all masks"], World(2)
    batch, bank = np.arange(0, 14), np.arange(10, 40)
    objective = Objective(config, DIM).double()
    weights = torch.from_numpy(world.predictions.copy()).requires_grad_()
    losses_by_micro(world, config, objective, batch, bank, 4, weights)
    for i, k in [(0, 0), (3, 2), (8, 5), (13, 1)]:
        sums = []
        for shift in (1e-6, -1e-6):
            world.predictions[i, k] += shift
            sums.append(expected_losses(world, config, batch.tolist(), bank.tolist())[:, 0].mean())
            world.predictions[i, k] -= shift
        assert float(weights.grad[i, k]) == pytest.approx((sums[0] - sums[1]) / 2e-6, rel=1e-5, abs=1e-9)


def test_targets_behind_the_head_carry_no_gradient():
    """The head learns from the queries alone: its gradient is that with projected targets as constants."""
    config, world = CONFIGS["seed"], World(3)
    torch.manual_seed(0)
    objective = Objective(config, DIM).double()
    targets = torch.from_numpy(world.targets[:8]).requires_grad_()
    candidates = objective.candidates(targets, None)
    assert not candidates.batch.requires_grad
    assert not candidates.targets.requires_grad


@pytest.mark.parametrize("masked", [False, True])
def test_same_document_negatives_are_counted_as_they_are_met(masked):
    world = World(4)
    config = replace(CONFIGS["no masks"], bank=30, mask_same_document=masked)
    batch, bank = np.arange(0, 20, 2), np.arange(ROWS)
    weights = torch.from_numpy(world.predictions.copy()).requires_grad_()
    _, met = losses_by_micro(world, config, Objective(config, DIM).double(), batch, bank, 3, weights)
    in_batch = {world.name[j] for j in batch}
    candidates = [*batch, *(j for j in bank if world.name[j] not in in_batch)]
    pairs = sum(
        world.document[i] == world.document[j] and world.name[i] != world.name[j]
        for i in batch
        for j in candidates
    )
    assert pairs > 0
    assert met == (0 if masked else pairs)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=60),
    step_rows=st.integers(1, 20),
    limit=st.integers(0, 3),
    epoch=st.integers(1, 3),
)
def test_an_epoch_holds_each_sequence_once_and_keeps_the_limit(sizes, step_rows, limit, epoch):
    document = np.repeat(np.arange(len(sizes)), sizes)
    batching = Batching(step_rows, limit, seed=5)
    steps = batching.epoch(document, epoch)
    assert len(steps) == batching.steps(document)
    assert sorted(np.concatenate(steps).tolist()) == list(range(len(document)))
    assert max(map(len, steps)) <= step_rows
    assert min(map(len, steps)) >= 1
    if limit:
        held = batching.limit(document)
        assert max(np.bincount(document[rows]).max() for rows in steps) <= held
        assert held == limit or len(document) // (len(steps) + 1) < batching.fewest
        assert max(map(len, steps)) - min(map(len, steps)) <= 1
    else:  # the last partial step is not dropped, and no other is partial
        assert [len(rows) for rows in steps[:-1]] == [step_rows] * (len(steps) - 1)
    again = Batching(step_rows, limit, seed=5).epoch(document, epoch)
    assert all(np.array_equal(a, b) for a, b in zip(steps, again, strict=True))


def test_a_limit_does_not_make_hundreds_of_steps_of_two():
    """Where one document is nearly all there is; and where others are there, it holds."""
    alone, among = np.zeros(272, np.int64), np.arange(2720) % 10
    batching = Batching(1024, 2, seed=0)
    assert [len(rows) for rows in batching.epoch(alone, 1)] == [34] * 8
    assert batching.limit(alone) == 34
    steps = Batching(64, 2, seed=0).epoch(np.sort(among), 1)
    assert max(np.bincount(np.sort(among)[rows]).max() for rows in steps) == 2


def test_epochs_and_seeds_differ():
    document = np.arange(100) // 5
    orders = [
        np.concatenate(Batching(16, limit, seed).epoch(document, epoch)).tolist()
        for limit in (0, 2)
        for seed in (0, 1)
        for epoch in (1, 2)
    ]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_corruption_zeroes_the_share_and_the_places_that_it_says():
    config = replace(CONFIGS["seed"], article_dropout=0.2, span_corruption=0.0)
    zeroed = corrupted(config, 20_000, 5, epoch=1, step=0)
    assert zeroed.any(1).mean() == pytest.approx(0.2, abs=0.01)
    lost = zeroed.sum(1)
    assert set(lost.tolist()) == {0, 1, 2, 3}
    assert np.array_equal(zeroed, np.arange(5) >= 5 - lost[:, None])  # the last ones
    spans = corrupted(replace(config, article_dropout=0.0, span_corruption=0.1), 20_000, 5, 1, 0)
    assert spans.any(1).mean() == pytest.approx(0.1, abs=0.01)
    assert set(spans.sum(1).tolist()) == {0, 1, 2}
    assert (np.abs(np.diff(spans, axis=1)).sum(1) <= 2).all()  # one run each
    both = corrupted(CONFIGS["seed"], 20_000, 2, 1, 0)
    assert not both.all(1).any()
    assert corrupted(CONFIGS["bank"], 10, 5, 1, 0) is None
    assert not corrupted(CONFIGS["seed"], 100, 1, 1, 0).any()  # a window of one vector keeps it


def test_the_learning_rate_rises_and_falls_to_a_hundredth():
    config = settle("test", {"recipe": "seed", "warmup": 10.0, "lr": 2.0})
    rates = [learning_rate(config, step, 110) for step in range(110)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert max(rates) == pytest.approx(2.0)
    assert rates[-1] == pytest.approx(0.02)
    assert all(a >= b for a, b in pairwise(rates[9:]))
    middle = 10 + (110 - 1 - 10) / 2
    assert learning_rate(config, middle, 110) == pytest.approx(2.0 * (0.01 + 0.99 / 2))


def test_decay_is_for_matrices_alone():
    objective = Objective(CONFIGS["seed"], DIM)
    optimiser = make_optimiser(CONFIGS["seed"], objective.named_parameters())
    decayed, plain = optimiser.param_groups
    assert decayed["weight_decay"] == 0.02
    assert plain["weight_decay"] == 0.0
    assert {p.ndim for p in decayed["params"]} == {2}
    assert {p.ndim for p in plain["params"]} == {1}


def test_figures_are_what_the_recipes_say():
    seed = settle("test", {"recipe": "seed"})
    assert (seed.infonce, seed.cosine, seed.tau, seed.head) == (0.7, 0.3, 0.07, True)
    assert (seed.head_hidden, seed.head_dim, seed.d_model) == (512, 256, 768)
    assert (seed.article_dropout, seed.article_dropout_positions, seed.span_corruption) == (0.2, 3, 0.1)
    assert (seed.batch, seed.accumulate, seed.lr, seed.weight_decay, seed.warmup) == (
        256,
        4,
        1e-3,
        0.02,
        1000,
    )
    assert (seed.final_lr, seed.clip, seed.epochs, seed.patience) == (0.01, 1.0, 20, 3)
    ar = settle("test", {"recipe": "ar"})
    assert (ar.infonce, ar.cosine, ar.bank, ar.head) == (0, 1, 0, False)
    plain = settle("test", {})
    assert (plain.recipe, plain.residual) == ("residual", "linear")
    bank = settle("test", {"recipe": "bank"})
    assert bank.residual == "none"
    assert bank.bank > 0
    assert (bank.head, bank.mask_context, bank.max_per_document) == (False, True, 2)
    assert set(RECIPES) == {"seed", "ar", "bank", "linear", "residual"}
    (meaning,) = (field.metadata["meaning"] for field in fields(TrainConfig) if field.name == "recipe")
    assert all(name in meaning for name in RECIPES)
    assert settle("test", {"preset": "seed"}) == seed, "what older runs called a recipe"
    assert seed.model == TrainConfig().model == "mamba_s"
    head = Objective(seed, 768).head
    shapes = {name: tuple(p.shape) for name, p in head.named_parameters()}
    assert shapes == {
        "inner.weight": (512, 768),
        "inner.bias": (512,),
        "norm.weight": (512,),
        "norm.bias": (512,),
        "outer.weight": (256, 512),
    }
