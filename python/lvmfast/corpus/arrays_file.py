"""`ArraysFile`: columns that are n-dimensional arrays of one length, read in lockstep."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.array_source import ArraySource
from lvmfast.corpus.blocks import read_ahead
from lvmfast.corpus.columns import EXPECTED_ITEMS, MISSED, near_misses, reads_a_number, resolve
from lvmfast.corpus.dataset import ITEM_COLUMNS, Batch, Column, Rows
from lvmfast.corpus.failures import reading
from lvmfast.corpus.gathered import GatheredArray, opened_together
from lvmfast.corpus.values import (
    MAX_ROW_BYTES,
    float32_rows,
    ids_from_numpy,
    ids_from_values,
    is_vector_dtype,
    item_text,
    row_bytes,
    rows_per_batch,
    text_from_values,
    vector_note,
)
from lvmfast.corpus.vector_column import VectorColumn
from lvmfast.errors import DataError
from lvmfast.stores import Source


class ArraysFile:
    """A `SplitFile` over named arrays. Arrays that are no column are not read.

    Raises:
        DataError: on construction, when two arrays disagree about the number of rows, or a mapped one is not
            there.
    """

    starts: Rows | None = None
    first_line: int | None = None

    def __init__(
        self,
        name: str,
        path: str | None,
        nbytes: int,
        sources: Mapping[str, ArraySource],
        mapping: Mapping[Column, str],
        *,
        strict: bool = True,
        provenance: dict[str, Any] | None = None,
        notes: Sequence[str] = (),
        origin: Source | None = None,
    ) -> None:
        """Checks every array that is a column; reads no row."""
        self.name, self.path, self.nbytes, self.provenance = name, path, nbytes, provenance
        self.origin = origin
        self.fields = resolve(name, sources, mapping, pairs=True, strict=strict)
        self.dim: int | None = None
        self.context_length: int | None = None
        self.id_types: dict[Column, pa.DataType] = {}
        self.unreadable: dict[Column, str] = {}
        notes = list(notes)
        for column, field in list(self.fields.items()):
            refusal = self._opened(column, sources[field], sources)
            if refusal is not None:
                self.unreadable[column] = f"{name}: {field}: {refusal}"
                notes.append(f"{field}: not read as {column}: {refusal}")
                del self.fields[column]
        for column, field in near_misses(sources, self.fields | dict.fromkeys(self.unreadable, "")).items():
            self.unreadable[column] = f"{name}: {field!r}: {MISSED}"
            notes.append(f"{field!r}: not read as {column}: {MISSED}")
        self._sources = {field: sources[field] for field in dict.fromkeys(self.fields.values())}
        self._length = self._common_rows()
        self.rows: int | None = self._length
        casts = (vector_note(self.fields[c], self.source(c).dtype) for c in _FLOATS if c in self.fields)
        self.notes: tuple[str, ...] = (*notes, *(note for note in casts if note))

    def source(self, column: Column) -> ArraySource:
        """The array that `column` is read from."""
        return self._sources[self.fields[column]]

    def _opened(self, column: Column, source: ArraySource, sources: Mapping[str, ArraySource]) -> str | None:
        """Learns what `column` is made of; why the array cannot be it, or None."""
        found = f"got {tuple(source.shape)} {source.dtype}"
        kind = source.dtype.kind
        if source.pickled:
            pickle = f": a pickle, never opened here{_advice(self.name, column, source)}"
            return f"expected {_EXPECTED[column]}, {found}{pickle}"
        if row_bytes(source.shape, source.dtype.itemsize) > MAX_ROW_BYTES:
            return f"expected rows of at most {MAX_ROW_BYTES} bytes, {found}"
        if column in _FLOATS:
            wide = len(source.shape) == (2 if column == "vector" else 3) and 0 not in source.shape[1:]
            fits = wide and is_vector_dtype(source.dtype)
        elif column == "text":
            fits = len(source.shape) == 1 and kind in _STRINGS
        elif column in ITEM_COLUMNS:
            return self._opened_item(column, source, sources)
        else:
            pairs = len(source.shape) == 2 and source.shape[1] >= 2 and kind in "iu"
            fits = pairs or (len(source.shape) == 1 and kind in "iu" + _STRINGS)
        if not fits or (source.dtype.itemsize == 0 and source.shape[0] > 0):
            return f"expected {_EXPECTED[column]}, {found}"
        if column in _FLOATS:
            if self.dim not in (None, source.shape[-1]):
                return f"expected d = {self.dim} as in the vectors, {found}"
            self.dim = source.shape[-1]
            self.context_length = source.shape[1] if column == "context" else None
        elif column != "text":
            unsigned = kind == "u" and source.dtype.itemsize == 8
            self.id_types[column] = pa.int64() if kind in "iu" and not unsigned else pa.large_string()
        return None

    def _opened_item(
        self, column: Column, source: ArraySource, sources: Mapping[str, ArraySource]
    ) -> str | None:
        """Why the array cannot be a field of evaluation items, whose rows other columns count; or None."""
        rows = next((sources[f].shape[0] for c, f in self.fields.items() if c not in ITEM_COLUMNS), None)
        if source.shape and rows not in (None, source.shape[0]):
            return f"expected {rows} rows, got {source.shape[0]}"
        kinds = _STRINGS + ("iu" if reads_a_number(column, self.fields) or len(source.shape) > 1 else "")
        fits = 1 <= len(source.shape) <= 2 and source.dtype.kind in kinds
        return None if fits else f"expected {_EXPECTED[column]}, got {tuple(source.shape)} {source.dtype}"

    def _common_rows(self) -> int:
        rows = {field: source.shape[0] for field, source in self._sources.items()}
        first = next(iter(rows), None)
        for field, count in rows.items():
            if first is not None and count != rows[first]:
                raise DataError(
                    f"{self.name}: {field}: expected {rows[first]} rows as in {first}, got {count}"
                )
        return rows[first] if first is not None else 0

    def estimated_rows(self) -> int:
        """`rows`: arrays say how long they are."""
        return self._length

    def batches(self, columns: Sequence[Column], rows: int, wanted: Rows | None = None) -> Iterator[Batch]:
        """As `SplitFile.batches`; each field is read once, even if two columns come from it.

        So are vectors that targets and windows name by number.
        """
        fields = dict.fromkeys(self.fields[column] for column in columns)
        sources = {field: self._sources[field] for field in fields}
        step = rows_per_batch(rows, sum(row_bytes(s.shape, s.dtype.itemsize) for s in sources.values()))
        numbered = {c: s for c in columns if c in _FLOATS and isinstance(s := self.source(c), GatheredArray)}
        for column in numbered:
            sources.pop(self.fields[column], None)
        spans = [(start, min(start + step, self._length)) for start in range(0, self._length, step)]
        if wanted is not None:
            spans = [span for span in spans if np.diff(np.searchsorted(wanted, span))[0]]
        with ExitStack() as stack, reading(self.name):
            readers = {field: stack.enter_context(source.opened()) for field, source in sources.items()}
            together = stack.enter_context(opened_together(list(numbered.values()))) if numbered else None

            def batch(span: tuple[int, int]) -> Batch:
                values: dict[Column, Any] = {}
                if together is not None:
                    named, numbers = together(*span)
                    named = float32_rows(named)
                    for column, of_column in zip(numbered, numbers, strict=True):
                        values[column] = VectorColumn(named, of_column.shape, of_column)
                blocks = {field: read(*span) for field, read in readers.items()}
                for column in columns:
                    if column not in numbered:
                        values[column] = self._value(column, blocks[self.fields[column]], span[0])
                return Batch.of(span[0], span[1] - span[0], values)

            yield from read_ahead(batch, spans)

    def _value(self, column: Column, block: npt.NDArray[Any], start: int) -> Any:
        if column in _FLOATS:
            return float32_rows(block)
        where = f"{self.name}: {self.fields[column]}"
        if column == "text":
            return text_from_values(block.tolist(), where, start)
        if column in ITEM_COLUMNS:
            return pa.array(map(item_text, block.tolist()), pa.large_string())
        if block.ndim == 2:
            block = block[:, 0 if column == "doc_id" else 1]
        if block.dtype.kind == "O":
            ids = ids_from_values(block.tolist(), where, start)
            return ids.cast(self.id_types[column])
        return ids_from_numpy(block, where, start)


_FLOATS: tuple[Column, ...] = ("vector", "context")
_STRINGS = "USTO"
_EXPECTED: dict[Column, str] = {
    "doc_id": "(n,) integer or string ids, or (n, >= 2) integers",
    "chunk_id": "(n,) integer or string ids, or (n, >= 2) integers",
    "text": "(n,) text",
    "vector": "(n, d) float",
    "context": "(n, length, d) float",
    **EXPECTED_ITEMS,
}


def _advice(path: str, column: Column, source: ArraySource) -> str:
    """To convert the file, where `convert` makes a column of such an array."""
    most = {"vector": 2, "context": 3, "text": 1}.get(column, 2)
    fits = source.dtype.fields is None and 1 <= len(source.shape) <= most
    return convert_advice(path) if fits else ""


def convert_advice(path: str) -> str:
    """What to do with pickled values in the file `path`, for the end of a message."""
    return f"; `lvmfast convert {os.path.basename(path)} NEW.parquet` makes parquet of it"
