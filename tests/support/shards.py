"""A corpus of many formats to be scanned in shards, and what has to be the same of two scans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

TABLES = ("matches.parquet", "matched_rows.parquet", "nearest.parquet")
#: Of a summary: what may differ between machines.
MACHINES = ("timings", "environment", "inputs")
OPTIONS: dict[str, Any] = {"nearest": True, "max_pairs": 50, "max_df": 4}


def random_table(seed: int, rows: int, first_doc: int, pool: np.ndarray) -> pa.Table:
    rng = np.random.default_rng(seed)
    docs = rng.integers(first_doc, first_doc + 60, rows)
    vectors = pool[rng.integers(len(pool), size=rows)]
    return pa.table(
        {
            "doc_id": pa.array([None if doc % 17 == 0 else int(doc) for doc in docs], pa.int64()),
            "chunk_id": pa.array(rng.integers(0, 8, rows)),
            "text": pa.array([f"a sentence of some length about {n}" for n in rng.integers(0, 400, rows)]),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), pool.shape[1]),
        }
    )


def assert_same(out: Path, whole: Path) -> None:
    for name in TABLES:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = (json.loads((place / "summary.json").read_text()) for place in (out, whole))
    hashed = [[f["blake3"] for f in s["inputs"]["train"]["files"]] for s in (ours, theirs)]
    assert hashed[0] == hashed[1]
    for name in MACHINES:
        del ours[name], theirs[name]
    assert ours == theirs


def assert_same_within(out: Path, whole: Path) -> None:
    for name in ("matches.parquet", "matched_rows.parquet"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    ours, theirs = (json.loads((place / "summary.json").read_text()) for place in (out, whole))
    for name in MACHINES:
        del ours[name], theirs[name]
    assert ours == theirs
