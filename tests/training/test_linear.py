"""The linear model as a run: figures by loops in float64, the optimum, going on after a kill, evaluation."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lvmfast  # noqa: E402
from lvmfast.errors import DataError  # noqa: E402
from lvmfast.models.checkpoint import load_model  # noqa: E402
from lvmfast.models.registry import ALL  # noqa: E402
from lvmfast.training import lists  # noqa: E402
from tests.support import walks  # noqa: E402
from tests.support.linear import NEIGHBOURS, QUICK, scored, side  # noqa: E402
from tests.support.runs import same_run, stopped_at, timeless  # noqa: E402

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return walks.write(tmp_path_factory.mktemp("data") / "walks.npz")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    return lvmfast.train(data, out=tmp_path_factory.mktemp("runs") / "whole", **QUICK)


def weights(run, epoch):
    """a and b of a checkpoint."""
    model, _ = load_model(run / "checkpoints" / f"epoch-{epoch:04d}.safetensors")
    a, b = (
        10 * tensor.double().numpy()
        for tensor in (model.state_dict()["lags"], model.state_dict()["crowding"])
    )
    return a, b


def test_validation_figures_are_those_of_the_formula(whole):
    run = whole.path
    vectors, windows = side(run, "val")
    scores = scored(windows, sorted({w[-1] for w in windows}), vectors, *weights(run, 3))
    ranks = [sum(s >= of[w[-1]] for s in of.values()) for of, w in zip(scores, windows, strict=True)]
    row = whole.history[-1]
    assert row["val_r5"] == pytest.approx(100 * np.mean([rank <= 5 for rank in ranks]))
    assert row["val_mrr"] == pytest.approx(np.mean([1 / rank for rank in ranks]))
    losses = [
        np.log(np.sum(np.exp(list(of.values())))) - of[w[-1]] for of, w in zip(scores, windows, strict=True)
    ]
    assert row["val_loss"] == row["val_infonce"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert row["val_candidates"] == pytest.approx(np.mean([len(of) for of in scores]))
    assert row["val_below_chance"] > 0
    assert (whole.run["parameters"], whole.run["steps_per_epoch"]) == (walks.LENGTH + len(NEIGHBOURS), 9)


def test_the_weights_are_near_the_one_optimum(data, tmp_path, monkeypatch):
    """Eleven documents are one pool in both dealings, and no step from the end makes the loss much less."""
    monkeypatch.setattr(lists, "CANDIDATES", 200)  # all of them
    run = lvmfast.train(data, out=tmp_path / "run", **{**QUICK, "epochs": 60, "batch": 33}).path
    vectors, windows = side(run, "train")
    pool = sorted({w[-1] for w in windows})
    start = np.concatenate(weights(run, 60))
    by_weight = [  # a score is a sum over weights: those of each alone
        scored(windows, pool, vectors, row[: walks.LENGTH], row[walks.LENGTH :]) for row in np.eye(len(start))
    ]
    tables = [
        np.array([[of[place][c] for of in by_weight] for c in (w[-1], *by_weight[0][place])])
        for place, w in enumerate(windows)
    ]  # the target first, and once more among the candidates

    def loss(at):
        return float(np.mean([np.log(np.exp((t[1:] - t[0]) @ at).sum()) for t in tables]))

    here, rng = loss(start), np.random.default_rng(0)
    assert here < loss(np.concatenate([np.eye(walks.LENGTH)[-1] * 20, np.zeros(len(NEIGHBOURS))])) - 0.05
    for _ in range(20):
        step = rng.standard_normal(len(start))
        assert loss(start + step / np.linalg.norm(step)) > here - 0.01


def test_each_document_is_in_one_pool_of_a_dealing_and_the_target_comes_first(data, monkeypatch, tmp_path):
    monkeypatch.setattr(lists, "DOCUMENTS", 3)
    monkeypatch.setattr(lists, "CANDIDATES", 10)
    seen, real = [], lists.ListCompute._made

    def made(self, reader):
        found = real(self, reader)
        seen.append((reader, found, list(lists._dealings(reader))))
        return found

    monkeypatch.setattr(lists.ListCompute, "_made", made)
    lvmfast.train(data, out=tmp_path / "run", **{**QUICK, "epochs": 1})
    (reader, found, dealings), (_, of_val, _) = seen
    assert found.chosen.shape == (132, 2, 10)
    assert of_val.chosen.shape == (36, 1, 10)
    vectors, dense = found.of(torch.arange(132))
    there = found.chosen >= 0
    assert there.all()
    for number, pools in enumerate(dealings):
        assert len(pools) == 4
        assert np.array_equal(np.sort(np.concatenate(pools)), np.arange(132))
        documents = [set(reader.document[places].tolist()) for places in pools]
        assert sum(map(len, documents)) == 11
        for pool in pools:
            targets = reader.targets(pool).astype(np.float64)
            cosines = targets @ targets.T
            for place, own in zip(pool, targets, strict=True):
                assert set(found.chosen[place, number].tolist()) <= set(pool.tolist())
                context = reader.side.sequences.contexts(reader.side.rows[[place]])[0].astype(np.float64)
                candidates = vectors[place, number].double().numpy()
                np.testing.assert_allclose(candidates[0], own, atol=1e-6)
                assert (candidates[1:] @ context.T).max() < 1 - 1e-6, "its own vector is no candidate"
                nearest = np.sort(cosines[np.flatnonzero(pool == place)[0]])[::-1][1:]
                wanted = [nearest.mean() if k == ALL else nearest[:k].mean() for k in NEIGHBOURS]
                np.testing.assert_allclose(dense[place, number, 0], wanted, atol=1e-6)
    assert not np.array_equal(dealings[0][0], dealings[1][0])


def test_a_run_that_is_stopped_goes_on_bit_for_bit(data, whole, tmp_path):
    with stopped_at(12, "saved in epoch 2"):
        lvmfast.train(data, out=tmp_path / "run", **QUICK)
    lvmfast.train(out=tmp_path / "run", resume=True)
    same_run(whole.path, tmp_path / "run")


def test_a_run_of_an_older_version_goes_on(whole, tmp_path):
    """Its file states a width, which the model has none of."""
    run = shutil.copytree(whole.path, tmp_path / "run")
    text = (run / "config.toml").read_text()
    old = text.replace("recipe = ", "preset = ").replace("d_model = 0", "d_model = 768")
    assert old != text
    (run / "config.toml").write_text(old)
    again = lvmfast.train(out=run, resume=True)
    assert timeless(again.history) == timeless(whole.history)
    (run / "config.toml").write_text(old.replace("768", "640"))
    with pytest.raises(DataError, match="d_model: not used with model linear"):
        lvmfast.train(out=run, resume=True)


KILLED = """
import os, signal, sys
import lvmfast
from lvmfast.training import learner
real, seen = learner.Learner.step, []
def step(self, *arguments):
    seen.append(1)
    if len(seen) == 14:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *arguments)
