"""Arrow IPC, the file and the stream format, mapped where it is local: what HF ``datasets`` keeps rows in."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from lvmfast.corpus.dataset import Column, Rows
from lvmfast.corpus.failures import reading
from lvmfast.corpus.tables import TableFile
from lvmfast.errors import DataError
from lvmfast.stores import Source, StoredObject, as_source
from lvmfast.stores.ahead import in_order

_FILE_MAGIC = b"ARROW1\0\0"


def open_arrow(path: str | Source, mapping: dict[Column, str], *, strict: bool = True) -> TableFile:
    """An Arrow IPC file; its first bytes tell which of the two formats it has, whatever its name.

    Raises:
        DataError: no Arrow file, a truncated or corrupt one, or fields that do not fit their columns.
    """
    source = as_source(path)
    if isinstance(source, StoredObject):
        return _open_stored(source, mapping, strict)
    path = source.name
    with reading(path):
        size = os.path.getsize(path)
        with pa.memory_map(path) as mapped:
            if is_file_format(path):
                reader = pa.ipc.open_file(mapped)
                schema, rows = reader.schema, reader.count_rows()
            else:
                stream = pa.ipc.open_stream(mapped)
                schema, rows = stream.schema, sum(batch.num_rows for batch in stream)

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        options = pa.ipc.IpcReadOptions(included_fields=[schema.names.index(field) for field in fields])
        start = 0
        for batch in record_batches(path, size, options):
            stop = start + batch.num_rows
            if wanted is None or np.diff(np.searchsorted(wanted, (start, stop)))[0]:
                kept = batch.select(fields)
                kept.validate(full=True)  # offsets in a corrupt file could point anywhere
                yield start, kept
            start = stop

    return TableFile.over(source, rows, schema, scan, mapping, strict=strict)


def _open_stored(source: StoredObject, mapping: dict[Column, str], strict: bool) -> TableFile:
    """In a store the rows are not counted before they are read: that would be a reading of its own."""
    with reading(source.name), source.open() as raw:
        is_file = raw.read(len(_FILE_MAGIC)) == _FILE_MAGIC
        raw.seek(0)
        reader = pa.ipc.open_file(raw) if is_file else pa.ipc.open_stream(raw)
        schema = reader.schema
        raw.seek(0)
        example = next(pa.ipc.open_stream(raw), None) if not is_file else None
        if is_file and reader.num_record_batches:
            example = reader.get_batch(0)
        per_row = example.nbytes / example.num_rows if example is not None and example.num_rows else 0.0

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        start = 0
        with source.open(in_order(source.info.size)) as raw:
            if not is_file:
                stored: Iterator[pa.RecordBatch] = iter(pa.ipc.open_stream(raw))
            else:
                reader = pa.ipc.open_file(raw)
                stored = map(reader.get_batch, range(reader.num_record_batches))
            for batch in stored:
                kept = batch.select(fields)
                kept.validate(full=True)
                yield start, kept
                start += batch.num_rows

    guess = int(source.info.size / per_row) if per_row else 0
    return TableFile.over(source, None, schema, scan, mapping, strict=strict, rows_guess=guess)


def is_file_format(path: str) -> bool:
    """Whether the Arrow file at `path` has the file format, and not the stream format."""
    with open(path, "rb") as raw:
        return raw.read(len(_FILE_MAGIC)) == _FILE_MAGIC


def record_batches(
    path: str, size: int, options: pa.ipc.IpcReadOptions | None = None
) -> Iterator[pa.RecordBatch]:
    """The record batches of an Arrow file of `size` bytes, in either format, mapped.

    Raises:
        DataError: the file was cut short: to touch a map of it would kill the process.
    """
    options = options or pa.ipc.IpcReadOptions()
    with pa.memory_map(path) as mapped:
        if is_file_format(path):
            reader = pa.ipc.open_file(mapped, options=options)
            for number in range(reader.num_record_batches):
                _check_whole(path, size)
                yield reader.get_batch(number)
        else:
            _check_whole(path, size)
            for batch in pa.ipc.open_stream(mapped, options=options):
                yield batch
                _check_whole(path, size)


def _check_whole(path: str, size: int) -> None:
    now = os.path.getsize(path)
    if now < size:
        raise DataError(f"{path}: expected {size} bytes, got {now}: the file was cut short while it was read")
