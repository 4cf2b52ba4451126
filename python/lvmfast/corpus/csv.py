"""CSV with a header line, plain or compressed, streamed through the core's reader of records."""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.budget import Budget
from lvmfast.corpus.codecs import without_codec
from lvmfast.corpus.columns import resolve
from lvmfast.corpus.dataset import Column, Rows
from lvmfast.corpus.expressions import expressions, makes_text
from lvmfast.corpus.failures import one_line
from lvmfast.corpus.shapes import shaped
from lvmfast.corpus.streams import Head, decompressed, head
from lvmfast.corpus.table_file import TableFile
from lvmfast.errors import DataError
from lvmfast.stores import Source, as_source

_BLOCK_BYTES = 8 << 20
_LONGEST_RECORD = 256 << 20
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_VECTORS: dict[Column, pa.DataType] = {
    "vector": pa.list_(pa.float32()),
    "context": pa.list_(pa.list_(pa.float32())),
}


def open_csv(path: str | Source, mapping: dict[Column, str], *, strict: bool = True) -> TableFile:
    """A CSV file; in one whose name ends in ``.tsv``, tabs stand for commas.

    Ids are text as it stands there (``007`` is not 7), and null where empty. Vectors and windows are cells
    that hold a JSON list. Blank lines and a byte order mark are passed over.

    Raises:
        DataError: no header, a record with another number of fields, a quote that is never closed or that
            stands before the end of its cell, a record of over 256 MiB or that the memory limit has no room
            for, bytes that are not UTF-8 in a column that is read, or cells that do not fit their columns.
    """
    source = as_source(path)
    path = source.name
    start = head(source)
    _check_separator(path, start, mapping)
    names = _header(source, start)
    texts = pa.schema(dict.fromkeys(names, pa.large_string()))
    known, _ = shaped(mapping, names, lambda field: makes_text(field, texts))
    found = resolve(path, [*names, *expressions(known, names)], known, strict=strict)
    columns = {field: column for column, field in found.items()}
    context = found.get("context")
    if context is not None and "context" not in mapping and not _may_be_windows(source, start, context):
        columns[context] = "text"
    schema = pa.schema([(name, _VECTORS.get(columns.get(name, "text"), pa.large_string())) for name in names])
    guess = start.scaled(max(0, start.block.count(b"\n") - 1))

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        row, records = 0, Records(source, fields)
        for block in records.blocks():
            rows, texts = records.feed(block)
            arrays = [
                _cells(path, columns.get(field, "text"), field, text, row)
                for field, text in zip(fields, texts, strict=True)
            ]
            counted = pa.record_batch([*arrays, pa.nulls(rows)], [*fields, ""])
            yield row, counted.select(list(range(len(fields))))
            row += rows

    return TableFile.over(source, None, schema, scan, mapping, strict=strict, rows_guess=guess)


def delimiter_of(path: str) -> str:
    """What stands between the cells of the file of this name."""
    return "\t" if os.path.splitext(without_codec(path).lower())[1] == ".tsv" else ","


