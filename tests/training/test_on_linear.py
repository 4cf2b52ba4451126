"""Networks that stand on the linear scorer: their start, scores by loops, what is called best, going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

import lvmfast  # noqa: E402
from lvmfast.cli import app  # noqa: E402
from lvmfast.errors import DataError  # noqa: E402
from lvmfast.evals.bootstrap import paired_interval  # noqa: E402
from lvmfast.models.checkpoint import load_model  # noqa: E402
from lvmfast.models.config import ModelConfig  # noqa: E402
from lvmfast.models.logit import conditional_logit  # noqa: E402
from lvmfast.training import lists, steps  # noqa: E402
from tests.support import walks  # noqa: E402
from tests.support.linear import NEIGHBOURS, QUICK, scored, side  # noqa: E402
from tests.support.runs import by_one_and_two, same_run, stopped_at  # noqa: E402

pytestmark = pytest.mark.heavy

NETWORK = {**QUICK, "model": "amn", "d_model": 16, "lr": 3e-2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return walks.write(tmp_path_factory.mktemp("data") / "walks.npz")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    return lvmfast.train(data, out=tmp_path_factory.mktemp("runs") / "whole", **NETWORK)


def model_of(run, epoch):
    return load_model(run / "checkpoints" / f"epoch-{epoch:04d}.safetensors")


def scores_of(run, epoch, windows, vectors):
    """Scores of each window by candidate: those of the linear scorer, and what the network adds."""
    model, _ = model_of(run, epoch)
    a, b = (weights.detach().double().numpy() for weights in model.linear.weights)
    pool = sorted({w[-1] for w in windows})
    with torch.no_grad():
        contexts = torch.from_numpy(np.stack([vectors[w[:-1]] for w in windows]))
        added = model.head(model.body(contexts)).double().numpy()
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return [
        {c: score + unit[c] @ more for c, score in of.items()}
        for of, more in zip(scored(windows, pool, vectors, a, b), added, strict=True)
    ]


def reciprocal_ranks(scores, windows):
    ranks = [sum(s >= of[w[-1]] for s in of.values()) for of, w in zip(scores, windows, strict=True)]
    return 1 / np.array(ranks)


def test_the_start_is_the_linear_scorer_to_the_last_bit_and_epochs_are_the_formula(whole):
    run = whole.path
    assert json.loads((run / "run.json").read_text())["recipe"] == "residual"
    vectors, windows = side(run, "val")
    model, info = model_of(run, 0)
    assert (info.config.residual, model.neighbours) == ("linear", NEIGHBOURS)
    contexts = torch.from_numpy(np.stack([vectors[w[:-1]] for w in windows]))
    contexts[:5, 0] = 0
    assert torch.equal(model.queries(contexts), model.linear.queries(contexts))
    assert not model.queries(torch.zeros(1, walks.LENGTH, walks.DIM)).any()
    stated = {0: info.metrics, 3: whole.history[-1]}
    for epoch, row in stated.items():
        scores = scores_of(run, epoch, windows, vectors)
        one = reciprocal_ranks(scores, windows)
        assert row["val_mrr"] == pytest.approx(one.mean())
        assert row["val_r5"] == pytest.approx(100 * np.mean(one >= 1 / 5))
        losses = [
            np.log(np.sum(np.exp(list(of.values())))) - of[w[-1]]
            for of, w in zip(scores, windows, strict=True)
        ]
        assert row["val_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert stated[3]["val_loss"] != stated[0]["val_loss"]
    for row in whole.history:  # the start stands beside every epoch
        assert row["baselines"]["linear"]["val_mrr"] == info.metrics["val_mrr"]


def test_the_scorer_at_the_start_is_the_most_likely_one(data, tmp_path, monkeypatch):
    """Eleven documents are one pool, and no step from the fitted weights makes the loss less."""
    monkeypatch.setattr(lists, "CANDIDATES", 200)  # all of them
    run = lvmfast.train(data, out=tmp_path / "run", **{**NETWORK, "epochs": 1}).path
    vectors, windows = side(run, "train")
    pool = sorted({w[-1] for w in windows})
    model, _ = model_of(run, 0)
    at = torch.cat(model.linear.weights).detach().double().numpy()
    by_weight = [
        scored(windows, pool, vectors, row[: walks.LENGTH], row[walks.LENGTH :]) for row in np.eye(len(at))
    ]
    tables = [
        np.array([[of[place][c] for of in by_weight] for c in (w[-1], *by_weight[0][place])])
        for place, w in enumerate(windows)
    ]  # the target first, and once more among the candidates

    def loss(weights):
        mean = np.mean([np.log(np.exp((t[1:] - t[0]) @ weights).sum()) for t in tables])
        return float(mean) + lists.RIDGE * float(weights @ weights) / 2

    here = loss(at)
    rng = np.random.default_rng(0)
    for _ in range(30):
        step = rng.standard_normal(len(at))
        assert loss(at + step / np.linalg.norm(step)) > here - 1e-6


def turned(path, documents=20, chunks=20):
    """Each vector is the one before it turned by one rotation, and some noise: no weighted sum can say so."""
    rng = np.random.default_rng(3)
    turn = np.linalg.qr(rng.standard_normal((walks.DIM, walks.DIM)))[0]
    vectors, keys, windows = [], [], []
    for doc in range(documents):
        chain = [rng.standard_normal(walks.DIM)]
        for _ in range(chunks - 1):
            step = turn @ chain[-1] + 0.3 * rng.standard_normal(walks.DIM)
            chain.append(step / np.linalg.norm(step) * 4)
        at = len(vectors) * chunks
        vectors.append(np.array(chain) / np.linalg.norm(chain, axis=1, keepdims=True))
        keys.append(np.stack([np.full(chunks, doc), np.arange(chunks)], 1))
        windows += [np.arange(at + i, at + i + walks.LENGTH + 1) for i in range(chunks - walks.LENGTH)]
    np.savez(
        path,
        chunk_vectors=np.concatenate(vectors).astype(np.float32),
        chunk_keys=np.concatenate(keys),
        windows=np.array(windows, np.int32),
    )
    return path


def test_best_is_what_is_shown_to_be_above_the_start(tmp_path):
    data = turned(tmp_path / "turned.npz")
    figures = {**NETWORK, "model": "mlp", "dropout": 0.0, "lr": 1e-2, "epochs": 8, "val_docs": 6}
    done = lvmfast.train(data, out=tmp_path / "run", **figures)
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert done.best_epoch == best["epoch"] > 0
    assert best["checkpoint"] == f"epoch-{best['epoch']:04d}.safetensors"
    assert best["over_start"]["above"]
    assert best["over_start"]["documents"] == 6
    assert best["over_start"]["interval"][0] > 0
    assert done.conclusion == best["conclusion"]
    assert done.conclusion.startswith(f"Epoch {best['epoch']} is better than the start, which is the fitted")
    row = done.history[best["epoch"] - 1]
    assert row["over_start"] == {k: v for k, v in best["over_start"].items() if k != "epoch"}
    # the interval, by the ranks of each query under both checkpoints
    with np.load(data) as file:
        arrays = dict(file)
    held = [w for w in arrays["windows"] if str(arrays["chunk_keys"][w[-1], 0]) in _held(tmp_path / "run")]
    start, end = (
        reciprocal_ranks(scores_of(tmp_path / "run", epoch, held, arrays["chunk_vectors"]), held)
        for epoch in (0, best["epoch"])
    )
    documents = arrays["chunk_keys"][[w[-1] for w in held], 0]
    assert row["over_start"]["difference"] == pytest.approx((end - start).mean())
    assert row["over_start"]["interval"] == pytest.approx(paired_interval(end, start, documents))


def _held(run):
    import pyarrow.parquet as pq

    documents = pq.read_table(run / "split" / "documents.parquet").to_pydict()
    return {d for d, part in zip(documents["doc_id"], documents["part"], strict=True) if part == "val"}


@pytest.mark.parametrize("residual", ["linear", "last"])
def test_where_nothing_is_shown_to_be_better_the_best_epoch_is_the_start(data, tmp_path, residual):
    kind = {} if residual == "linear" else {"recipe": "bank", "residual": residual}
    figures = {**NETWORK, "lr": 1e-6, "warmup": 0.0, "patience": 2, "epochs": 9, **kind}
    done = lvmfast.train(data, out=tmp_path / "run", **figures)
    assert done.best_epoch == 0
    named = {"linear": "the fitted linear scorer", "last": "copy-last"}[residual]
    assert done.conclusion.startswith(
        f"No epoch is shown to be better than the start, which is {named}: the best epoch is 0"
    )
    assert "over 3 documents" in done.conclusion
    best = json.loads((tmp_path / "run" / "best.json").read_text())
    assert (best["epoch"], best["over_start"]["above"]) == (0, False)
    assert load_model(tmp_path / "run")[1].epoch == 0
    assert done.stopped.startswith("no epoch had a better val_mrr than epoch")


def test_one_document_shows_nothing(data, tmp_path):
    done = lvmfast.train(data, out=tmp_path / "run", **{**NETWORK, "val_docs": 1, "epochs": 1})
    assert done.best_epoch == 0
    assert done.history[0]["over_start"]["interval"] == [None, None]
    assert "(1 document: no interval can be drawn)" in done.conclusion


def test_one_is_no_plural(tmp_path):
    path = walks.write(tmp_path / "two.npz", documents=2)
    figures = ["--model", "amn", "--d-model", "16", "--batch", "2", "--epochs", "1", "--device", "cpu"]
    printed = CliRunner().invoke(
        app, ["train", "--train", str(path), "--out", str(tmp_path / "run"), *figures]
    )
    assert "12 sequences of 1 document, validated on 12 of 1 other\n" in printed.stdout


def test_targets_that_are_not_held_give_the_same_run(data, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(lists, "HELD", 0)
    same_run(whole.path, lvmfast.train(data, out=tmp_path / "run", **NETWORK).path)


def test_the_figures_that_the_start_is_fitted_to_are_bounded(data, tmp_path, monkeypatch):
    """As those of long windows are: of fewer sequences, in whole documents but the last, and any block."""
    given = []

    def fitted(lead, held, start, ridge):
        given.append((lead.copy(), held.copy()))
        return conditional_logit(lead, held, start, ridge)

    monkeypatch.setattr(lists, "conditional_logit", fitted)
    figures = NETWORK | {"epochs": 1}
    lvmfast.train(data, out=tmp_path / "all", **figures)
    width = walks.LENGTH + len(NEIGHBOURS)
    of_one = 4 * lists.DEALINGS * lists.CANDIDATES * width
    monkeypatch.setattr(lists, "FITTED", 30 * of_one + 1)
    monkeypatch.setattr(lists, "_COSINES", 7 * walks.LENGTH * walks.DIM)
    lvmfast.train(data, out=tmp_path / "some", **figures)
    (whole, _), (some, held) = given
    assert len(some) == len(held) == 30 * lists.DEALINGS < len(whole)
    assert some.nbytes <= lists.FITTED
    rows = {row.tobytes() for row in np.round(whole, 4)}
    assert sum(row.tobytes() in rows for row in np.round(some, 4)) > 0.9 * len(some)


@pytest.mark.parametrize("step", [2, 12])
def test_a_run_that_is_stopped_goes_on_bit_for_bit(data, whole, tmp_path, step):
    with stopped_at(step, "saved in epoch"):
        lvmfast.train(data, out=tmp_path / "run", **NETWORK)
    done = lvmfast.train(out=tmp_path / "run", resume=True)
    same_run(whole.path, tmp_path / "run")
    assert done.conclusion == whole.conclusion


KILLED = """
import os, signal, sys
import lvmfast
from lvmfast.training import learner
real, seen = learner.Learner.step, []
def step(self, *arguments):
    seen.append(1)
    if len(seen) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *arguments)
