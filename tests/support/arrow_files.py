"""Arrow tables in every container, with texts and vectors that tell rows apart."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS, SHARED, DIM, LENGTH = 24, 10, 32, 3


def to_parquet(table, path):
    pq.write_table(table, path, row_group_size=7)
    return str(path)


def to_file(table, path):
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return str(path)


def to_stream(table, path):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return str(path)


CONTAINERS = {
    "parquet": None,
    "file": lambda table, folder: to_file(table, folder / "train.arrow"),
    "stream": lambda table, folder: to_stream(table, folder / "train.arrow"),
    "table": lambda table, folder: table,
}


def kept_as(container, table, folder):
    """`table` in a container; skipped where pyarrow itself writes no such file."""
    if container == "parquet":
        with suppress(pa.ArrowNotImplementedError):
            return to_parquet(table, folder / "train.parquet")
        pytest.skip("pyarrow writes no parquet of it")
    return CONTAINERS[container](table, folder)


def texts(start, stop, word="text"):
    return [f'{word} number {n} says "enough" to be compared' for n in range(start, stop)]


def vectors(rows, kind="float32", shape=(DIM,), seed=0):
    """Whole numbers that every kind holds, far from each other."""
    values = np.random.default_rng(seed).integers(0 if kind.startswith("u") else -100, 100, (rows, *shape))
    return values.astype(kind)
