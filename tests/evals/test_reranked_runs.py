"""Rerankers of what a trained run retrieves: fitted to its own files, and used on its lists alone."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

import lvmfast
from lvmfast.cli import app
from lvmfast.evals.rerank import load_reranker
from lvmfast.models.checkpoint import load_model
from tests.support import walks

pytestmark = pytest.mark.heavy

QUICK = {"model": "linear", "batch": 16, "epochs": 2, "device": "cpu", "val_docs": 3, "threads": 1}
DEPTH = 50


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return lvmfast.train(walks.write(folder / "walks.npz"), out=folder / "run", **QUICK).path


def fit(*arguments):
    return CliRunner().invoke(app, ["rerank", "fit", *map(str, arguments)])


def augmented(vectors, neighbours):
    """Unit rows, their densities, and what makes all rows equally long, in float64; and d_10."""
    units = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    similar = units @ units.T
    np.fill_diagonal(similar, -np.inf)
    ordered = -np.sort(-similar, axis=1)[:, :-1]
    dense = np.stack([ordered[:, : k or None].mean(axis=1) for k in neighbours], axis=1)
    rows = np.concatenate([units, dense], axis=1)
    squares = (rows**2).sum(axis=1)
    return np.column_stack([rows, np.sqrt(squares.max() - squares)]), ordered[:, :10].mean(axis=1)


def test_it_is_fitted_to_the_runs_files_and_orders_its_lists(trained, tmp_path):
    out = tmp_path / "reranker.safetensors"
    result = fit("--model", trained, "--out", out)
    assert result.exit_code == 0, result.output
    assert "fitted to 168 windows of 14 documents" in result.output
    assert "where lag-mix-density has" in result.output
    reranker = load_reranker(out)
    model, _ = load_model(trained)
    assert tuple(reranker.stated["neighbours"]) == model.neighbours
    unseen = walks.write(tmp_path / "unseen.npz", documents=6, seed=7, first_doc=100)
    found = lvmfast.evaluate(
        trained, unseen, rerank=str(out), resamples=20, train=trained.parent / "walks.npz"
    )
    names = {record["model"] for record in found.records}
    assert "run + rerank" in names
    assert "copy-last + rerank" not in names, "it was fitted to lists that take density off"
    ordered = found.find("run + rerank")
    assert ordered["split_status"] == "clean"
    # by hand
    vectors, _, windows = walks.walks(documents=6, seed=7, first_doc=100)
    pool = np.unique(windows[:, -1])
    rows, tenth = augmented(vectors[pool], model.neighbours)
    a, b = (weights.detach().double().numpy() for weights in model.weights)
    hits = 0
    for window in windows:
        query = np.concatenate([a @ vectors[window[:-1]].astype(np.float64), -b, [0]])
        cosines = rows @ query / np.linalg.norm(query) / np.linalg.norm(rows[0])
        cosines[np.isin(pool, window[:-1])] = -np.inf
        first = np.argsort(-cosines, kind="stable")[:DEPTH]
        lags = rows[first, : walks.DIM] @ vectors[window[:-1]].astype(np.float64).T
        beside = [
            *(cosines[first], tenth[first], lags.max(axis=1), lags.mean(axis=1)),
            *(cosines[first] - cosines[first[0]], 1 / np.log2(np.arange(2, DEPTH + 2))),
        ]
        features = (np.column_stack([lags, *beside]) - reranker.mean) / reranker.scale
        active = np.tanh(features @ reranker.hidden[:-1] + reranker.hidden[-1])
        order = np.argsort(-(active @ reranker.output[:-1]), kind="stable")[:5]
        hits += window[-1] in pool[first[order]]
    assert ordered["count"]["R@5"] == hits
    plain = lvmfast.evaluate("copy-last", unseen, rerank=str(out), resamples=20)
    assert all("rerank" not in record["model"] for record in plain.records if record["model"] == "copy-last")


def test_any_file_and_any_baseline_will_do(trained, tmp_path):
    data = trained.parent / "walks.npz"
    for model in (trained, "lag-mix-density"):
        result = fit(data, "--model", model, "--out", tmp_path / "reranker.safetensors")
        assert result.exit_code == 0, result.output
    assert load_reranker(tmp_path / "reranker.safetensors").stated["neighbours"] == [10]


def test_a_run_whose_files_are_gone_is_told(trained, tmp_path):
    shutil.copytree(trained.parent, tmp_path / "copy")
    text = (tmp_path / "copy" / "run" / "run.json").read_text()
    (tmp_path / "copy" / "run" / "run.json").write_text(text.replace("walks.npz", "gone.npz"))
    for model in (tmp_path / "copy" / "run", "copy-last"):
        result = fit("--model", model, "--out", tmp_path / "reranker.safetensors")
        assert result.exit_code == 2
        assert "no training files to fit to: name them" in result.output
    assert not (tmp_path / "reranker.safetensors").exists()
