"""Small sequence files to train on: documents are random walks, so that the next vector can be guessed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

LENGTH, DIM = 3, 16
#: Figures that make a run of a second or two.
QUICK = {
    "recipe": "bank",
    "model": "amn",
    "d_model": 16,
    "dropout": 0.1,
    "batch": 16,
    "accumulate": 2,
    "epochs": 3,
    "warmup": 0.1,
    "device": "cpu",
    "val_docs": 3,
    "patience": 0,
    "threads": 1,
}


def walks(documents=14, chunks=15, seed=0, first_doc=0):
    """chunk_vectors (m, d), chunk_keys (m, 2), windows (n, length + 1)."""
    rng = np.random.default_rng(seed)
    vectors, keys, windows = [], [], []
    for doc in range(documents):
        start = rng.normal(size=DIM)
        walk = start + np.cumsum(0.4 * rng.normal(size=(chunks, DIM)), 0)
        at = sum(map(len, vectors))
        vectors.append((walk / np.linalg.norm(walk, axis=1, keepdims=True)).astype(np.float32))
        keys.append(np.stack([np.full(chunks, first_doc + doc), np.arange(chunks)], 1))
        windows += [np.arange(at + i, at + i + LENGTH + 1) for i in range(chunks - LENGTH)]
    return np.concatenate(vectors), np.concatenate(keys), np.array(windows, np.int32)


def write(path: Path, layout="chunks", encoder="walk-16", **shape) -> Path:
    vectors, keys, windows = walks(**shape)
    stated = np.array(json.dumps({"embedder_id": encoder, "norm": "l2_once", "metric": "ip"}))
    if layout == "chunks":
        np.savez(path, chunk_vectors=vectors, chunk_keys=keys, windows=windows, provenance=stated)
    else:
        save = np.savez if layout == "seed" else np.savez_compressed
        save(
            path,
            truth_keys=keys[windows[:, -1]],
            targets=vectors[windows[:, -1]],
            contexts=vectors[windows[:, :-1]],
            provenance=stated,
        )
    return path
