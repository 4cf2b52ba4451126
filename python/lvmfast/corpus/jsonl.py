"""JSON lines, plain or compressed: blocks of whole lines through pyarrow, and line by line where it balks.

pyarrow parses fast and says neither which line is broken nor that a column may hold integers and strings;
so a block that it refuses is parsed again by `json`, which either reads it or names the line.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pyarrow as pa

from lvmfast.corpus.columns import resolve
from lvmfast.corpus.dataset import Column, Rows
from lvmfast.corpus.failures import one_line
from lvmfast.corpus.npy import Readable
from lvmfast.corpus.streams import decompressed, head
from lvmfast.corpus.tables import TableFile
from lvmfast.errors import DataError
from lvmfast.stores import Source, as_source

_BLOCK_BYTES = 16 << 20
_PARALLEL_BYTES = 1 << 20
_LONGEST_LINE = 256 << 20
_BOM = b"\xef\xbb\xbf"
_VECTOR = pa.list_(pa.float64())
_TYPES: dict[Column, pa.DataType] = {
    "text": pa.large_string(),
    "vector": _VECTOR,
    "context": pa.list_(_VECTOR),
}
_Fields: TypeAlias = dict[str, Column]


def open_jsonl(path: str | Source, mapping: dict[Column, str], *, strict: bool = True) -> TableFile:
    """A file of one JSON object per line. Blank lines and a byte order mark are passed over.

    The fields are those of the objects in the first MiB. Ids come out as text: they may be integers in
    one line and strings in another.

    Raises:
        DataError: a broken line (it is named), or fields that do not fit their columns.
    """
    source = as_source(path)
    path = source.name
    schema, guess = _schema(source, mapping, strict)
    columns: _Fields = {}
    if schema.names:
        columns = {
            field: column for column, field in resolve(path, schema.names, mapping, strict=strict).items()
        }

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        asked = {field: columns[field] for field in fields}
        row = 0
        with decompressed(source) as stream:
            for line, block in line_blocks(path, stream):
                batch = _parse_block(path, block, line, asked)
                yield row, batch
                row += batch.num_rows

    return TableFile.over(source, None, schema, scan, mapping, strict=strict, rows_guess=guess)


def line_blocks(path: str, stream: Readable) -> Iterator[tuple[int, bytes]]:
    """(number of the first line, block of whole lines), to the end of the stream."""
    line, rest = 1, b""
    while True:
        read = stream.read(_BLOCK_BYTES)
        block = rest + read
        if line == 1 and block.startswith(_BOM):
            block = block[len(_BOM) :]
        cut = block.rfind(b"\n") + 1 if read else len(block)
        whole, rest = block[:cut], block[cut:]
        if len(rest) > _LONGEST_LINE:
            raise DataError(f"{path}: line {line + whole.count(10)}: over {_LONGEST_LINE} bytes long")
        if whole:
            yield line, whole
            line += whole.count(b"\n")
        if not read:
            return


def _parse_block(path: str, block: bytes, first_line: int, columns: _Fields) -> pa.RecordBatch:
    batch = _parse_fast(block, columns)
    if batch is not None:
        return batch
    rows = list(_parse_lines(path, block, first_line, set(columns)))
    arrays = [
        pa.array([_READERS[column](f"{path}: line {line}: {field}", row.get(field)) for line, row in rows],
                 _TYPES.get(column, pa.large_string()))
        for field, column in columns.items()
    ]  # fmt: skip
    return _counted(len(rows), dict(zip(columns, arrays, strict=True)))


def _parse_fast(block: bytes, columns: _Fields) -> pa.RecordBatch | None:
    """The block through pyarrow, or None where anything about it is out of the ordinary."""
    import pyarrow.json as pa_json

    lines = [line for line in block.split(b"\n") if line and not line.isspace()]
    try:
        example = json.loads(lines[0]) if lines else {}
    except (ValueError, RecursionError):
        return None
    if not isinstance(example, dict):
        return None
    types = {
        field: _TYPES.get(column) or (pa.int64() if type(example.get(field)) is int else pa.large_string())
        for field, column in columns.items()
    }
    try:
        table = pa_json.read_json(
            io.BytesIO(block),
            # pyarrow refuses an object that is longer than its blocks, which it parses in parallel.
            pa_json.ReadOptions(block_size=max(_PARALLEL_BYTES, *map(len, lines), 0) + 2),
            pa_json.ParseOptions(pa.schema(types), unexpected_field_behavior="ignore"),
        )
        table.validate(full=True)
    except (pa.ArrowException, UnicodeError):
        return None
    # pyarrow also reads an object over several lines, and several objects on one.
    if table.num_rows != len(lines):
        return None
    arrays = {field: table.column(field).combine_chunks() for field in columns}
    return _counted(
        table.num_rows,
        {f: a.cast(pa.large_string()) if pa.types.is_int64(a.type) else a for f, a in arrays.items()},
    )


def _counted(rows: int, arrays: dict[str, pa.Array]) -> pa.RecordBatch:
    """A record batch of `arrays`, which keeps its length even where there is none."""
    if arrays:
        return pa.record_batch(arrays)
    return pa.record_batch({"": pa.nulls(rows)}).select([])


def _parse_lines(
    path: str, block: bytes, first_line: int, fields: set[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line that is not blank."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(
                (k for k, _ in pairs if k in fields and sum(k == other for other, _ in pairs) > 1), None
            )
            if twice is not None:
                raise ValueError(f"{twice!r} stands twice")
        return found

    for number, line in enumerate(block.split(b"\n"), first_line):
        if not line or line.isspace():
            continue
        where = f"{path}: line {number}"
        try:
            value = json.loads(line.decode(), object_pairs_hook=unique)
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: not UTF-8") from error
        except json.JSONDecodeError as error:
            raise DataError(f"{where}, column {error.colno}: {one_line(error.msg)}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: {one_line(error)}") from error
        if not isinstance(value, dict):
            raise DataError(f"{where}: expected a JSON object, got {_kind(value)}")
        yield number, value


def _read_id(where: str, value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or isinstance(value, str):
        return _read_text(where, value)
    raise DataError(f"{where}: expected an integer or string id, got {_kind(value)}")


def _read_text(where: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise DataError(f"{where}: expected text, got {_kind(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: a lone surrogate, \\u{ord(value[error.start]):04x}") from error
    return value


def _read_vector(where: str, value: Any) -> list[float | None] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise DataError(f"{where}: expected a list of numbers, got {_kind(value)}")
    for item in value:
        if item is not None and (isinstance(item, bool) or not isinstance(item, (int, float))):
            raise DataError(f"{where}: expected a list of numbers, got {_kind(item)} in it")
    try:
        return [None if item is None else float(item) for item in value]
    except OverflowError as error:
        raise DataError(f"{where}: {one_line(error)}") from error


def _read_context(where: str, value: Any) -> list[list[float | None] | None] | None:
    if value is not None and not isinstance(value, list):
        raise DataError(f"{where}: expected a list of lists of numbers, got {_kind(value)}")
    return None if value is None else [_read_vector(where, item) for item in value]


_READERS: dict[Column, Callable[[str, Any], Any]] = {
    "doc_id": _read_id,
    "chunk_id": _read_id,
    "text": _read_text,
    "vector": _read_vector,
    "context": _read_context,
}


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _schema(source: Source, mapping: dict[Column, str], strict: bool) -> tuple[pa.Schema, int]:
    """The fields of the objects at the beginning of the file, and a guess at its rows."""
    path, start = source.name, head(source)
    block = start.block.removeprefix(_BOM)
    cut = block.rfind(b"\n") + 1
    if not start.complete and not cut:  # a first line of over a MiB
        with decompressed(source) as stream:
            block = next((block for _, block in line_blocks(path, stream)), b"").split(b"\n", 1)[0]
    elif not start.complete:
        block = block[:cut]
    examples: dict[str, Any] = {}
    rows = 0
    for _, value in _parse_lines(path, block, 1, set()):
        rows += 1
        for field, item in value.items():
            if examples.get(field) is None:
                examples[field] = item
    columns = resolve(path, examples, mapping, strict=strict)
    types = {field: _type_of(item) for field, item in examples.items()}
    for column, field in columns.items():
        if examples[field] is None:
            types[field] = _TYPES.get(column, pa.large_string())
        elif column in ("doc_id", "chunk_id") and pa.types.is_int64(types[field]):
            types[field] = pa.large_string()
    return pa.schema(list(types.items())), start.scaled(rows)


def _type_of(value: Any) -> pa.DataType:
    if isinstance(value, list):
        inner = next((item for item in value if item is not None), 0.0)
        return pa.list_(pa.float32() if type(inner) in (int, float) else _type_of(inner))
    simple = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.large_string()}
    return simple.get(type(value), pa.struct([]))