learner.Learner.step = step
from tests.training.test_on_linear import NETWORK
lvmfast.train(sys.argv[1], out=sys.argv[2], **NETWORK)
"""


@pytest.mark.parametrize("step", [1, 14])
def test_kill_9_and_resume_bit_for_bit(data, whole, tmp_path, step):
    """Also before anything is saved but epoch 0."""
    command = [sys.executable, "-c", KILLED, str(data), str(tmp_path / "run"), str(step)]
    killed = subprocess.run(command, cwd=os.getcwd(), capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    lvmfast.train(out=tmp_path / "run", resume=True)
    same_run(whole.path, tmp_path / "run")


TWO = """
import sys, torch, lvmfast
from tests.training.test_on_linear import NETWORK, QUICK
torch.set_num_threads(1)
figures = QUICK if sys.argv[3] == "linear" else NETWORK | {"dropout": 0.0}
lvmfast.train(sys.argv[1], out=sys.argv[2], **figures)
"""


@pytest.mark.parametrize("model", ["linear", "amn"])
def test_two_processes_give_the_run_of_one(data, tmp_path, model):
    histories = by_one_and_two(TWO, tmp_path, data, model)
    assert len(histories[0]) == 3
    for one, two in zip(*histories, strict=True):
        for key in ("train_loss", "train_r5", "val_loss", "val_cosine", "val_mrr", "val_r5"):
            assert one[key] == pytest.approx(two[key], rel=2e-4), key
        if model == "amn":
            assert one["over_start"]["interval"] == pytest.approx(two["over_start"]["interval"], abs=1e-3)
            assert one["baselines"]["linear"] == two["baselines"]["linear"]


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"recipe": "bank", "residual": "linear"}, "residual linear is trained by recipe residual alone"),
        ({"residual": "last"}, "recipe: residual is for residual linear alone, got last"),
        ({"model": "linear", "recipe": "residual"}, "model linear is trained by recipe linear alone"),
        ({"tau": 0.1}, "tau: not used with residual linear; leave it out"),
        ({"article_dropout": 0.2}, "article_dropout: not used with residual linear; leave it out"),
        ({"max_per_document": 2}, "max_per_document: not used with residual linear; leave it out"),
    ],
)
def test_figures_that_say_nothing_to_it_are_refused(data, tmp_path, figures, message):
    with pytest.raises(DataError, match=message):
        lvmfast.train(data, out=tmp_path / "run", **{**NETWORK, **figures})
    assert not (tmp_path / "run").exists()


def test_an_evaluation_ranks_by_the_formula(whole, tmp_path):
    unseen = walks.write(tmp_path / "unseen.npz", documents=6, seed=7, first_doc=100)
    checkpoint = whole.path / "checkpoints" / "epoch-0003.safetensors"
    found = lvmfast.evaluate(checkpoint, unseen, resamples=20)
    vectors, _, windows = walks.walks(documents=6, seed=7, first_doc=100)
    one = reciprocal_ranks(scores_of(whole.path, 3, list(windows), vectors), windows)
    record = found.find(next(r["model"] for r in found.records if r["kind"] == "run"), "eval", "out")
    assert record["MRR"] == pytest.approx(one.mean())


def test_configs_of_before_say_what_they_said():
    before = ModelConfig("gru", 8, 3).to_dict()
    assert ModelConfig.from_dict(before).neighbours == ()
    assert ModelConfig.from_dict({**before, "residual": "lag-mix"}).neighbours == ()
    assert ModelConfig.from_dict({**before, "residual": "linear"}).neighbours == NEIGHBOURS


def test_lists_are_trained_without_masks_of_negatives(data, tmp_path, monkeypatch):
    def unused(*arguments):
        raise AssertionError("a run on lists has no use for them")

    monkeypatch.setattr(steps, "NegativeMasks", unused)
    assert lvmfast.train(data, out=tmp_path / "run", **NETWORK | {"epochs": 1}).trained
