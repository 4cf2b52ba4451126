"""The figures of history.json and of triage, counted again from the data by nested loops."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")

import lvmfast  # noqa: E402
from lvmfast.models.checkpoint import load_model  # noqa: E402
from lvmfast.training.curves import panels  # noqa: E402
from lvmfast.training.history import read_run  # noqa: E402
from lvmfast.training.triage import triage  # noqa: E402
from tests.support import walks  # noqa: E402

pytestmark = pytest.mark.heavy

TAU, NEAR = 0.07, 0.995
#: Seven documents on either side: the sample of training is all of it, and a step holds 14 sequences.
FIGURES = {
    **walks.QUICK,
    "recipe": "bank",
    "val_docs": 7,
    "epochs": 2,
    "max_per_document": 2,
    "tau": TAU,
    "mask_near": NEAR,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return lvmfast.train(walks.write(folder / "walks.npz"), out=folder / "run", **FIGURES).path


def sides(run):
    """The windows of each side, by the documents that the run names."""
    documents = pq.read_table(run / "split" / "documents.parquet").to_pydict()
    part = {int(doc): part for doc, part in zip(documents["doc_id"], documents["part"], strict=True)}
    vectors, keys, windows = walks.walks()
    return vectors.astype(np.float64), {
        side: [window for window in windows if part[int(keys[window[-1], 0])] == side]
        for side in ("train", "val")
    }


def allowed(vectors, window, pool):
    """The targets that a sequence is scored against: its own, and those that are neither context nor near."""
    own = window[-1]
    return [own] + [
        other
        for other in pool
        if other != own and other not in window[:-1] and vectors[other] @ vectors[own] < NEAR
    ]


def test_candidates_and_nats_below_chance(trained):
    vectors, windows = sides(trained)
    row = json.loads((trained / "history.json").read_text())[-1]
    model, _ = load_model(trained / "checkpoints" / "epoch-0002.safetensors")
    counts, chances = {}, {}
    for side, rows in windows.items():
        pool = {int(window[-1]) for window in rows}  # the bank holds every target, as validation does
        found = [len(allowed(vectors, window, pool)) for window in rows]
        counts[side], chances[side] = np.mean(found), np.mean(np.log(found))
        assert row[f"{side}_candidates"] == pytest.approx(counts[side])
        assert row[f"{side}_below_chance"] == pytest.approx(chances[side] - row[f"{side}_infonce"])
    pool, losses = {int(window[-1]) for window in windows["val"]}, []
    for window in windows["val"]:
        with torch.no_grad():
            predicted = model(torch.from_numpy(vectors[window[:-1]][None].astype(np.float32)))[0].numpy()
        logits = np.array([predicted @ vectors[other] for other in allowed(vectors, window, pool)]) / TAU
        losses.append(np.log(np.exp(logits).sum()) - logits[0])
    assert row["val_infonce"] == pytest.approx(np.mean(losses), rel=1e-5)
    # triage counts what was counted
    names = ("batch 512", "use the bank")
    (evidence,) = {step.evidence for step in triage(read_run(trained)).steps if step.name in names}
    assert evidence.startswith(f"{counts['train'] - 1:,.0f} negatives a sequence in the last epoch")
    steps = json.loads((trained / "run.json").read_text())["steps_per_epoch"]
    assert f"; {len(windows['train']) / steps:.0f} sequences a step; " in evidence
    assert f"the {chances['train']:.2f} of chance" in evidence


def test_recall_on_training_documents(trained):
    vectors, windows = sides(trained)
    row = json.loads((trained / "history.json").read_text())[-1]
    stated = json.loads((trained / "run.json").read_text())
    assert stated["train_sample"] == {"sequences": 84, "documents": 7, "candidates": 84}
    model, _ = load_model(trained / "checkpoints" / "epoch-0002.safetensors")
    for side, rows in windows.items():
        pool, hits = {int(window[-1]) for window in rows}, 0
        for window in rows:
            with torch.no_grad():
                predicted = model(torch.from_numpy(vectors[window[:-1]][None].astype(np.float32)))[0].numpy()
            scores = {c: predicted @ vectors[c] for c in pool if c not in window[:-1]}
            hits += sum(score >= scores[int(window[-1])] for score in scores.values()) <= 5
        assert row[f"{side}_r5"] == pytest.approx(100 * hits / len(rows)), side


def test_the_sample_of_training_is_as_large_as_validation(tmp_path):
    data = walks.write(tmp_path / "walks.npz")
    for recipe in ("bank", "ar"):  # with the names of all vectors at hand, and without
        done = lvmfast.train(data, out=tmp_path / recipe, **{**walks.QUICK, "recipe": recipe, "epochs": 1})
        assert done.run["train_sample"] == {"sequences": 36, "documents": 3, "candidates": 36}
        row = done.history[0]
        assert (row["val_below_chance"] is None) == (recipe == "ar")
        # validation hangs on no figure of the steps
        other = {**walks.QUICK, "recipe": recipe, "epochs": 1, "lr": 1e-12, "warmup": 0.0}
        found = [
            lvmfast.train(data, out=tmp_path / f"{recipe}-{batch}", **other, max_per_document=limit).history[
                0
            ]
            for batch, limit in ((1, 0), (2, 1))
        ]
        assert found[0]["val_loss"] == pytest.approx(found[1]["val_loss"], rel=1e-6)


def test_older_histories_are_read(tmp_path):
    rows = [{"epoch": n, "val_loss": 3.0 / n, "train_loss": 3.5 / n, "train_infonce": 3.0} for n in (1, 2)]
    (tmp_path / "history.json").write_text(json.dumps(rows))
    (tmp_path / "config.toml").write_text(
        "[objective]\nbank = 65536\n[batches]\nbatch = 256\naccumulate = 4\n"
    )
    (tmp_path / "run.json").write_text(json.dumps({"rows_per_step": 38.2, "n_train": 2765}))
    run = read_run(tmp_path)
    evidence = next(step.evidence for step in triage(run).steps if step.name == "use the bank")
    assert evidence.startswith("at most 2,764 negatives")
    drawn = {panel.title: panel for panel in panels({"run": run}, 2)}
    assert drawn["loss"].minor == {"run": [(1, 3.5), (2, 1.75)]}
    assert not any(drawn["nats below chance"].curves.values())
