"""Lines of JSON become columns: through the core, and line by line where it balks.

The core reads what is in order and says nothing of the rest; so a block that it refuses is parsed again by
`json`, which either reads it or names the line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import ITEM_COLUMNS, Column
from lvmfast.corpus.expressions import Expression
from lvmfast.corpus.failures import FieldError, one_line
from lvmfast.corpus.lines import Lines
from lvmfast.corpus.values import item_text
from lvmfast.errors import DataError

_VECTOR = pa.list_(pa.float32())
#: What the core reads each column as, and the type that it has then; others are text.
_KINDS: dict[Column, tuple[str, pa.DataType]] = {
    "doc_id": ("id", pa.large_string()),
    "chunk_id": ("id", pa.large_string()),
    "vector": ("vector", _VECTOR),
    "context": ("vectors", pa.list_(_VECTOR)),
}
_TEXT = ("text", pa.large_string())

#: Told of a value that is not null in a field that is watched: the line, the field, the value.
Met = Callable[[int, str, Any], None]


@dataclass
class Reading:
    """What is read of the objects of a file."""

    path: str
    columns: Mapping[str, Column]  #: by field
    watched: frozenset[str]  #: fields that are to be null
    met: Met  #: what happens where one is not
    #: Those of the fields that are made of others.
    made: Mapping[str, Expression] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Has the core read it; None where a vector is made, or the core cannot have what is asked for."""
        self.core: _core.LineReader | None = None
        if any(self.columns[name] in ("vector", "context") for name in self.made):
            return
        plain = {name: column for name, column in self.columns.items() if name not in self.made}
        kinds = [(name, _KINDS.get(column, _TEXT)[0]) for name, column in plain.items()]
        texts = [made.for_core for made in self.made.values()]
        with suppress(ValueError):  # half of a surrogate pair in a name, the item at a place beyond 64 bits
            self.core = _core.LineReader(kinds, sorted(self.watched), texts)


def _type(column: Column) -> pa.DataType:
    return _KINDS.get(column, _TEXT)[1]


def parsed(lines: Lines, reading: Reading) -> pa.RecordBatch:
    """The rows of `lines`: a column for each field of `reading.columns`; ids as text, vectors as lists.

    Raises:
        DataError: a line is broken, or a value does not fit its column; the line is named.
    """
    found = None if reading.core is None else reading.core.read(lines.parts)
    if found is None:
        return _parse_slowly(lines, reading)
    rows, columns = found
    names = [*(name for name in reading.columns if name not in reading.made), *reading.made]
    arrays = {
        name: _array(_type(reading.columns[name]), rows, list(of))
        for name, of in zip(names, columns, strict=True)
    }
    return _counted(rows, {name: arrays[name] for name in reading.columns})


def _array(type_: pa.DataType, rows: int, buffers: list[Any]) -> pa.Array:
    """The array over `buffers` and those of what it lists, of which none is copied."""
    held = [None if buffer is None else pa.py_buffer(buffer) for buffer in buffers]
    if pa.types.is_list(type_):
        listed = _array(type_.value_type, int(buffers[1][-1]), buffers[2:])
        return pa.Array.from_buffers(type_, rows, held[:2], children=[listed])
    return pa.Array.from_buffers(type_, rows, [None, *held] if pa.types.is_floating(type_) else held)


def _counted(rows: int, arrays: dict[str, pa.Array]) -> pa.RecordBatch:
    """A record batch of `arrays`, which keeps its length even where there is none."""
    if arrays:
        return pa.record_batch(arrays)
    return pa.record_batch({"": pa.nulls(rows)}).select([])


def _parse_slowly(lines: Lines, reading: Reading) -> pa.RecordBatch:
    values: dict[str, list[Any]] = {name: [] for name in reading.columns}
    rows = 0
    heads = {head for made in reading.made.values() for head in made.heads}
    for line, row in objects(reading.path, lines, reading.watched | reading.columns.keys() | heads):
        rows += 1
        for name in reading.watched:
            if row.get(name) is not None:
                reading.met(line, name, row[name])
        for name, column in reading.columns.items():
            where = f"{reading.path}: line {line}: {name}"
            made = reading.made.get(name)
            value = row.get(name) if made is None else _made(where, made, row)
            values[name].append(READERS[column](where, value))
    types = {name: _type(column) for name, column in reading.columns.items()}
    return _counted(rows, {name: pa.array(values.pop(name), type_) for name, type_ in types.items()})


def _made(where: str, made: Expression, row: dict[str, Any]) -> str | None:
    try:
        return made.of_row(row)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


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
                raise FieldError(f"{where}: {twice!r} stands twice")
        yield number, value


def _read_id(where: str, value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return _read_text(where, value)
    raise FieldError(f"{where}: expected an integer or string id, got {kind(value)}")


def _read_text(where: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise DataError(f"{where}: expected text, got {kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise FieldError(f"{where}: a lone surrogate, \\u{ord(value[error.start]):04x}") from error
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
