"""Small splits with planted leaks, as the files that exist in the wild."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = (
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "iota",
    "kappa",
    "lambda",
    "mu",
)


def texts(rng: np.random.Generator, rows: int) -> list[str]:
    return [" ".join(rng.choice(WORDS, 12)) for _ in range(rows)]


def sequences(
    rng: np.random.Generator, rows: int, dim: int = 16, first_doc: int = 0
) -> dict[str, np.ndarray]:
    """Windows of three chunks and the chunk that follows, ten chunks a document."""
    chunks = rng.normal(size=(rows + 3, dim)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(chunks, 3, axis=0)[:rows].transpose(0, 2, 1)
    keys = np.column_stack([first_doc + np.arange(rows) // 10, np.arange(rows) % 10])
    return {"truth_keys": keys, "targets": chunks[3:], "contexts": np.ascontiguousarray(windows)}


def write_payload(path: Path, keys: np.ndarray, text: list[str]) -> None:
    table = {"doc_id": keys[:, 0], "chunk_id": keys[:, 1], "text": pa.array(text, pa.large_string())}
    pq.write_table(pa.table(table), path)


def leaky(folder: Path, seed: int = 0) -> dict[str, str]:
    """train.npz (200 rows) and eval.npz (60): 20 rows of eval are train's, at every level but oracle."""
    rng = np.random.default_rng(seed)
    train, eval_ = sequences(rng, 200), sequences(rng, 60, first_doc=100)
    train_text, eval_text = texts(rng, 200), texts(rng, 60)
    for name in train:
        eval_[name][:20] = train[name][30:50]
    eval_text[:20] = [t.upper() + " \n" for t in train_text[30:50]]
    provenance = np.array(json.dumps({"embedder_id": "random-16", "norm": "none", "metric": "cos"}))
    np.savez(folder / "train.npz", provenance=provenance, **train)
    np.savez_compressed(folder / "eval.npz", provenance=provenance, **eval_)
    write_payload(folder / "train_payload.parquet", train["truth_keys"], train_text)
    write_payload(folder / "eval_payload.parquet", eval_["truth_keys"], eval_text)
    return {name: str(folder / f"{name}") for name in ("train.npz", "eval.npz")} | {
        f"{side}_payload": str(folder / f"{side}_payload.parquet") for side in ("train", "eval")
    }


def arguments(files: dict[str, str], *more: str) -> list[str]:
    """The command line that scans `leaky` files."""
    return [
        "leakscan",
        *("--train", files["train.npz"], "--eval", files["eval.npz"]),
        *("--train-payload", files["train_payload"], "--eval-payload", files["eval_payload"]),
        *more,
    ]
