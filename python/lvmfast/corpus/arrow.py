"""Arrow IPC, the file and the stream format: what HF ``datasets`` keeps rows in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from lvmfast.corpus.dataset import Column, Rows
from lvmfast.corpus.failures import reading
from lvmfast.corpus.messages import FILE_MAGIC, RECORDS, Message, all_plain, messages, read_rows, refuse_more
from lvmfast.corpus.table_file import TableFile
from lvmfast.stores import Source, StoredObject, as_source
from lvmfast.stores.ahead import in_order


def open_arrow(path: str | Source, mapping: dict[Column, str], *, strict: bool = True) -> TableFile:
    """An Arrow IPC file; its first bytes tell which of the two formats it has, whatever its name.

    Raises:
        DataError: no Arrow file, a truncated or corrupt one, or fields that do not fit their columns.
    """
    source = as_source(path)
    if isinstance(source, StoredObject):
        return _open_stored(source, mapping, strict)
    path = source.name
    with reading(path), open(path, "rb") as raw:
        listed = messages(path, raw, os.path.getsize(path))
        schema = schema_of(path)
    rows = sum(message.rows for message in listed)

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        for start, batch in _batches(path, listed, schema, fields, wanted):
            batch.validate(full=True)  # offsets in a corrupt file could point anywhere
            yield start, batch

    return TableFile.over(source, rows, schema, scan, mapping, strict=strict)


def _open_stored(source: StoredObject, mapping: dict[Column, str], strict: bool) -> TableFile:
    """In a store the rows are not counted before they are read: that would be a reading of its own."""
    with reading(source.name), source.open() as raw:
        is_file = raw.read(len(FILE_MAGIC)) == FILE_MAGIC
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
            if not is_file:
                refuse_more(f"{source.name}: expected the end of the object behind that of its stream", raw)

    guess = int(source.info.size / per_row) if per_row else 0
    return TableFile.over(source, None, schema, scan, mapping, strict=strict, rows_guess=guess)


def is_file_format(path: str) -> bool:
    """Whether the Arrow file at `path` has the file format, and not the stream format."""
    with open(path, "rb") as raw:
        return raw.read(len(FILE_MAGIC)) == FILE_MAGIC


def schema_of(path: str) -> pa.Schema:
    """The schema of an Arrow file, in either format."""
    with pa.OSFile(path) as file:
        return (pa.ipc.open_file if is_file_format(path) else pa.ipc.open_stream)(file).schema


def record_batches(path: str) -> Iterator[pa.RecordBatch]:
    """The rows of an Arrow file, in either format.

    Raises:
        DataError: the file was cut short.
    """
    with open(path, "rb") as raw:
        listed = messages(path, raw, os.path.getsize(path))
    schema = schema_of(path)
    for _, batch in _batches(path, listed, schema, schema.names, None):
        yield batch


def _batches(
    path: str, listed: Sequence[Message], schema: pa.Schema, fields: Sequence[str], wanted: Rows | None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(first row, rows) of the record batches, of those alone that hold one of the rows `wanted`."""
    records = [message for message in listed if message.kind == RECORDS]
    starts = np.cumsum([0, *(message.rows for message in records)]).tolist()

    def is_wanted(number: int) -> bool:
        span = starts[number], starts[number + 1]
        return wanted is None or bool(np.diff(np.searchsorted(wanted, span))[0])

    if all_plain(listed):
        with open(path, "rb") as raw:
            for number, message in enumerate(records):
                if is_wanted(number):
                    row = starts[number]
                    for batch in read_rows(path, raw, message, schema, fields):
                        yield row, batch
                        row += batch.num_rows
        return
    for number, batch in enumerate(_by_pyarrow(path, schema, fields)):
        if is_wanted(number):
            yield starts[number], batch.select(fields)


def _by_pyarrow(path: str, schema: pa.Schema, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
    options = pa.ipc.IpcReadOptions(included_fields=[schema.names.index(field) for field in fields])
    with pa.OSFile(path) as file:
        if not is_file_format(path):
            yield from pa.ipc.open_stream(file, options=options)
            return
        reader = pa.ipc.open_file(file, options=options)
        yield from map(reader.get_batch, range(reader.num_record_batches))
