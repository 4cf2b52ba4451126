"""The chunk-matrix layout reads as the copied one does; a broken one is refused; encoders are not mixed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast import load_split
from lvmfast.corpus import gathered
from lvmfast.corpus.provenance import differ
from lvmfast.errors import DataError


def matrix(rng, rows=40, dim=5, length=3, count=30, kind=np.int32):
    return {
        "chunk_vectors": rng.standard_normal((rows, dim)).astype(np.float32),
        "chunk_keys": np.stack([np.arange(rows) // 10, np.arange(rows) % 10], axis=1),
        "windows": rng.integers(0, rows, (count, length + 1)).astype(kind),
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 5), st.integers(0, 50), st.integers(1, 9))
def test_any_windows_read_as_their_copies(tmp_path_factory, seed, rows, length, count, slab):
    arrays = matrix(np.random.default_rng(seed), rows, 4, length, count)
    path = tmp_path_factory.mktemp("w") / "a.npz"
    np.savez(path, **arrays)
    numbers = arrays["windows"]
    before, gathered._SLAB_ROWS = gathered._SLAB_ROWS, slab
    try:
        split = load_split(path)
        assert (split.rows, split.dim, split.context_length) == (count, 4, length)
        row = 0
        for batch in split.batches(("doc_id", "chunk_id", "vector", "context"), 7):
            part = numbers[row : row + batch.rows]
            np.testing.assert_array_equal(batch.vector, arrays["chunk_vectors"][part[:, -1]])
            np.testing.assert_array_equal(batch.context, arrays["chunk_vectors"][part[:, :-1]])
            keys = np.stack([batch.doc_id.to_numpy(), batch.chunk_id.to_numpy()], axis=1)
            np.testing.assert_array_equal(keys, arrays["chunk_keys"][part[:, -1]])
            row += batch.rows
        assert row == count
    finally:
        gathered._SLAB_ROWS = before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunk_keys": None}, "chunk_keys is missing"),
        ({"chunk_vectors": np.zeros(4, np.float32)}, r"chunk_vectors: expected \(m, d\) float"),
        ({"chunk_keys": np.zeros((3, 2), np.int64)}, "chunk_keys: expected 40 rows"),
        ({"windows": np.zeros((4, 1), np.int64)}, "expected a context and a target"),
        ({"windows": np.zeros((4, 3))}, "windows: expected 2-d integers"),
        ({"windows": np.array([[0, 1], [2, 40]])}, "row 1: expected rows of chunk_vectors below 40, got 40"),
        ({"windows": np.array([[0, -1]])}, "row 0: expected rows of chunk_vectors below 40, got -1"),
    ],
)
def test_broken_layouts_are_refused(tmp_path, change, message):
    arrays = {**matrix(np.random.default_rng(0)), **change}
    np.savez(tmp_path / "a.npz", **{name: a for name, a in arrays.items() if a is not None})
    with pytest.raises(DataError, match=message):
        for _ in load_split(tmp_path / "a.npz").batches(("vector",)):
            pass


def test_compressed_vectors_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **matrix(np.random.default_rng(0)))
    with pytest.raises(DataError, match="stored without compression"):
        load_split(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({}, {"embedder_id": "x"}, False),
        ({"embedder_id": "x"}, {"embedder_id": "y"}, True),
        ({"embedder_id": "GTR-T5-base-768"}, {"embedder_id": "sentence-transformers/gtr-t5-base"}, False),
        ({"embedder_id": "x", "weights": "1"}, {"embedder_id": "y", "weights": "1"}, False),
        ({"embedder_id": "x", "weights": "1"}, {"embedder_id": "x", "weights": "2"}, True),
        ({"embedder_id": "x", "weights": "1"}, {"embedder_id": "x"}, False),
        ({"embedder_id": 7}, {"embedder_id": "x"}, False),
    ],
)
def test_encoders_are_told_apart(a, b, expected):
    assert differ(a, b) is expected
    assert differ(b, a) is expected


def test_vectors_of_two_encoders_are_not_compared(tmp_path):
    rng = np.random.default_rng(1)
    for name, encoder in (("a", "one"), ("b", "two")):
        np.savez(
            tmp_path / f"{name}.npz",
            targets=rng.standard_normal((9, 4)),
            truth_keys=np.arange(18).reshape(9, 2) + (name == "b") * 100,
            provenance=np.array(json.dumps({"embedder_id": encoder})),
        )
    with pytest.raises(DataError, match=r"b.npz: vectors of two, but those of .*a.npz of one"):
        lvmfast.leakscan(tmp_path / "a.npz", tmp_path / "b.npz")
    assert (
        lvmfast.leakscan(tmp_path / "a.npz", tmp_path / "b.npz", levels=["doc"]).findings.verdict == "clean"
    )
