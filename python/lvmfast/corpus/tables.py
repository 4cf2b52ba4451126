"""`TableFile`: columns that are fields of an Arrow schema, streamed as record batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast.corpus.blocks import ahead
from lvmfast.corpus.columns import resolve
from lvmfast.corpus.dataset import Batch, Column, Rows
from lvmfast.corpus.failures import reading
from lvmfast.corpus.values import (
    MAX_ROW_BYTES,
    id_type_of,
    ids_from_arrow,
    is_text_type,
    rows_per_batch,
    text_from_arrow,
    vector_note,
    vectors_from_arrow,
)
from lvmfast.errors import DataError
from lvmfast.stores import Source

#: (fields, rows at most, wanted rows) -> (first row, record batch with at least those fields), in order.
Scan = Callable[[list[str], int, Rows | None], Iterator[tuple[int, pa.RecordBatch]]]


class TableFile:
    """A `SplitFile` over an Arrow schema and a `Scan` that streams its record batches.

    Raises:
        DataError: on construction, when a field has another type than its column needs.
    """

    def __init__(
        self,
        name: str,
        path: str | None,
        nbytes: int,
        rows: int | None,
        schema: pa.Schema,
        scan: Scan,
        mapping: dict[Column, str],
        *,
        strict: bool = True,
        rows_guess: int = 0,
        starts: Rows | None = None,
        origin: Source | None = None,
    ) -> None:
        """Checks the types of all columns; reads rows only until lists of vectors show their length."""
        self.name, self.path, self.nbytes, self.rows = name, path, nbytes, rows
        self.origin = origin
        self.provenance: dict[str, Any] | None = None
        self._scan, self._guess, self.starts = scan, rows_guess, starts
        with reading(name):  # field names that are not UTF-8
            names = list(schema.names)
        twice = [field for field, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(f"{name}: field {sorted(twice)[0]!r} stands twice in the schema")
        self.fields = resolve(name, names, mapping, strict=strict)
        self.id_types: dict[Column, pa.DataType] = {}
        self._shapes: dict[Column, tuple[int, ...]] = {}
        notes: list[str] = []
        for column, field in list(self.fields.items()):
            self._check(column, field, schema.field(field).type, column in mapping, notes)
        self.notes = tuple(notes)
        vector, context = self._shapes.get("vector"), self._shapes.get("context")
        if vector and context and vector[0] != context[1]:
            found = f"{self.fields['context']}: expected windows of vectors of {vector[0]} values"
            raise DataError(f"{name}: {found} as in {self.fields['vector']}, got {context[1]}")
        self.dim = vector[0] if vector else context[1] if context else None
        self.context_length = context[0] if context else None

    @classmethod
    def over(
        cls,
        source: Source,
        rows: int | None,
        schema: pa.Schema,
        scan: Scan,
        mapping: dict[Column, str],
        **known: Any,
    ) -> TableFile:
        """The table in a local file or an object."""
        size = source.info.size
        return cls(source.name, source.path, size, rows, schema, scan, mapping, origin=source, **known)

    def _check(self, column: Column, field: str, type_: pa.DataType, mapped: bool, notes: list[str]) -> None:
        where = f"{self.name}: {field}"
        if column == "text":
            if not is_text_type(type_):
                raise DataError(f"{where}: expected text, got {type_}")
        elif column in ("doc_id", "chunk_id"):
            id_type = id_type_of(type_)
            if id_type is None:
                raise DataError(f"{where}: expected integer or string ids, got {type_}")
            self.id_types[column] = id_type
        elif column == "context" and is_text_type(type_) and not mapped:
            # Question-answering sets call a passage of text "context".
            notes.append(f"{field}: {type_}, not read as context windows")
            del self.fields[column]
        else:
            self._check_vectors(column, field, type_, notes)

    def _check_vectors(self, column: Column, field: str, type_: pa.DataType, notes: list[str]) -> None:
        leaf, depth = _leaf(type_)
        expected = "a list of floats" if column == "vector" else "a list of lists of floats"
        if depth != (1 if column == "vector" else 2) or not pa.types.is_floating(leaf):
            raise DataError(f"{self.name}: {field}: expected {expected}, got {type_}")
        shape = self._shape(field, type_)
        if shape is None:
            notes.append(f"{field}: no row has a value; the column is left out")
            del self.fields[column]
            return
        if 0 in shape:
            raise DataError(f"{self.name}: {field}: expected {expected}, got an empty list")
        if int(np.prod(shape, dtype=np.float64)) * 4 > MAX_ROW_BYTES:
            raise DataError(
                f"{self.name}: {field}: expected rows of at most {MAX_ROW_BYTES} bytes, got {shape}"
            )
        self._shapes[column] = shape
        note = vector_note(field, np.dtype(leaf.to_pandas_dtype()))
        notes.extend([note] if note else [])

    def _shape(self, field: str, type_: pa.DataType) -> tuple[int, ...] | None:
        """The shape of a row, from the type where that says it, else from the first row with values."""
        sizes: list[int] = []
        storage = _storage(type_)
        while pa.types.is_fixed_size_list(storage):
            sizes.append(storage.list_size)
            storage = storage.value_type
        if not _is_list(storage):
            return tuple(sizes)
        with reading(self.name):
            for _, batch in self._scan([field], 64, None):
                shape = next((_shape_of(value) for value in _column(batch, field) if value.is_valid), None)
                if shape is not None:
                    return shape
        return None

    def estimated_rows(self) -> int:
        """`rows`, or the guess of the reader."""
        return self._guess if self.rows is None else self.rows

    def batches(self, columns: Sequence[Column], rows: int, wanted: Rows | None = None) -> Iterator[Batch]:
        """As `SplitFile.batches`. Of an object the first bytes are on their way when this returns."""
        fields = list(dict.fromkeys(self.fields[column] for column in columns))
        step = rows_per_batch(rows, sum(4 * int(np.prod(self._shapes.get(c, (0,)))) for c in columns))
        with reading(self.name):
            scanned = self._scan(fields, step, wanted)
        return self._batches(scanned, columns, step, wanted)

    def _batches(
        self,
        scanned: Iterator[tuple[int, pa.RecordBatch]],
        columns: Sequence[Column],
        step: int,
        wanted: Rows | None,
    ) -> Iterator[Batch]:
        end = 0
        with reading(self.name):
            for first, batch in ahead(scanned):
                end = first + batch.num_rows
                for start in range(0, batch.num_rows, step):
                    piece = batch.slice(start, step)
                    low = first + start
                    if wanted is not None:
                        hits = np.searchsorted(wanted, (low, low + piece.num_rows))
                        if hits[0] == hits[1]:
                            continue
                    values = {c: self._value(c, _column(piece, self.fields[c]), low) for c in columns}
                    yield Batch.of(low, piece.num_rows, values)
        if self.rows is None and wanted is None:
            self.rows = end

    def _value(self, column: Column, array: pa.Array, first_row: int) -> Any:
        where = f"{self.name}: {self.fields[column]}"
        if column in self._shapes:
            rows = np.arange(first_row, first_row + len(array))
            return vectors_from_arrow(array, self._shapes[column], where, rows)
        if column == "text":
            return text_from_arrow(array, where, first_row)
        return ids_from_arrow(array, where, first_row).cast(self.id_types[column])


def _column(batch: pa.RecordBatch, field: str) -> pa.Array:
    array = batch.column(field)
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _storage(type_: pa.DataType) -> pa.DataType:
    return type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_


def _is_list(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)
    )


def _leaf(type_: pa.DataType) -> tuple[pa.DataType, int]:
    """What the lists of `type_` hold in the end, and how deep they nest."""
    depth, type_ = 0, _storage(type_)
    while _is_list(type_):
        depth, type_ = depth + 1, type_.value_type
    return type_, depth


def _shape_of(value: pa.Scalar) -> tuple[int, ...]:
    """The shape of one list; a null inside stands for no value, which the first valid sibling supplies."""
    values = value.values
    if not _is_list(values.type):
        return (len(values),)
    inner = next((_shape_of(item) for item in values if item.is_valid), (0,))
    return (len(values), *inner)
