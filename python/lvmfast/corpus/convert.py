"""Old payloads, pickled dicts inside ``.npy`` files, become parquet."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast.corpus.columns import ALIASES
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.failures import reading
from lvmfast.corpus.npy import read_header
from lvmfast.corpus.unpickle import load_plain
from lvmfast.corpus.values import ids_from_values, text_from_values
from lvmfast.errors import DataError

_ROWS_PER_GROUP = 8192


@dataclass(frozen=True)
class _Entry:
    where: str
    doc_id: Any
    chunk_id: Any
    text: Any
    vector: Any


def convert_payload(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> int:
    """Writes the payload pickled in the ``.npy`` file `source` to the parquet file `target`.

    Reads a dict of (text, {article_index, chunk_index}, vector) tuples, a dict of dicts, or a list or array
    of dicts, with the names of the known columns. The pickle is read by an unpickler that admits numpy
    arrays and plain containers and nothing else; it is held in memory whole. `target` gets doc_id, chunk_id,
    text and, where there are any, vector (float32); it appears complete or not at all, and replaces a file
    of that name.

    Returns:
        The number of rows.

    Raises:
        DataError: `source` is no pickled ``.npy``, is broken or hostile, or an entry lacks an id or its text.
    """
    source, target = os.fspath(source), os.fspath(target)
    entries = list(_entries(source, _load(source)))
    if not entries:
        raise DataError(f"{source}: the payload is empty")
    table = _table(source, entries)
    _write(target, table)
    return len(entries)


def _load(path: str) -> Any:
    with reading(path), open(path, "rb") as file:
        header = read_header(file, path)
        if not header.dtype.hasobject or header.dtype.fields is not None:
            raise DataError(f"{path}: expected a pickled payload, got {header.shape} {header.dtype}")
        value = load_plain(file, path)
    if isinstance(value, np.ndarray) and value.shape == ():
        return value.item()
    return value


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


def _table(path: str, entries: list[_Entry]) -> pa.Table:
    table = pa.table(
        {
            "doc_id": ids_from_values([entry.doc_id for entry in entries], f"{path}: doc_id", 0),
            "chunk_id": ids_from_values([entry.chunk_id for entry in entries], f"{path}: chunk_id", 0),
            "text": text_from_values([entry.text for entry in entries], f"{path}: text", 0),
        }
    )
    vectors = [_vector(entry) for entry in entries]
    dims = {
        len(vector): entry.where for vector, entry in zip(vectors, entries, strict=True) if vector is not None
    }
    if len(dims) > 1:
        (first, _), (other, where) = list(dims.items())[:2]
        raise DataError(f"{where}: vector: expected {first} values, got {other}")
    if dims:
        table = table.append_column("vector", pa.array(vectors, pa.list_(pa.float32())))
    return table


def _vector(entry: _Entry) -> np.ndarray[Any, np.dtype[np.float32]] | None:
    if entry.vector is None:
        return None
    try:
        with np.errstate(over="ignore"):
            vector = np.asarray(entry.vector, dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"{entry.where}: vector: expected floats, got {type(entry.vector).__name__}"
        ) from error
    if vector.ndim != 1 or vector.size == 0:
        raise DataError(f"{entry.where}: vector: expected (d,) floats, got {vector.shape}")
    return vector


def _write(target: str, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    folder, name = os.path.split(os.path.abspath(target))
    with reading(target):
        descriptor, partial = tempfile.mkstemp(prefix=f".{name}.", suffix=".partial", dir=folder)
        os.close(descriptor)
        try:
            pq.write_table(table, partial, row_group_size=_ROWS_PER_GROUP)
            os.chmod(partial, 0o666 & ~_umask())
            os.replace(partial, target)
        except BaseException:
            os.unlink(partial)
            raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
