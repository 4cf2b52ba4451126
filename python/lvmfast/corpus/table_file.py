"""`TableFile`: columns that are fields of an Arrow schema, streamed as record batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast.corpus.arrow_types import first_shape, fixed_shape, leaf_of
from lvmfast.corpus.arrow_values import (
    id_note,
    id_type_of,
    ids_from_arrow,
    is_item_type,
    is_text_type,
    item_from_arrow,
    text_from_arrow,
)
from lvmfast.corpus.blocks import ahead
from lvmfast.corpus.budget import Budget
from lvmfast.corpus.columns import EXPECTED_ITEMS, MISSED, near_misses, reads_a_number, resolve
from lvmfast.corpus.dataset import ITEM_COLUMNS, Batch, Column, Rows
from lvmfast.corpus.dead_ends import NOTHING, dead_end
from lvmfast.corpus.expressions import Expression, expressions, makes_text
from lvmfast.corpus.failures import FieldError, reading
from lvmfast.corpus.joined import joined
from lvmfast.corpus.kept import KeptRows
from lvmfast.corpus.looks import LackingError
from lvmfast.corpus.plain import of_type
from lvmfast.corpus.shapes import shaped
from lvmfast.corpus.side_by_side import ReadBeside
from lvmfast.corpus.sliced import spans
from lvmfast.corpus.values import (
    MAX_ROW_BYTES,
    is_vector_type,
    rows_per_batch,
    vector_note,
    vectors_from_arrow,
)
from lvmfast.errors import DataError
from lvmfast.stores import Source

#: (fields, rows at most, wanted rows) -> (first row, record batch with at least those fields), in order.
Scan = Callable[[list[str], int, Rows | None], Iterator[tuple[int, pa.RecordBatch]]]


#: Rows that are looked at for what a path leads to.
_FIRST = 1000


class TableFile(ReadBeside):
    """A `SplitFile` over an Arrow schema and a `Scan` that streams its record batches.

    Raises:
        DataError: on construction, when a field stands twice in the schema or a mapped one not at all.
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
        #: Whether its scan gives texts as large_string that are UTF-8: they are not gone through again.
        self.texts_are_checked = False
        self.provenance: dict[str, Any] | None = None
        #: Tells `first_line`; what it holds on to must not be the file.
        self.first_line_of: Callable[[], int | None] = lambda: None
        self._read, self._guess, self.starts = scan, rows_guess, starts
        self._kept = KeptRows()
        with reading(name):  # field names that are not UTF-8
            names = list(schema.names)
        twice = [field for field, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(f"{name}: field {sorted(twice)[0]!r} stands twice in the schema")
        self._notes: list[str] = []
        shaped_mapping, shape = shaped(mapping, names, lambda field: makes_text(field, schema))
        self._made = expressions(shaped_mapping, names)
        for text, made in self._made.items():
            types = {head: schema.field(head).type for head in made.heads}
            if (refusal := made.refusal(types)) is not None:
                raise DataError(f"{name}: {text}: {refusal}")
            schema = schema.append(pa.field(text, pa.large_string()))
        self._find_text(shaped_mapping.get("text", ""), asked=mapping)
        names = list(schema.names)
        self.fields = resolve(name, names, shaped_mapping, strict=strict) if names or rows else {}
        self.id_types: dict[Column, pa.DataType] = {}
        self.unreadable: dict[Column, str] = {}
        self._shapes: dict[Column, tuple[int, ...]] = {}
        self._note(shape)
        for column, field in list(self.fields.items()):
            refusal = self._opened(column, field, schema.field(field).type, column in mapping)
            if refusal is not None:
                self.unreadable[column] = f"{name}: {field}: {refusal}"
                self._notes.append(f"{field}: not read as {column}: {refusal}")
                del self.fields[column]
        for column, field in near_misses(names, self.fields | dict.fromkeys(self.unreadable, "")).items():
            self.unreadable[column] = f"{name}: {field!r}: {MISSED}"
            self._notes.append(f"{field!r}: not read as {column}: {MISSED}")
        self.notes = tuple(self._notes)
        vector, context = self._shapes.get("vector"), self._shapes.get("context")
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

    def _opened(self, column: Column, field: str, type_: pa.DataType, mapped: bool) -> str | None:
        """Learns what `column` is made of; why the field cannot be it, or None."""
        if column == "text":
            return None if is_text_type(type_) else f"expected text, got {type_}"
        if column in ITEM_COLUMNS:
            reads = is_item_type(type_, numbers=reads_a_number(column, self.fields))
            return None if reads else f"expected {EXPECTED_ITEMS[column]}, got {type_}"
        if column in ("doc_id", "chunk_id"):
            id_type = id_type_of(type_)
            if id_type is None:
                return f"expected integer or string ids, got {type_}"
            self.id_types[column] = id_type
            self._note(id_note(field, type_))
        elif column == "context" and is_text_type(type_) and not mapped:
            # Question-answering sets call a passage of text "context".
            self._note(f"{field}: {type_}, not read as context windows")
            del self.fields[column]
        else:
            return self._opened_vectors(column, field, type_)
        return None

    def _opened_vectors(self, column: Column, field: str, type_: pa.DataType) -> str | None:
        leaf, depth = leaf_of(type_)
        expected = "a list of floats" if column == "vector" else "a list of lists of floats"
        valueless = pa.types.is_null(type_)
        fits = depth == (1 if column == "vector" else 2) and is_vector_type(leaf)
        if not fits and not valueless:
            return f"expected {expected}, got {type_}"
        shape = None if valueless else fixed_shape(type_) or self._first_shape(field)
        if shape is None:
            self._note(f"{field}: no row has a value; the column is left out")
            del self.fields[column]
            return None
        if 0 in shape:
            return f"expected {expected}, got an empty list"
        if int(np.prod(shape, dtype=np.float64)) * 4 > MAX_ROW_BYTES:
            return f"expected rows of at most {MAX_ROW_BYTES} bytes, got {shape}"
        vector = self._shapes.get("vector")
        if column == "context" and vector and vector[0] != shape[1]:
            expected = f"windows of vectors of {vector[0]} values"
            return f"expected {expected} as in {self.fields['vector']}, got {shape[1]}"
        self._shapes[column] = shape
        self._note(vector_note(field, np.dtype(leaf.to_pandas_dtype())))
        return None

    def _scan(
        self, fields: list[str], step: int, wanted: Rows | None
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """What is read of the file, with what is made of it."""
        made = {field: self._made[field] for field in fields if field in self._made}
        if not made:
            return self._read(fields, step, wanted)
        heads = [head for expression in made.values() for head in expression.heads]
        plain = [field for field in fields if field not in made]
        return self._making(self._read(list(dict.fromkeys([*plain, *heads])), step, wanted), fields, made)

    def _making(
        self, scanned: Iterator[tuple[int, pa.RecordBatch]], fields: list[str], made: dict[str, Expression]
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        for first, batch in scanned:
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            arrays = [
                made[field].of_columns(columns, batch.num_rows) if field in made else columns[field]
                for field in fields
            ]
            yield first, pa.RecordBatch.from_arrays(arrays, names=fields)

    def _find_text(self, text: str, *, asked: dict[Column, str]) -> None:
        """Looks in the first rows for what types do not tell: whether lists have the items in question.

        Raises:
            DataError: no row of the file has them, and `asked` names them.
        """
        made = self._made.get(text)
        if made is None or not made.chooses:
            return
        rows: list[dict[str, Any]] = []
        with reading(self.name):
            for _, batch in self._read(list(made.heads), _FIRST, None):
                rows += batch.slice(0, _FIRST).to_pylist()
                if len(rows) >= _FIRST:
                    break
        if (why := dead_end(made, rows)) is None:
            return
        if self.rows == len(rows) and text in asked.values():
            raise LackingError(f"{self.name}: {text}: {NOTHING}: {why}")
        self._notes.append(f"{text}: {NOTHING}: {why} (in the first {len(rows)} rows)")

    def _note(self, note: str | None) -> None:
        if note is not None:
            self._notes.append(note)

    def _first_shape(self, field: str) -> tuple[int, ...] | None:
        """The shape of the first row that has a value."""
        with reading(self.name):
            for _, batch in self._scan([field], 64, None):
                shape = first_shape(batch.column(field))
                if shape is not None:
                    return shape
        return None

    @property
    def first_line(self) -> int | None:
        """As `InputFile.first_line`."""
        return self.first_line_of()

    def estimated_rows(self) -> int:
        """`rows`, or the guess of the reader."""
        return self._guess if self.rows is None else self.rows

    def batches(self, columns: Sequence[Column], rows: int, wanted: Rows | None = None) -> Iterator[Batch]:
        """As `SplitFile.batches`. Of an object the first bytes are on their way when this returns."""
        fields = list(dict.fromkeys(self.fields[column] for column in columns))
        step = rows_per_batch(rows, sum(4 * int(np.prod(self._shapes.get(c, (0,)))) for c in columns))
        scanned = None if wanted is None or self.rows is None else self._kept.found(wanted, fields)
        if scanned is None:
            # The ids of texts come along, so that rows are kept with all that a report says of them.
            ids = self.id_types if wanted is None and "text" in columns else ()
            beside = [field for column in ids if (field := self.fields[column]) not in fields]
            with reading(self.name):
                scanned = self._scan([*fields, *beside], step, wanted)
            if beside:
                scanned = self._if_in_order(scanned, fields, step)
        return self._batches(scanned, columns, step, wanted, Budget())

    def _if_in_order(
        self, scanned: Iterator[tuple[int, pa.RecordBatch]], fields: list[str], step: int
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """As `scanned`; where what it reads beside `fields` turns out to be no ids, without them."""
        end = 0
        try:
            for first, batch in scanned:
                end = first + batch.num_rows
                yield first, batch
        except FieldError:
            yield from (read for read in self._scan(fields, step, None) if read[0] >= end)

    def _batches(
        self,
        scanned: Iterator[tuple[int, pa.RecordBatch]],
        columns: Sequence[Column],
        step: int,
        wanted: Rows | None,
        budget: Budget,
    ) -> Iterator[Batch]:
        end = 0
        texts = list(dict.fromkeys(self.fields[c] for c in columns if c not in self._shapes))
        with reading(self.name):
            for first, batch in ahead(joined(scanned, step)):
                end = first + batch.num_rows
                for start, stop in spans(batch, texts, step, budget, self.name, first):
                    piece = batch.slice(start, stop - start)
                    low = first + start
                    if wanted is not None:
                        hits = np.searchsorted(wanted, (low, low + piece.num_rows))
                        if hits[0] == hits[1]:
                            continue
                    values = {c: self._value(c, piece.column(self.fields[c]), low) for c in columns}
                    keep = partial(self._kept.add, piece, low, budget.kept_bytes)
                    yield replace(Batch.of(low, piece.num_rows, values), keeper=keep)
        if self.rows is None:  # its scan leaves nothing out, whatever is wanted
            self.rows = end
        elif wanted is None and end != self.rows:
            raise DataError(f"{self.name}: expected {self.rows} rows, as the file states, got {end}")

    def _value(self, column: Column, array: pa.Array, first_row: int) -> Any:
        where = f"{self.name}: {self.fields[column]}"
        if column in self._shapes:
            rows = np.arange(first_row, first_row + len(array))
            return vectors_from_arrow(array, self._shapes[column], where, rows)
        if column == "text":
            if self.texts_are_checked and pa.types.is_large_string(array.type):
                return array
            return text_from_arrow(array, where, first_row)
        if column in ITEM_COLUMNS:
            return item_from_arrow(array, where, first_row)
        return of_type(ids_from_arrow(array, where, first_row), self.id_types[column])
