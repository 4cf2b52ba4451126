"""Ids and texts that stand in files of their own: row n there belongs to row n of a split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

import pyarrow as pa

from lvmfast.corpus.arrays_file import ArraysFile
from lvmfast.corpus.columns import PAIR_FIELD
from lvmfast.corpus.dataset import Batch, Column, Dataset, Rows, SplitFile
from lvmfast.corpus.formats import NPY, TXT, required_format
from lvmfast.corpus.looks import LackingError
from lvmfast.corpus.npy import npy_array
from lvmfast.corpus.paths import expand
from lvmfast.corpus.quarantined import leaked_among
from lvmfast.corpus.txt import LINE
from lvmfast.errors import DataError
from lvmfast.stores import as_source

Beside = Literal["ids", "texts"]
#: What a file gives, by what it was called.
GIVES: Mapping[Beside, tuple[Column, ...]] = {"ids": ("doc_id", "chunk_id"), "texts": ("text",)}
#: Fields that ids have where none is called as a column is.
_IDS = ("id", "ids", "_id", "key")
_STEP = 8192
#: What to do where columns by position are not taken.
IN_ONE_FILE = "put both into one file (`numpy.savez(path, vector=..., doc_id=..., text=...)`)"


def open_beside(
    what: Beside, path: str, mapping: Mapping[Column, str], *, allow_leaked: bool = False
) -> Dataset:
    """The ids or texts in a file, or in all files of a folder or a pattern, in order.

    An ``.npy`` file has an id or a text a row, or (n, >= 2) ids of documents and chunks; a ``.txt`` file has
    one a line; any other has them in fields, as `mapping` or the customary names say.

    Raises:
        DataError: a file cannot be read, is quarantined, or has none.
    """
    expansion = expand([path])
    leaked = leaked_among(expansion.files, allow_leaked=allow_leaked, listed=expansion.listed)
    files = tuple(_opened(what, file, dict(mapping)) for file in expansion.files)
    return Dataset(files, leaked=leaked)


def _opened(what: Beside, path: str, mapping: dict[Column, str]) -> SplitFile:
    column = GIVES[what][0]
    file = _file(what, path, mapping)
    if column not in file.fields:
        raise LackingError(file.unreadable.get(column, f"{path}: no {column}"))
    return file


def _file(what: Beside, path: str, mapping: dict[Column, str]) -> SplitFile:
    column = GIVES[what][0]
    format, source = required_format(path), as_source(path)
    if format is NPY:
        array = npy_array(source)
        field = PAIR_FIELD if what == "ids" and len(array.shape) == 2 else column
        return ArraysFile(path, source.path, source.info.size, {field: array}, {}, origin=source)
    if format is TXT:
        return format.open(source, {column: LINE}, strict=True)
    asked = {name: field for name, field in mapping.items() if name in GIVES[what]}
    if what == "ids" and column not in asked:
        for own in (asked, *({**asked, column: name} for name in _IDS)):
            with suppress(LackingError):
                file = format.open(source, own, strict=True)
                if column in file.fields:
                    return file
    return format.open(source, asked, strict=True)


def attach(split: Dataset, beside: Sequence[tuple[Beside, Dataset]]) -> Dataset:
    """`split` with the columns of files beside it, row by row.

    Raises:
        DataError: they have other numbers of rows, the split has one of the columns itself, or its files do
            not say how many rows they have.
    """
    split.require_rows("a fingerprint has its ids and texts: none can be put beside it")
    own = split.rows
    if own is None:
        name = next(file.name for file in split.files if file.rows is None)
        raise DataError(
            f"{name}: its rows are counted while they are read; ids and texts by position are for arrays, "
            "parquet and Arrow"
        )
    notes = []
    of: dict[Column, Dataset] = {}
    for what, dataset in beside:
        names = ", ".join(file.name for file in dataset.files)
        rows = dataset.rows
        if rows is None:
            rows = sum(batch.rows for batch in dataset.batches((), _STEP))
        if rows != own:
            vectors = ", ".join(file.name for file in split.files[:3])
            raise DataError(f"{names}: expected {what} of the {own} rows of {vectors}, got {rows}")
        for column in GIVES[what]:
            if column not in dataset.columns:
                continue
            if column in split.columns or column in of:
                raise DataError(f"{names}: {column}: {split.files[0].name} has one of its own")
            of[column] = dataset
            notes.append(f"{column}: by position, from {names}")
    files: list[SplitFile] = []
    start = 0
    for file in split.files:
        files.append(AttachedFile(file, of, start))
        start += file.rows or 0
    leaked = dict.fromkeys((*split.leaked, *(name for _, dataset in beside for name in dataset.leaked)))
    return replace(split, files=tuple(files), remarks=(*split.remarks, *notes), leaked=tuple(leaked))


class AttachedFile:
    """A `SplitFile` of which some columns stand in other files, row by row."""

    def __init__(self, file: SplitFile, of: Mapping[Column, Dataset], start: int) -> None:
        """Row 0 of `file` belongs to row `start` of what `of` gives columns from."""
        self._file, self._of, self._start = file, of, start
        self.name, self.path, self.nbytes = file.name, file.path, file.nbytes
        self.origin, self.provenance, self.starts = file.origin, file.provenance, file.starts
        self.dim, self.context_length, self.notes = file.dim, file.context_length, file.notes
        self.unreadable = {c: why for c, why in file.unreadable.items() if c not in of}
        named = {c: f"{dataset.files[0].fields[c]} of {dataset.files[0].name}" for c, dataset in of.items()}
        self.fields: dict[Column, str] = {**file.fields, **named}
        types: dict[Column, pa.DataType] = {c: of[c].id_type(c) for c in GIVES["ids"] if c in of}
        self.id_types: dict[Column, pa.DataType] = {**file.id_types, **types}

    @property
    def first_line(self) -> int | None:
        """As the file's own."""
        return self._file.first_line

    @property
    def rows(self) -> int | None:
        """As the file's own."""
        return self._file.rows

    def estimated_rows(self) -> int:
        """As the file's own."""
        return self._file.estimated_rows()

    def batches(self, columns: Sequence[Column], rows: int, wanted: Rows | None = None) -> Iterator[Batch]:
        """As `SplitFile.batches`."""
        readers = {c: _Values(self._of[c], c, self._type(c)) for c in columns if c in self._of}
        for batch in self._file.batches([c for c in columns if c not in self._of], rows, wanted):
            first = self._start + batch.file_row
            values: dict[str, Any] = {c: of.taken(first, batch.rows) for c, of in readers.items()}
            yield replace(batch, **values)

    def _type(self, column: Column) -> pa.DataType:
        return self.id_types.get(column, pa.large_string())


class _Values:
    """The values of a column of a dataset, read forward."""

    def __init__(self, dataset: Dataset, column: Column, type_: pa.DataType) -> None:
        self._batches = dataset.batches((column,), _STEP)
        self._column, self._type = column, type_
        self._held = pa.array([], type_)
        self._first = 0

    def taken(self, first: int, count: int) -> pa.Array:
        """Those of `count` rows from `first` on, which is not before a row that was taken."""
        parts = []
        while count:
            behind = self._first + len(self._held)
            if first < behind:
                part = self._held.slice(first - self._first, count)
                parts.append(part)
                first, count = first + len(part), count - len(part)
                continue
            batch = next(self._batches)
            values = getattr(batch, self._column)
            self._held = values.cast(self._type) if values is not None else pa.nulls(batch.rows, self._type)
            self._first = batch.start
        return parts[0] if len(parts) == 1 else pa.concat_arrays([pa.array([], self._type), *parts])
