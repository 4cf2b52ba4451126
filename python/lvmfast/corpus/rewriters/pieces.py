"""Rows of which pieces of their text are written: a row each, with all other values of the whole one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast.corpus.arrow_types import plain
from lvmfast.corpus.arrow_values import text_from_arrow
from lvmfast.corpus.rewriters.rows import InPieces, Stretch
from lvmfast.corpus.rewriters.taking import Places, take_rows
from lvmfast.errors import DataError

_BLANK = re.compile(r"[ \t\r\n]*")
#: Numbers stay text: they are not looked at, and there are some that Python refuses.
_VALUES = json.JSONDecoder(parse_int=str, parse_float=str)
#: Types in which a piece of a text can be written.
_STRINGS = (pa.string(), pa.large_string(), pa.string_view())
_BYTES = (pa.binary(), pa.large_binary(), pa.binary_view())

#: (record, where its pieces stand, the fields) -> a record for each.
Written = Callable[[bytes, Sequence[Stretch], InPieces], list[bytes]]


def in_pieces(
    records: list[bytes], where: list[int], first: int, pieces: InPieces, written: Written
) -> tuple[list[bytes], list[int]]:
    """`records`, the first of which is row `first`, and their targets, with several for a row in pieces."""
    if not pieces.of_row:
        return records, where
    made: list[bytes] = []
    to: list[int] = []
    for row, (record, target) in enumerate(zip(records, where, strict=False), first):
        stretches = pieces.of_row.get(row)
        made += [record] if stretches is None else written(record, stretches, pieces)
        to += [target] * (len(made) - len(to))
    return made, to


def json_in_pieces(record: bytes, stretches: Sequence[Stretch], pieces: InPieces) -> list[bytes]:
    """An object of JSON on a line; all but the two values is the same bytes."""
    line, done = record.decode(), 0
    made = [""] * len(stretches)
    for name, start, stop in _members(line):
        if name == pieces.text:
            text = json.loads(line[start:stop])
            values = [json.dumps(text[a:b], ensure_ascii=record.isascii()) for a, b in stretches]
        elif name == pieces.chunk_id:
            values = ["null"] * len(stretches)
        else:
            continue
        made = [f"{before}{line[done:start]}{value}" for before, value in zip(made, values, strict=True)]
        done = stop
    return [f"{before}{line[done:]}".encode() for before in made]


def _members(line: str) -> Iterator[tuple[str, int, int]]:
    """Each name of the object in `line`, and where its value starts and stops."""

    def behind(place: int) -> int:
        blank = _BLANK.match(line, place)
        return blank.end() if blank else place

    at = behind(line.index("{") + 1)
    while line[at] == '"':
        name, at = _VALUES.raw_decode(line, at)
        start = behind(behind(at) + 1)
        _, stop = _VALUES.raw_decode(line, start)
        yield name, start, stop
        at = behind(stop)
        if line[at] == ",":
            at = behind(at + 1)


def csv_in_pieces(
    record: bytes, stretches: Sequence[Stretch], pieces: InPieces, header: Sequence[str], delimiter: str
) -> list[bytes]:
    """A record of csv; all but the two cells is the same bytes."""
    made, done = [b""] * len(stretches), 0
    for name, (start, stop) in zip(header, _cells(record, delimiter.encode()), strict=True):
        if name == pieces.text:
            cell = record[start:stop]
            text = (cell[1:-1].replace(b'""', b'"') if cell.startswith(b'"') else cell).decode()
            values = [b'"%s"' % text[a:b].replace('"', '""').encode() for a, b in stretches]
        elif name == pieces.chunk_id:
            values = [b""] * len(stretches)
        else:
            continue
        made = [before + record[done:start] + value for before, value in zip(made, values, strict=True)]
        done = stop
    return [before + record[done:] for before in made]


def _cells(record: bytes, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """Where each cell of a well-formed record starts and stops, quotes included."""
    at = 0
    while True:
        if record[at : at + 1] == b'"':
            stop = record.index(b'"', at + 1) + 1
            while record[stop : stop + 1] == b'"':
                stop = record.index(b'"', stop + 1) + 1
        elif (stop := record.find(delimiter, at)) < 0:
            stop = len(record.rstrip(b"\r\n"))
        yield at, stop
        if record[stop : stop + 1] != delimiter:
            return
        at = stop + 1


def check_schema(source: str, schema: pa.Schema, pieces: InPieces) -> None:
    """Refuses what cannot hold a piece.

    Raises:
        DataError: a text of a type in which no piece can be written, or chunk ids that cannot be null.
    """
    if not pieces.of_row:
        return
    type_ = schema.field(pieces.text).type
    if type_ not in (*_STRINGS, *_BYTES):
        raise DataError(f"{source}: {pieces.text}: texts of type {type_} cannot be cut into pieces")
    if pieces.chunk_id is not None and not schema.field(pieces.chunk_id).nullable:
        raise DataError(
            f"{source}: {pieces.chunk_id}: a piece has none, and its schema says that all rows do"
        )


def rows_in_pieces(batch: pa.RecordBatch, kept: Places, first: int, pieces: InPieces) -> pa.RecordBatch:
    """The rows of `batch` at `kept`, ascending, several for a row in pieces; it begins with row `first`."""
    cut = {row: pieces.of_row[first + row] for row in kept.tolist() if first + row in pieces.of_row}
    if not cut:
        return take_rows(batch, kept)
    places = np.repeat(kept, [len(cut[row]) if row in cut else 1 for row in kept.tolist()])
    at = batch.schema.get_field_index(pieces.text)
    # The texts come by themselves, for a long one would be taken once for each of its pieces.
    others = take_rows(batch.select([place for place in range(batch.num_columns) if place != at]), places)
    field, column = batch.schema.field(at), batch.column(at)
    texts: list[str | bytes] = []
    for row in kept.tolist():
        if row not in cut:
            texts.append(column[row].as_py())
            continue
        text = text_from_arrow(column.slice(row, 1), pieces.text, first + row)[0].as_py()
        found = [text[a:b] for a, b in cut[row]]
        texts += [piece.encode() for piece in found] if field.type in _BYTES else found
    columns = others.columns  # as a list: a batch of no columns has no rows, and takes none
    columns.insert(at, pa.array(texts, field.type))
    made = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    if pieces.chunk_id is None:
        return made
    place = made.schema.get_field_index(pieces.chunk_id)
    mask = np.isin(places, list(cut))
    return made.set_column(place, made.schema.field(place), _without(made.column(place), mask))


def _without(array: pa.Array, absent: Any) -> pa.Array:
    """`array` with nulls where `absent`."""
    rows = pa.array(np.arange(len(array)), mask=absent)
    try:
        return array.take(rows)
    except pa.ArrowNotImplementedError:
        return plain(array).take(rows).cast(array.type)
