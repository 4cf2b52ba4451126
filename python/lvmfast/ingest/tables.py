"""Parquet files that appear when they are whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lvmfast.durable import flush
from lvmfast.errors import DataError


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A name to write under; what was written stands at `path` when the block ends, and nothing if it fails.

    Raises:
        DataError: it cannot be written, or the disk is full.
    """
    staged = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield staged
            flush(staged)
            os.replace(staged, path)
            flush(path.parent)
        finally:
            staged.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Calls append row groups. Equal tables make equal bytes.

    Raises:
        DataError: as `appearing`.
    """
    with appearing(path) as staged, pq.ParquetWriter(staged, schema, compression="zstd") as writer:
        yield lambda table: writer.write_table(table, row_group_size=max(1, len(table)))
