"""Lines of JSON become columns: through pyarrow, and line by line where it balks.

pyarrow parses fast and says neither which line is broken nor that a column may hold integers and strings;
so a block that it refuses is parsed again by `json`, which either reads it or names the line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast.corpus.dataset import ITEM_COLUMNS, Column
from lvmfast.corpus.failures import one_line
from lvmfast.corpus.lines import Lines
from lvmfast.corpus.values import item_text
from lvmfast.errors import DataError

_PARALLEL_BYTES = 1 << 20
_VECTOR = pa.list_(pa.float64())
_TYPES: dict[Column, pa.DataType] = {
    "text": pa.large_string(),
    "vector": _VECTOR,
    "context": pa.list_(_VECTOR),
}
_IDS: tuple[Column, ...] = ("doc_id", "chunk_id")

#: Told of a value that is not null in a field that is watched: the line, the field, the value.
Met = Callable[[int, str, Any], None]


@dataclass
class Reading:
    """What is read of the objects of a file."""

    path: str
    columns: Mapping[str, Column]  #: by field
    watched: frozenset[str]  #: fields that are to be null
    met: Met  #: what happens where one is not
    integers: dict[str, bool] = field(default_factory=dict)  #: id fields: whether the last seen was an int


def parsed(lines: Lines, reading: Reading) -> pa.RecordBatch:
    """The rows of `lines`: a column for each field of `reading.columns`; ids as text, vectors as lists.

    Raises:
        DataError: a line is broken, or a value does not fit its column; the line is named.
    """
    batch = _parse_fast(lines.block, reading)
    return _parse_slowly(lines, reading) if batch is None else batch


def _parse_fast(block: bytes, reading: Reading) -> pa.RecordBatch | None:
    """The block through pyarrow, or None where anything about it is out of the ordinary."""
    import pyarrow.json as pa_json

    counted = _objects(block)
    if counted is None:
        return None
    rows, longest = counted
    types = {name: _type(name, column, reading) for name, column in reading.columns.items()}
    types |= dict.fromkeys(reading.watched, pa.null())
    try:
        table = pa_json.read_json(
            pa.BufferReader(block),
            # pyarrow refuses an object that is longer than its blocks, which it parses in parallel.
            pa_json.ReadOptions(block_size=max(_PARALLEL_BYTES, longest) + 2),
            pa_json.ParseOptions(pa.schema(types), unexpected_field_behavior="ignore"),
        )
        table.validate(full=True)
    except (pa.ArrowException, UnicodeError):
        return None
    if table.num_rows != rows:
        return None
    arrays = {name: table.column(name).combine_chunks() for name in reading.columns}
    return _counted(
        rows,
        {name: a.cast(pa.large_string()) if pa.types.is_int64(a.type) else a for name, a in arrays.items()},
    )


def _type(name: str, column: Column, reading: Reading) -> pa.DataType:
    if column in _IDS and reading.integers.get(name):
        return pa.int64()
    return _TYPES.get(column, pa.large_string())


def _objects(block: bytes) -> tuple[int, int] | None:
    """Lines that are not blank, and the bytes of the longest; None where one can be no single object.

    What begins and ends with a brace on every line, and is as many objects as lines, is one on each: none can
    go on behind a line that closes one. pyarrow would take several on a line, or one over several, and of
    other values it makes rows of nulls or crashes.
    """
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    if not len(ends) or ends[-1] + 1 < len(data):
        ends = np.append(ends, len(data))
    starts = np.concatenate([[0], ends[:-1] + 1])
    some = starts < ends
    starts, ends = starts[some], ends[some]
    plain = (data[starts] == ord("{")) & (data[ends - 1] == ord("}"))
    rows = len(starts)
    for place in np.flatnonzero(~plain):
        line = block[starts[place] : ends[place]].strip(b" \t\r")
        if not line:
            rows -= 1
        elif not (line.startswith(b"{") and line.endswith(b"}")):
            return None
    return rows, int((ends - starts).max(initial=0))


def _counted(rows: int, arrays: dict[str, pa.Array]) -> pa.RecordBatch:
    """A record batch of `arrays`, which keeps its length even where there is none."""
    if arrays:
        return pa.record_batch(arrays)
    return pa.record_batch({"": pa.nulls(rows)}).select([])


def _parse_slowly(lines: Lines, reading: Reading) -> pa.RecordBatch:
    values: dict[str, list[Any]] = {name: [] for name in reading.columns}
    rows = 0
    for line, row in objects(reading.path, lines, reading.watched | reading.columns.keys()):
        rows += 1
        for name in reading.watched:
            if row.get(name) is not None:
                reading.met(line, name, row[name])
        for name, column in reading.columns.items():
            value = row.get(name)
            values[name].append(READERS[column](f"{reading.path}: line {line}: {name}", value))
            if column in _IDS and value is not None:
                reading.integers[name] = isinstance(value, int)
    types = {name: _TYPES.get(column, pa.large_string()) for name, column in reading.columns.items()}
    return _counted(rows, {name: pa.array(values.pop(name), type_) for name, type_ in types.items()})


def objects(path: str, lines: Lines, fields: frozenset[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line that is not blank.

    Raises:
        DataError: a line is no object, or one of `fields` stands twice in it.
    """
    last: list[tuple[str, Any]] = []

    def noted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal last
        last = pairs  # of the object itself in the end: those inside it are called before
        return dict(pairs)

    for number, line in lines.numbered():
        where = f"{path}: line {number}"
        try:
            value = json.loads(line.decode(), object_pairs_hook=noted)
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: not UTF-8") from error
        except json.JSONDecodeError as error:
            cut = error.pos >= len(error.doc.rstrip()) and error.doc.lstrip().startswith("{")
            hint = "; expected a whole object on one line, or a list of objects" if cut else ""
            raise DataError(f"{where}, column {error.colno}: {one_line(error.msg)}{hint}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: {one_line(error)}") from error
        if not isinstance(value, dict):
            raise DataError(f"{where}: expected a JSON object, got {kind(value)}")
        if len(value) < len(last):
            names = [name for name, _ in last]
            twice = next((name for name in names if name in fields and names.count(name) > 1), None)
            if twice is not None:
                raise DataError(f"{where}: {twice!r} stands twice")
        yield number, value