learner.Learner.step = step
from tests.support.linear import QUICK
lvmfast.train(sys.argv[1], out=sys.argv[2], **QUICK)
"""


def test_kill_9_and_resume_bit_for_bit(data, whole, tmp_path):
    command = [sys.executable, "-c", KILLED, str(data), str(tmp_path / "run")]
    killed = subprocess.run(command, cwd=os.getcwd(), capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    lvmfast.train(out=tmp_path / "run", resume=True)
    same_run(whole.path, tmp_path / "run")


def test_an_evaluation_ranks_by_the_formula(whole, tmp_path):
    unseen = walks.write(tmp_path / "unseen.npz", documents=6, seed=7, first_doc=100)
    found = lvmfast.evaluate(whole.path, unseen, gates="honest", density=1.0, resamples=20)
    assert found.status.status == "clean"
    vectors, _, windows = walks.walks(documents=6, seed=7, first_doc=100)
    best = json.loads((whole.path / "best.json").read_text())["epoch"]
    pool = sorted({w[-1] for w in windows})
    scores = scored(windows, pool, vectors, *weights(whole.path, best))
    ranks = [sum(s >= of[w[-1]] for s in of.values()) for of, w in zip(scores, windows, strict=True)]
    record = found.find("whole", "eval", "out")
    assert record["R@5"] == pytest.approx(100 * np.mean([rank <= 5 for rank in ranks]))
    assert record["MRR"] == pytest.approx(np.mean([1 / rank for rank in ranks]))
    gates = {g["name"]: g["status"] for g in found.details["gates"]["whole"]["honest"]["gates"]}
    assert {"R@5 above lag-mix-density", "MRR above lag-mix-density"} <= set(gates)
    assert "not_checkable" not in gates.values()  # the run states the weights of the lag mix
    names = {r["model"] for r in found.records}
    assert "copy-last + density 1" in names
    assert "whole + density 1" not in names, "it takes density off already"
    assert {"whole", "lag-mix-density"} <= set(found.details["latency"])


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ({"recipe": "bank"}, "recipe: model linear is trained by recipe linear alone"),
        ({"recipe": "linear", "model": "gru"}, "recipe: linear is for model linear alone, got gru"),
        ({"tau": 0.1}, "tau: not used with model linear; leave it out"),
        ({"d_model": 8}, "d_model: not used with model linear; leave it out"),
        ({"residual": "last"}, "residual: not used with model linear; leave it out"),
        ({"span_corruption": 0.5}, "span_corruption: not used with model linear; leave it out"),
    ],
)
def test_figures_of_networks_are_refused(data, tmp_path, figures, message):
    with pytest.raises(DataError, match=message):
        lvmfast.train(data, out=tmp_path / "run", **{**QUICK, **figures})
    assert not (tmp_path / "run").exists()


def test_weights_are_learned_from_whole_documents_up_to_a_number(data, monkeypatch, tmp_path):
    monkeypatch.setattr(lists, "SEQUENCES", 30)
    done = lvmfast.train(data, out=tmp_path / "run", **{**QUICK, "epochs": 1})
    (note,) = [note for note in done.run["notes"] if "weights are learned from" in note]
    assert note.startswith(
        "the weights are learned from 30 of 132 sequences, in 3 documents drawn by the seed"
    )
    assert (done.run["n_train"], done.run["train_documents"], done.run["steps_per_epoch"]) == (132, 11, 2)


def test_figures_that_are_too_many_to_hold_are_made_again(data, whole, tmp_path, monkeypatch):
    def held(*arguments):
        raise AssertionError("they are more than may be held")

    monkeypatch.setattr(lists, "HELD", 0)
    monkeypatch.setattr(lists.ListCompute, "_figures", held)
    again = lvmfast.train(data, out=tmp_path / "run", **QUICK)
    for row, before in zip(again.history, whole.history, strict=True):
        for name in ("train_loss", "val_loss", "val_mrr"):
            assert row[name] == pytest.approx(before[name], abs=1e-4), name