class Records:
    """The records of a csv file: `fields` of them as text, and where they stand."""

    def __init__(self, source: str | Source, fields: Sequence[str] = ()) -> None:
        """Nothing is read before `blocks` is asked."""
        self._source = as_source(source)
        self._reader = self._reader_of(fields)
        self._budget = Budget()
        self._size = min(_BLOCK_BYTES, self._budget.block_bytes)
        self._fed = self._ended = 0  # bytes, and those before the record that is open

    def _reader_of(self, fields: Sequence[str]) -> _core.CsvReader:
        return _core.CsvReader(delimiter_of(self._source.name), _LONGEST_RECORD, fields)

    @property
    def header(self) -> list[str] | None:
        """The names of all fields, once they were read."""
        return self._reader.header

    def blocks(self) -> Iterator[bytes]:
        """The blocks of the file to `feed`; the last one is empty.

        Raises:
            DataError: as `decompressed`.
        """
        with decompressed(self._source) as stream:
            while block := stream.read(self._size):
                yield block
        yield b""

    def feed(self, block: bytes) -> tuple[int, list[pa.Array]]:
        """The number of rows that the block ends, and a large_string array of each field.

        Raises:
            DataError: the block breaks a rule of csv, a record is more than there is room for, or the block
                is empty and there was no header.
        """
        rows, texts = self._read(self._reader, block)
        self._check_open(block)
        if not block and self.header is None:
            raise DataError(f"{self._source.name}: expected a line of field names, found none")
        return rows, [
            pa.Array.from_buffers(pa.large_string(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
            for data, offsets in texts
        ]

    def _read(self, reader: _core.CsvReader, block: bytes) -> Any:
        try:
            return reader.feed(block)
        except ValueError as error:
            raise DataError(f"{self._source.name}: {error}") from error

    def _check_open(self, block: bytes) -> None:
        """Refuses a record that goes on behind the last block where there is no room for it."""
        self._fed += len(block)
        spans = self.spans()
        self._ended = int(spans[-1, 1]) if len(spans) else self._ended
        try:
            self._budget.check_row(self._fed - self._ended, self._source.name)
        except DataError:
            self._ended, end = self._open_record()  # which blank lines stand before, or is it so long
            where = f"{self._source.name}: the record at byte {self._ended:,}"
            self._budget.check_row(end - self._ended, where)

    def _open_record(self) -> tuple[int, int]:
        """Where the record that is open begins and ends; at the end of the file if there is none."""
        reader = self._reader_of(())
        size = 0
        for block in self.blocks():
            self._read(reader, block)
            size += len(block)
            spans = reader.spans()
            behind = spans[spans[:, 0] >= self._ended]
            if len(behind):
                return int(behind[0, 0]), int(behind[0, 1])
        return size, size

    def spans(self) -> Any:
        """(k, 2) uint64: where each record that the last block ended begins and ends in the file.

        The line end belongs to it, and the header is the first.
        """
        return self._reader.spans()


def _check_separator(path: str, start: Head, mapping: dict[Column, str]) -> None:
    """Refuses a file whose first line is one field here, and several where others write csv."""
    lines = start.block.removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n").splitlines() or [b""]
    line, expected = lines[0].decode("utf-8", "replace"), delimiter_of(path)
    other = next((mark for mark in ";\t|," if mark in line), None)
    if other is None or expected in line or line.strip('"') in mapping.values():
        return
    raise DataError(
        f"{path}: line 1: expected {_NAMES[expected]} between the fields, found {_NAMES[other]}; "
        f"a .csv file is read with commas, and a .tsv file with tabs"
    )


def _header(source: Source, start: Head) -> list[str]:
    records = Records(source)
    records.feed(start.block)
    if start.complete and start.block:
        records.feed(b"")
    if records.header is None:  # it is longer than the head
        records = Records(source)
        for block in records.blocks():
            records.feed(block)
            if records.header is not None:
                break
    return records.header or []


def _may_be_windows(source: Source, start: Head, field: str) -> bool:
    """Whether the first cell that has something in it can be a JSON list."""
    _, (cells,) = Records(source, [field]).feed(start.block)
    first = next((cell for cell in cells.to_pylist() if cell.strip()), "[")
    return bool(first.lstrip().startswith("["))


def _cells(path: str, column: Column, field: str, array: pa.Array, first_row: int) -> pa.Array:
    if column == "text":
        return array
    import pyarrow.compute as pc

    filled = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.large_string()), array)
    if column not in _VECTORS:
        return filled
    values = []
    for row, cell in enumerate(filled.to_pylist(), first_row):
        try:
            values.append(None if cell is None else json.loads(cell))
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}: {field}: row {row}: expected a JSON list, got {one_line(cell)[:40]!r}"
            ) from error
    try:
        return pa.array(values, _VECTORS[column])
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(f"{path}: {field}: rows from {first_row}: {one_line(error)}") from error
