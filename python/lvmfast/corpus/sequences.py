"""`open_sequences`: windows and targets for training and evaluation, any row at any time.

Vectors that a file stores plainly stay there and are read when asked for; what is compressed, or comes in
another format, is decoded once and held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.array_source import ArraySource
from lvmfast.corpus.arrays_file import ArraysFile
from lvmfast.corpus.dataset import Column, Dataset, Rows, SplitFile, Vectors
from lvmfast.corpus.failures import reading
from lvmfast.corpus.gathered import GatheredArray
from lvmfast.corpus.keys import id_keys
from lvmfast.corpus.load import load_split
from lvmfast.corpus.npy import StoredArray
from lvmfast.corpus.provenance import check_same_encoder
from lvmfast.corpus.values import float32_rows
from lvmfast.errors import DataError

_COLUMNS: tuple[Column, ...] = ("doc_id", "vector", "context")


class RandomRows(Protocol):
    """Vectors, any rows of which can be asked for."""

    shape: tuple[int, ...]

    def take(self, rows: Rows) -> npt.NDArray[Any]:
        """(k, *shape[1:]) for (k,) row numbers in any order."""
        ...


class HeldRows:
    """`RandomRows` of an array in memory."""

    def __init__(self, values: npt.NDArray[Any]) -> None:
        """Keeps `values` as they are."""
        self.shape, self._values = values.shape, values

    def take(self, rows: Rows) -> npt.NDArray[Any]:
        """Those rows, copied."""
        taken: npt.NDArray[Any] = self._values[rows]
        return taken


@dataclass(frozen=True)
class _Copies:
    """A file that stores a window's vectors beside each target."""

    context: RandomRows
    target: RandomRows

    def contexts(self, rows: Rows) -> Vectors:
        return float32_rows(self.context.take(rows))

    def targets(self, rows: Rows) -> Vectors:
        return float32_rows(self.target.take(rows))


@dataclass(frozen=True)
class _Windows:
    """A file in the chunk-matrix layout."""

    vectors: RandomRows
    keys: Rows  #: (m, 2)
    windows: Rows  #: (n, length + 1)

    def contexts(self, rows: Rows) -> Vectors:
        numbers = self.windows[rows, :-1]
        taken = float32_rows(self.vectors.take(numbers.reshape(-1)))
        return taken.reshape(*numbers.shape, taken.shape[-1])

    def targets(self, rows: Rows) -> Vectors:
        return float32_rows(self.vectors.take(self.windows[rows, -1]))


