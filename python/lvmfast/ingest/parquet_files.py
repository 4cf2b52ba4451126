"""Parquet files that appear when they are whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lvmfast import durable
from lvmfast.errors import naming


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """As `durable.appearing`, in a folder that is made if it is not there.

    Raises:
        DataError: it cannot be written, or the disk is full.
    """
    with naming(path, "cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with durable.appearing(path) as staged:
            yield staged


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Calls append row groups. Equal tables make equal bytes.

    Raises:
        DataError: as `appearing`.
    """
    with appearing(path) as staged, pq.ParquetWriter(staged, schema, compression="zstd") as writer:
        yield lambda table: writer.write_table(table, row_group_size=max(1, len(table)))
