"""The linear model as a run: figures by loops in float64, the optimum, going on after a kill, evaluation."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")

import lvmfast  # noqa: E402
from lvmfast.errors import DataError  # noqa: E402
from lvmfast.models.checkpoint import load_model, read_tensors  # noqa: E402
from lvmfast.models.registry import ALL, MODELS  # noqa: E402
from lvmfast.training import learner, lists  # noqa: E402
from lvmfast.training.interrupts import Interrupted  # noqa: E402
from lvmfast.training.state import KIND as STATE_KIND  # noqa: E402
from tests.support import walks  # noqa: E402

#: With few documents and 36 candidates of validation; a list of 100 then holds all that is no context.
QUICK = {
    "model": "linear",
    "batch": 16,
    "epochs": 3,
    "device": "cpu",
    "val_docs": 3,
    "patience": 0,
    "threads": 1,
}
NEIGHBOURS = MODELS["linear"].neighbours


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


def scored(windows, pool, vectors, a, b):
    """Scores of each window by candidate, by the formula, without the window's own vectors."""
    units = {c: v.astype(np.float64) / np.linalg.norm(v.astype(np.float64)) for c, v in enumerate(vectors)}
    dense = {}
    for c in pool:
        others = sorted((units[c] @ units[o] for o in pool if o != c), reverse=True)
        dense[c] = np.array([np.mean(others if k == ALL else others[:k]) for k in NEIGHBOURS])
    return [
        {
            c: sum(weight * units[x] @ units[c] for weight, x in zip(a, window, strict=False)) - b @ dense[c]
            for c in pool
            if c not in window[:-1]
        }
        for window in windows
    ]


def side(run, part):
    documents = pq.read_table(run / "split" / "documents.parquet").to_pydict()
    held = {int(d) for d, p in zip(documents["doc_id"], documents["part"], strict=True) if p == part}
    vectors, keys, windows = walks.walks()
    return vectors, [window for window in windows if keys[window[-1], 0] in held]


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
        seen.append((reader, found.clone(), list(lists._dealings(reader))))
        return found

    monkeypatch.setattr(lists.ListCompute, "_made", made)
    lvmfast.train(data, out=tmp_path / "run", **{**QUICK, "epochs": 1})
    (reader, found, dealings), (_, of_val, _) = seen
    assert found.shape == (132, 2, 10, walks.LENGTH + len(NEIGHBOURS) + 1)
    assert of_val.shape[:3] == (36, 1, 10)
    for number, pools in enumerate(dealings):
        assert len(pools) == 4
        assert np.array_equal(np.sort(np.concatenate(pools)), np.arange(132))
        documents = [set(reader.document[places].tolist()) for places in pools]
        assert sum(map(len, documents)) == 11
        for place in range(132):
            row = reader.side.rows[place]
            context = reader.side.sequences.contexts(np.array([row]))[0].astype(np.float64)
            own = reader.side.sequences.targets(np.array([row]))[0].astype(np.float64)
            figures = found[place, number].numpy()
            np.testing.assert_allclose(figures[0, : walks.LENGTH], context @ own, atol=1e-6)
            assert np.isfinite(figures).all()
            assert figures[1:, : walks.LENGTH].max() < 1 - 1e-6, "a window's own vector is no candidate"
    assert not np.array_equal(dealings[0][0], dealings[1][0])


def same_run(a, b):
    left, right = (json.loads((run / "history.json").read_text()) for run in (a, b))
    for row in (*left, *right):
        row.pop("time")
    assert left == right
    for name in ("epoch-0003", "last"):
        kind = STATE_KIND if name == "last" else "lvmfast checkpoint"
        one, other = (read_tensors(run / "checkpoints" / f"{name}.safetensors", kind)[0] for run in (a, b))
        assert all(torch.equal(one[key], other[key]) for key in {*one, *other})
    assert (a / "best.json").read_bytes() == (b / "best.json").read_bytes()


def test_a_run_that_is_stopped_goes_on_bit_for_bit(data, whole, tmp_path, monkeypatch):
    seen, real = [], learner.Learner.step
    with monkeypatch.context() as patch:

        def stepping(self, part, bank, position, stop):
            seen.append(1)
            stop.raised = len(seen) == 12
            return real(self, part, bank, position, stop)

        patch.setattr(learner.Learner, "step", stepping)
        with pytest.raises(Interrupted, match="saved in epoch 2"):
            lvmfast.train(data, out=tmp_path / "run", **QUICK)
    lvmfast.train(out=tmp_path / "run", resume=True)
    same_run(whole.path, tmp_path / "run")


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
from tests.training.test_linear import QUICK
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
        ({"preset": "bank"}, "preset: model linear is trained by preset linear alone"),
        ({"preset": "linear", "model": "gru"}, "preset: linear is for model linear alone, got gru"),
        ({"tau": 0.1}, "tau: model linear has no use for it"),
        ({"d_model": 8}, "d_model: model linear has no use for it"),
        ({"residual": "last"}, "residual: model linear has no use for it"),
        ({"span_corruption": 0.5}, "span_corruption: model linear has no use for it"),
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
