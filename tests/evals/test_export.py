"""Exported vectors: plain inner products, plain cosines and FAISS find what an evaluation finds."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

import lvmfast
from lvmfast.cli import app
from tests.support import walks

pytestmark = pytest.mark.heavy

QUICK = {"model": "linear", "batch": 16, "epochs": 2, "device": "cpu", "val_docs": 3, "threads": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return lvmfast.train(walks.write(folder / "walks.npz"), out=folder / "run", **QUICK).path


def payload(path, zero=False, names=False, encoder="walk-16"):
    vectors, keys, _ = walks.walks(documents=6, seed=7, first_doc=100)
    vectors = vectors * np.linspace(0.5, 3, len(vectors), dtype=np.float32)[:, None]  # lengths mean nothing
    if zero:
        vectors[40] = 0
    stated = json.dumps({"embedder_id": encoder, "norm": "l2_once", "metric": "ip"})
    ids = {"truth_keys": keys}
    if names:
        ids = {"doc_id": np.array([f"article {d}" for d in keys[:, 0]]), "chunk_id": keys[:, 1]}
    np.savez(path, embeddings=vectors, provenance=np.array(stated), **ids)
    return path


def export(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_every_index_finds_what_an_evaluation_finds(trained, tmp_path):
    faiss = pytest.importorskip("faiss")
    unseen = walks.write(tmp_path / "unseen.npz", documents=6, seed=7, first_doc=100)
    place, out = payload(tmp_path / "payload.npz"), tmp_path / "index.npz"
    result = export(trained, "--payload", place, "--out", out, "--queries", unseen, "--faiss", "Flat")
    assert result.exit_code == 0, result.output
    assert "90 vectors of 24 values" in result.output
    found = lvmfast.evaluate(trained, unseen, payload=place, pools=["corpus"], resamples=20)
    hits = [
        row["hit_indices"]
        for row in found.hits.to_pylist()
        if (row["model"], row["context"]) == (trained.name, "in")
    ]
    with np.load(out, allow_pickle=False) as file:
        arrays = dict(file)
    vectors, queries = arrays["vectors"].astype(np.float64), arrays["queries"].astype(np.float64)
    assert queries.shape == (len(hits), 24)
    products = queries @ vectors.T
    lengths = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(lengths, lengths[0], rtol=3e-7)
    for scores in (products, products / lengths):
        np.testing.assert_array_equal(np.argsort(-scores, axis=1, kind="stable")[:, :50], hits)
    index = faiss.read_index(str(tmp_path / "index.faiss"))
    _, rows = index.search(arrays["queries"], 50)
    swapped = rows != np.array(hits)
    near = np.abs(np.take_along_axis(products, rows, 1) - np.take_along_axis(products, np.array(hits), 1))
    assert near[swapped].max(initial=0) < 1e-4, "float32 may swap what all but ties"
    # by the formula, from the weights in the file alone
    raw, keys, windows = walks.walks(documents=6, seed=7, first_doc=100)
    units = raw.astype(np.float64) / np.linalg.norm(raw.astype(np.float64), axis=1, keepdims=True)
    similar = units @ units.T
    np.fill_diagonal(similar, -np.inf)
    ordered = -np.sort(-similar, axis=1)[:, :-1]
    dense = np.stack([ordered[:, : k or None].mean(axis=1) for k in arrays["neighbours"]], axis=1)
    mixed = np.einsum("l,qld->qd", arrays["lags"], units[windows[:, :-1]])
    np.testing.assert_allclose(products, mixed @ units.T - dense @ arrays["weights"], atol=2e-5)
    assert np.array_equal(np.stack([arrays["doc_id"], arrays["chunk_id"]], axis=1), keys)
    assert np.array_equal(arrays["payload_row"], np.arange(90))


def test_a_network_on_the_scorer_is_exported_likewise(tmp_path):
    figures = {**QUICK, "model": "amn", "d_model": 16, "lr": 3e-2}
    run = lvmfast.train(walks.write(tmp_path / "walks.npz"), out=tmp_path / "run", **figures).path
    unseen = walks.write(tmp_path / "unseen.npz", documents=6, seed=7, first_doc=100)
    place, out = payload(tmp_path / "payload.npz"), tmp_path / "index.npz"
    trained = run / "checkpoints" / "epoch-0002.safetensors"
    result = export(trained, "--payload", place, "--out", out, "--queries", unseen)
    assert result.exit_code == 0, result.output
    found = lvmfast.evaluate(trained, unseen, payload=place, pools=["corpus"], resamples=20)
    (name,) = {r["model"] for r in found.records if r["kind"] == "run"}
    hits = [r["hit_indices"] for r in found.hits.to_pylist() if (r["model"], r["context"]) == (name, "in")]
    with np.load(out, allow_pickle=False) as file:
        vectors, queries = file["vectors"].astype(np.float64), file["queries"].astype(np.float64)
        linear = file["lags"], file["weights"]
    np.testing.assert_array_equal(np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :50], hits)
    raw, _, windows = walks.walks(documents=6, seed=7, first_doc=100)
    alone = np.einsum("l,qld->qd", linear[0], raw[windows[:, :-1]])
    assert np.abs(queries[:, :16] - alone).max() > 1e-3, "the network adds something"
    np.testing.assert_allclose(queries[:, 16:-1], np.broadcast_to(-linear[1], (len(queries), 7)), rtol=1e-6)


def test_rows_without_a_direction_are_left_out_and_told(trained, tmp_path):
    place, out = payload(tmp_path / "payload.npz", zero=True, names=True), tmp_path / "index.npz"
    result = export(trained, "--payload", place, "--out", out)
    assert result.exit_code == 0, result.output
    assert "left out: 1 rows of the payload that are zero or not finite" in result.output
    with np.load(out, allow_pickle=False) as file:
        assert file["vectors"].shape == (89, 24)
        assert 40 not in file["payload_row"]
        assert file["doc_id"][0] == "article 100"
        assert "queries" not in file.files
    assert not (tmp_path / "index.faiss").exists()


def test_what_does_not_fit_is_one_line(trained, tmp_path):
    place, out = payload(tmp_path / "payload.npz"), tmp_path / "index.npz"
    other = lvmfast.train(
        walks.write(tmp_path / "walks.npz"), out=tmp_path / "amn", **{**walks.QUICK, "epochs": 1}
    )
    short = tmp_path / "short.npz"
    np.savez(short, truth_keys=np.array([[1, 1], [1, 2]]), embeddings=np.eye(2, 8, dtype=np.float32))
    cases = [
        (
            (other.path, "--payload", place, "--out", out),
            "expected a run of model linear or of residual linear, got amn",
        ),
        ((trained, "--payload", short, "--out", out), "expected vectors of 16 values as the run has, got 8"),
        ((trained, "--payload", place, "--out", tmp_path / "index.bin"), "a name that ends in .npz"),
        ((trained, "--payload", payload(tmp_path / "o.npz", encoder="x"), "--out", out), "encoder"),
        ((trained, "--payload", place, "--out", out, "--faiss", "Nonsense"), "FAISS index 'Nonsense'"),
    ]
    for arguments, message in cases:
        result = export(*arguments)
        assert result.exit_code == 2, result.output
        assert message in result.output, result.output
        assert not out.exists()