def _read_id(where: str, value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return _read_text(where, value)
    raise DataError(f"{where}: expected an integer or string id, got {kind(value)}")


def _read_text(where: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise DataError(f"{where}: expected text, got {kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: a lone surrogate, \\u{ord(value[error.start]):04x}") from error
    return value


def _read_vector(where: str, value: Any) -> list[float | None] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise DataError(f"{where}: expected a list of numbers, got {kind(value)}")
    for item in value:
        if item is not None and (isinstance(item, bool) or not isinstance(item, (int, float))):
            raise DataError(f"{where}: expected a list of numbers, got {kind(item)} in it")
    try:
        return [None if item is None else float(item) for item in value]
    except OverflowError as error:
        raise DataError(f"{where}: {one_line(error)}") from error


def _read_context(where: str, value: Any) -> list[list[float | None] | None] | None:
    if value is not None and not isinstance(value, list):
        raise DataError(f"{where}: expected a list of lists of numbers, got {kind(value)}")
    return None if value is None else [_read_vector(where, item) for item in value]


def _read_item(where: str, value: Any) -> str | None:
    return item_text(value)


#: (place of a value for errors, the value as `json` gives it) -> the value of a column.
READERS: dict[Column, Callable[[str, Any], Any]] = {
    "doc_id": _read_id,
    "chunk_id": _read_id,
    "text": _read_text,
    "vector": _read_vector,
    "context": _read_context,
    **dict.fromkeys(ITEM_COLUMNS, _read_item),
}


def kind(value: Any) -> str:
    """What a value of JSON is, in Python's words."""
    return "null" if value is None else type(value).__name__
