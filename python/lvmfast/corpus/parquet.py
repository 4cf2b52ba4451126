"""Parquet files, streamed row group by row group with column projection."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast.corpus.dataset import Column, Rows
from lvmfast.corpus.failures import reading
from lvmfast.corpus.tables import TableFile
from lvmfast.corpus.values import TEXT_BYTES, is_text_type

_BUFFER_BYTES = 1 << 20


def open_parquet(path: str, mapping: dict[Column, str], *, strict: bool = True) -> TableFile:
    """A parquet file.

    Raises:
        DataError: no parquet file, a truncated one, or fields that do not fit their columns.
    """
    import pyarrow.parquet as pq

    with reading(path), pq.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    starts = np.cumsum([0, *groups])[:-1].astype(np.int64)
    texts = {field.name for field in schema if is_text_type(field.type)}

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        # Through a buffer per column: a row group is never in memory as a whole. And not mapped, for a map
        # whose file was cut short in the meantime kills the process that touches it.
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            for group in range(file.num_row_groups):
                first, end = int(starts[group]), int(starts[group] + groups[group])
                if wanted is not None:  # the group is decoded as far as the last wanted row in it
                    within = wanted[slice(*np.searchsorted(wanted, (first, end)))]
                    end = int(within[-1]) + 1 if len(within) else first
                if end == first:
                    continue
                rows_at_once = (
                    step if texts.isdisjoint(fields) else min(step, rows_of(TEXT_BYTES, file, group))
                )
                for batch in file.iter_batches(rows_at_once, [group], fields):
                    yield first, batch
                    first += batch.num_rows
                    if first >= end:
                        break

    size = os.path.getsize(path)
    return TableFile(path, path, size, rows, schema, scan, mapping, strict=strict, starts=starts)


def rows_of(size: int, file: Any, group: int) -> int:
    """How many rows of a row group make up `size` bytes, by the size of all its columns together.

    The sizes of single columns would tell more, but pyarrow aborts the process over corrupt statistics there.
    """
    meta = file.metadata.row_group(group)
    return max(1, size * int(meta.num_rows) // max(1, int(meta.total_byte_size)))
