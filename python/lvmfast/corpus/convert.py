"""What numpy pickled becomes parquet: object arrays in ``.npy`` and ``.npz`` files, and old payloads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.array_source import ArraySource
from lvmfast.corpus.columns import ALIASES, PAIR_FIELD
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.failures import reading
from lvmfast.corpus.fields import Field, depth_of, first_value, from_array, id_field, text_field, vector_field
from lvmfast.corpus.formats import NPZ, format_of
from lvmfast.corpus.npy import Readable, read_header
from lvmfast.corpus.npz import PROVENANCE, Member, npz_members
from lvmfast.corpus.quarantined import check_usable
from lvmfast.corpus.unpickle import load_plain
from lvmfast.corpus.values import (
    MAX_ROW_BYTES,
    ids_from_numpy,
    is_vector_dtype,
    row_bytes,
)
from lvmfast.durable import appearing
from lvmfast.errors import DataError

_ROWS_PER_GROUP = 8192
#: A pickle names a value as often as it likes: what is written at once is no more than this, or one row.
_GROUP_BYTES = 64 << 20
_COLUMN_OF = {alias: column for column, aliases in ALIASES.items() for alias in aliases}


class Converted(NamedTuple):
    """What became of a file."""

    rows: int
    left_out: tuple[str, ...]  #: members that are no column, and why


def convert_payload(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Converted:
    """Writes what is pickled in the ``.npy`` or ``.npz`` file `source` to the parquet file `target`.

    Reads, of an ``.npy``, an array or list of texts or of vectors, or a payload: a dict of (text,
    {article_index, chunk_index}, vector) tuples, a dict of dicts, or a list or array of dicts, with the names
    of the known columns. Of an ``.npz``, every member with as many rows as the pickled ones, under its own
    name. The pickle is read by an unpickler that admits numpy arrays and plain containers and nothing else;
    it is held in memory whole, what is made of it is not. A NaN among texts or ids is how pandas says null.
    `target` appears complete or not at all, and replaces a file of that name.

    Raises:
        DataError: `source` holds no pickle, is broken or hostile, or has values that are no column.
    """
    source, target = os.fspath(source), os.fspath(target)
    check_usable(source)
    with ExitStack() as stack:
        if format_of(source) is NPZ:
            rows, fields, left_out = _fields_of_members(source, stack)
        else:
            rows, fields = _fields_of_value(source, _load(source))
            left_out = ()
        if not rows:
            raise DataError(f"{source}: the payload is empty")
        _write(target, rows, fields)
    return Converted(rows, left_out)


def _load(path: str) -> Any:
    with reading(path), open(path, "rb") as file:
        return _pickled(file, os.fstat(file.fileno()).st_size, path)


def _pickled(stream: Readable, size: int, where: str) -> Any:
    """The value that an ``.npy`` of `size` bytes holds as a pickle."""
    header = read_header(stream, where)
    if not header.dtype.hasobject or header.dtype.fields is not None:
        raise DataError(f"{where}: expected pickled values, got {header.shape} {header.dtype}")
    value = load_plain(stream, size - header.length, where)
    if isinstance(value, np.ndarray) and value.shape == ():
        return value.item()
    return value


def _fields_of_value(path: str, value: Any) -> tuple[int, dict[str, Field]]:
    """The fields of the one value of an ``.npy``: a column of texts or vectors, or a payload."""
    if isinstance(value, (list, tuple, np.ndarray)):
        first = first_value(value)
        if isinstance(first, (str, bytes)):
            return len(value), {"text": text_field(value, f"{path}: text")}
        entry = isinstance(first, (tuple, list)) and len(first) > 1 and isinstance(first[1], Mapping)
        if isinstance(first, (np.ndarray, list, tuple)) and not entry:
            return len(value), {"vector": vector_field(value, 1, lambda row: f"{path}: row {row}: vector")}
    entries = list(_entries(path, value))
    fields = {
        "doc_id": id_field([entry.doc_id for entry in entries], f"{path}: doc_id"),
        "chunk_id": id_field([entry.chunk_id for entry in entries], f"{path}: chunk_id"),
        "text": text_field([entry.text for entry in entries], f"{path}: text"),
    }
    vectors = [entry.vector for entry in entries]
    if first_value(vectors) is not None:
        fields["vector"] = vector_field(vectors, 1, lambda row: f"{entries[row].where}: vector")
    return len(entries), fields


def _fields_of_members(path: str, stack: ExitStack) -> tuple[int, dict[str, Field], tuple[str, ...]]:
    """The fields of an ``.npz``: members with as many rows as those that are pickled; and what is none."""
    members = [member for member in npz_members(path) if member.name != PROVENANCE]
    pickled = [member for member in members if member.array is not None and member.array.pickled]
    counted = [member.array.shape[0] for member in pickled if member.array is not None and member.array.shape]
    if not counted:
        raise DataError(f"{path}: expected pickled values, got none of them in an array of rows")
    fields: dict[str, Field] = {}
    left_out = []
    for member in members:
        where = f"{path}: {member.key}"
        known = member.key in _COLUMN_OF or member.key == PAIR_FIELD
        shape = member.array.shape if member.array is not None else ()
        if shape[:1] != (counted[0],):
            found = f"expected {counted[0]} rows, got {shape}"
            if known:
                raise DataError(f"{where}: {found}")
            left_out.append(f"{member.key}: {found}")
            continue
        try:
            fields.update(_fields_of_member(member, where, stack))
        except DataError as error:
            if known:
                raise
            left_out.append(str(error).removeprefix(f"{path}: "))
    return counted[0], fields, tuple(left_out)


def _fields_of_member(member: Member, where: str, stack: ExitStack) -> dict[str, Field]:
    array = member.array
    assert array is not None
    if not array.pickled:
        return _plain(member.key, array, where, stack)
    with member.opened() as stream:
        value = _pickled(stream, member.info.file_size, where)
    if not isinstance(value, np.ndarray) or value.shape != array.shape:
        raise DataError(f"{where}: expected an array of {array.shape}, as its header says, got another value")
    if member.key == PAIR_FIELD and value.ndim == 2 and value.shape[1] > 1:
        return {"doc_id": id_field(value[:, 0], where), "chunk_id": id_field(value[:, 1], where)}
    column, first = _COLUMN_OF.get(member.key), first_value(value)
    if column in ("doc_id", "chunk_id") or (column is None and isinstance(first, int)):
        return {member.key: id_field(value, where)}
    if column == "text" or (column is None and isinstance(first, (str, bytes))):
        return {member.key: text_field(value, where)}
    depth = 2 if column == "context" else 1 if column == "vector" else depth_of(first)
    if depth not in (1, 2):
        raise DataError(f"{where}: expected texts, ids, vectors or windows, got {type(first).__name__}")
    return {member.key: vector_field(value, depth, lambda row: f"{where}: row {row}")}


def _plain(key: str, array: ArraySource, where: str, stack: ExitStack) -> dict[str, Field]:
    """A member that is no pickle, streamed past."""
    dtype, shape = array.dtype, array.shape
    size = row_bytes(shape, dtype.itemsize)
    if 0 in shape[1:] or size > MAX_ROW_BYTES or not (dtype.kind in "biufUST" or is_vector_dtype(dtype)):
        raise DataError(f"{where}: expected numbers or strings, got {shape} {dtype}")
    read = stack.enter_context(array.opened())
    if key == PAIR_FIELD and len(shape) == 2 and shape[1] > 1:
        block: list[npt.NDArray[Any]] = []  # the two columns of it are asked for one after the other

        def docs(start: int, stop: int) -> pa.Array:
            block[:] = [read(start, stop)]
            return ids_from_numpy(block[0][:, 0], where, start)

        def chunks(start: int, stop: int) -> pa.Array:
            return ids_from_numpy(block[0][:, 1], where, start)

        return {"doc_id": Field(docs, lambda row: size), "chunk_id": Field(chunks, lambda row: 0)}
    return {key: Field(lambda start, stop: from_array(read(start, stop), where, start), lambda row: size)}


class _Entry(NamedTuple):
    where: str
    doc_id: Any
    chunk_id: Any
    text: Any
    vector: Any


def _entries(path: str, payload: Any) -> Iterator[_Entry]:
    items: Iterable[tuple[Any, Any]]
    if isinstance(payload, Mapping):
        items = payload.items()
    elif isinstance(payload, (list, tuple, np.ndarray)):
        items = enumerate(payload)
    else:
        raise DataError(f"{path}: expected a dict or a list of entries, got {type(payload).__name__}")
    for key, entry in items:
        yield _entry(f"{path}: entry {key!r}"[:200], entry)


def _entry(where: str, entry: Any) -> _Entry:
    if isinstance(entry, Mapping):
        named = entry
        text, vector = _named(where, named, "text"), _named(where, named, "vector")
    elif isinstance(entry, (tuple, list)) and len(entry) >= 2 and isinstance(entry[1], Mapping):
        text, named = entry[0], entry[1]
        vector = entry[2] if len(entry) > 2 else None
    else:
        raise DataError(f"{where}: expected (text, ids, vector) or a dict, got {type(entry).__name__}")
    doc_id, chunk_id = _named(where, named, "doc_id"), _named(where, named, "chunk_id")
    for column, value in (("doc_id", doc_id), ("chunk_id", chunk_id), ("text", text)):
        if value is None:
            raise DataError(f"{where}: no {column}; there is {', '.join(sorted(map(str, named)))[:120]}")
    return _Entry(where, doc_id, chunk_id, text, vector)


def _named(where: str, named: Mapping[Any, Any], column: Column) -> Any:
    found = [alias for alias in ALIASES[column] if named.get(alias) is not None]
    if len(found) > 1:
        raise DataError(f"{where}: {column}: both {' and '.join(found)} could be it")
    return named[found[0]] if found else None


def _spans(rows: int, fields: Iterable[Field]) -> Iterator[tuple[int, int]]:
    """Runs of rows that are written at once."""
    sizes = [field.row_bytes for field in fields]
    start = size = 0
    for row in range(rows):
        more = sum(of(row) for of in sizes)
        if row > start and (size + more > _GROUP_BYTES or row - start == _ROWS_PER_GROUP):
            yield start, row
            start, size = row, 0
        size += more
    yield start, rows


def _write(target: str, rows: int, fields: Mapping[str, Field]) -> None:
    import pyarrow.parquet as pq

    with reading(target), appearing(Path(target)) as staged, ExitStack() as stack:
        writer = None
        for start, stop in _spans(rows, fields.values()):
            table = pa.table({key: field.read(start, stop) for key, field in fields.items()})
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(staged, table.schema))
            writer.write_table(table)