class Sequences:
    """n windows of `length` vectors of `dim` values, the vector that follows each, and their keys."""

    def __init__(self, dataset: Dataset) -> None:
        """Reads the ids of all rows, and the vectors of files that cannot be read by row.

        Raises:
            DataError: a column is missing, there are no rows, or files come from different encoders; or
                `dataset` is a fingerprint.
        """
        check_trainable(dataset, _COLUMNS, f"sequences have {', '.join(_COLUMNS)} (and chunk_id)")
        self.dataset = dataset
        self.doc_ids, self.keys = read_keys(dataset)
        self.n = len(self.doc_ids)
        if not self.n:
            raise DataError(f"{dataset.files[0].name}: no rows")
        self.length, self.dim = dataset.context_length or 0, dataset.dim or 0
        self.provenance: Mapping[str, Any] = next(iter(dataset.provenance.values()), {})
        self._parts = [_opened(file) for file in dataset.files]
        rows = [file.rows or 0 for file in dataset.files]
        self._starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)

    def __len__(self) -> int:
        """Sequences in all."""
        return self.n

    def contexts(self, rows: Rows) -> Vectors:
        """(k, length, dim) float32: the windows of (k,) rows in any order.

        Raises:
            DataError: a file was cut short in the meantime.
        """
        return self._gathered(rows, "contexts", (self.length, self.dim))

    def targets(self, rows: Rows) -> Vectors:
        """(k, dim) float32: the vectors that follow them.

        Raises:
            DataError: a file was cut short in the meantime.
        """
        return self._gathered(rows, "targets", (self.dim,))

    def inputs(self, rows: Rows) -> Vectors:
        """What a model reads of (k,) rows: their `contexts`."""
        return self.contexts(rows)

    def before(self, rows: Rows, most: int) -> Vectors:
        """(k, at most `most`, dim): up to so many chunks before each target; zeros in front of a document.

        Where the files do not hold more than the windows, what of these is not longer than that.

        Raises:
            DataError: a file was cut short in the meantime.
        """
        numbers = self._chunks_before
        if numbers is None:
            return self.contexts(rows)[:, -most:]
        assert self.windows is not None
        found, row = [], self.windows[rows, -1]
        for _ in range(most):
            row = np.where(row < 0, -1, numbers[row])
            if (row < 0).all():
                break
            found.append(row)
        chunks = np.stack(found[::-1], 1)
        wanted, place = np.unique(chunks, return_inverse=True)
        vectors = self._chunks(np.maximum(wanted, 0))
        vectors[wanted < 0] = 0
        return vectors[place.reshape(chunks.shape)]

    @cached_property
    def _chunks_before(self) -> Rows | None:
        """(m,) the chunk before each chunk of its document, -1 for none; None where that is not told."""
        keys = self.chunk_keys
        if keys is None:
            return None
        # A chunk that two files hold stands there once.
        chunks, first, chunk = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        follows = (chunks[:-1, 0] == chunks[1:, 0]) & (chunks[:-1, 1] + 1 == chunks[1:, 1])
        found = np.where(np.concatenate([[False], follows]), np.roll(first, 1), -1)
        return found[chunk.reshape(-1)]

    def locate(self, row: int) -> tuple[str, int]:
        """The file of a row, and its place in there."""
        file = int(np.searchsorted(self._starts, row, "right")) - 1
        return self.dataset.files[file].name, row - int(self._starts[file])

    def context_keys(self, rows: Rows) -> Rows | None:
        """(k, length, 2): article and chunk of the windows' vectors; None where the files do not say."""
        if self.windows is None or self.chunk_keys is None:
            return None
        return self.chunk_keys[self.windows[rows, :-1]]

    @cached_property
    def windows(self) -> Rows | None:
        """(n, length + 1) rows of `chunk_vectors`, the target last; None outside the chunk-matrix layout."""
        parts = self._matrices()
        if parts is None:
            return None
        starts = np.cumsum([0, *(len(part.keys) for part in parts)])
        return np.concatenate([part.windows + start for part, start in zip(parts, starts, strict=False)])

    @cached_property
    def chunk_keys(self) -> Rows | None:
        """(m, 2) article and chunk of `chunk_vectors`; None outside the chunk-matrix layout."""
        parts = self._matrices()
        return None if parts is None else np.concatenate([part.keys for part in parts])

    @property
    def chunks(self) -> int | None:
        """Rows of `chunk_vectors`; None outside the chunk-matrix layout."""
        return None if self.chunk_keys is None else len(self.chunk_keys)

    def chunk_rows(self, start: int, stop: int) -> Vectors:
        """(stop - start, dim) float32: some of `chunk_vectors`, read and not held.

        Raises:
            DataError: a file was cut short in the meantime, or is in another layout.
        """
        parts = self._matrices()
        if parts is None:
            raise DataError(f"{self.dataset.files[0].name}: not in the chunk-matrix layout")
        found, first = [], 0
        for part in parts:
            low, high = max(0, start - first), min(len(part.keys), stop - first)
            if low < high:
                found.append(float32_rows(part.vectors.take(np.arange(low, high))))
            first += len(part.keys)
        return np.concatenate([np.empty((0, self.dim), np.float32), *found])

    @cached_property
    def chunk_vectors(self) -> Vectors | None:
        """(m, dim) float32, every vector once, read when first asked for and then held."""
        return None if self.chunks is None else self.chunk_rows(0, self.chunks)

    def _chunks(self, numbers: Rows) -> Vectors:
        """(k, dim) float32: chunks by their ascending numbers."""
        parts, first, found = self._matrices() or [], 0, []
        for part in parts:
            low, high = np.searchsorted(numbers, (first, first + len(part.keys)))
            if low < high:
                found.append(float32_rows(part.vectors.take(numbers[low:high] - first)))
            first += len(part.keys)
        return np.concatenate([np.empty((0, self.dim), np.float32), *found])

    def _matrices(self) -> list[_Windows] | None:
        parts = [part for part in self._parts if isinstance(part, _Windows)]
        return parts if len(parts) == len(self._parts) else None

    def _gathered(self, rows: Rows, what: str, shape: tuple[int, ...]) -> Vectors:
        rows = np.asarray(rows, np.int64)
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.n):
            raise IndexError(f"rows: expected 0 to {self.n - 1}, got {rows.min()} to {rows.max()}")
        if len(self._parts) == 1:
            read: Vectors = getattr(self._parts[0], what)(rows)
            return read
        file = np.searchsorted(self._starts, rows, "right") - 1
        out = np.empty((len(rows), *shape), np.float32)
        for place, part in enumerate(self._parts):
            mine = np.flatnonzero(file == place)
            if len(mine):
                out[mine] = getattr(part, what)(rows[mine] - self._starts[place])
        return out


def open_sequences(
    source: Any, *, columns: Mapping[str, str] | None = None, allow_leaked: bool = False
) -> Sequences:
    """Opens sequence files, in any layout that `load_split` reads, for reads in any order.

    Args:
        source: what `load_split` takes, with doc_id, vector and context (and chunk_id where there is one).
        columns: field names by column, where the known names do not do.
        allow_leaked: open files whose content is quarantined.

    Raises:
        DataError: something is missing, broken or quarantined; or files of different encoders.
    """
    dataset = load_split(source, columns=columns, allow_leaked=allow_leaked)
    return Sequences(dataset)


def _opened(file: SplitFile) -> _Copies | _Windows:
    if isinstance(file, ArraysFile):
        target, context = file.source("vector"), file.source("context")
        if isinstance(target, GatheredArray) and isinstance(context, GatheredArray):
            return _chunk_matrix(file, context)
        if by_row(target) and by_row(context):
            return _Copies(context.random_rows(), target.random_rows())
    vectors: list[Vectors] = []
    contexts: list[Vectors] = []
    for batch in file.batches(("vector", "context"), 8192):
        assert batch.vector is not None
        assert batch.context is not None
        vectors.append(batch.vector.copy())
        contexts.append(batch.context.copy())
    return _Copies(HeldRows(np.concatenate(contexts)), HeldRows(np.concatenate(vectors)))


def by_row(source: ArraySource) -> TypeGuard[StoredArray]:
    """Whether any row of an array can be read without those before it."""
    return isinstance(source, StoredArray) and source.by_row


def _chunk_matrix(file: ArraysFile, context: GatheredArray) -> _Windows:
    with reading(file.name):
        windows = _whole(context.windows)
        context.check(windows, 0)
        keys_source = file.source("doc_id")
        assert isinstance(keys_source, GatheredArray)
        keys = _whole(keys_source.values)[:, :2].astype(np.int64)
        stored = context.values
        vectors: RandomRows = stored.random_rows() if by_row(stored) else HeldRows(_whole(stored))
    return _Windows(vectors, keys, windows.astype(np.int64))


def _whole(source: ArraySource) -> npt.NDArray[Any]:
    with source.opened() as read:
        return np.array(read(0, source.shape[0]))


def check_trainable(dataset: Dataset, columns: Sequence[Column], told: str) -> None:
    """Holds every file to the columns that training needs, which `told` names in words, and to one encoder.

    Raises:
        DataError: a column is missing; files of different encoders; a fingerprint.
    """
    dataset.require_rows("a fingerprint holds no vectors to train on")
    for file in dataset.files:
        missing = [column for column in columns if column not in file.fields]
        if missing:
            raise DataError(
                f"{file.name}: {missing[0]}: {told}; this file has no such field, or it needs --column"
            )
    check_same_encoder(dataset.provenance)


def read_keys(dataset: Dataset) -> tuple[Rows, Rows]:
    """Documents numbered by first appearance (n,), a row without an id apart; and the ids (n, 2).

    Ids that are no integers stand as numbers by first appearance; a chunk that is not told is -1.
    """
    tables = {column: _core.KeyTable(2, 0) for column in ("doc_id", "chunk_id")}
    documents: list[Rows] = [np.empty(0, np.int64)]
    keys: list[Rows] = [np.empty((0, 2), np.int64)]
    columns: tuple[Column, ...] = ("doc_id", "chunk_id")
    integers = {column: dataset.id_type(column) == pa.int64() for column in columns}
    for batch in dataset.batches(columns, 1 << 16):
        found = np.full((batch.rows, 2), -1, np.int64)
        for place, column in enumerate(columns):
            ids = getattr(batch, column)
            if ids is None:
                continue
            slots = np.full(batch.rows, -1, np.int64)
            key, valid = id_keys(ids)
            slots[valid] = tables[column].insert(np.ascontiguousarray(key[valid]))
            if column == "doc_id":
                documents.append(slots)
            found[:, place] = np.asarray(ids.fill_null(-1)) if integers[column] else slots
        keys.append(found)
    document = np.concatenate(documents)
    unnamed = np.flatnonzero(document < 0)
    document[unnamed] = len(tables["doc_id"]) + np.arange(len(unnamed))
    return document, np.concatenate(keys)
