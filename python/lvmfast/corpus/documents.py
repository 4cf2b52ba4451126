"""`Documents`: the chunks of a set in the order of their documents, every next chunk to be predicted.

A *run* is chunks of one document whose numbers follow each other: where a number is missing, another begins.
Every chunk of a run but the first is a target. A run of more targets than a context holds is cut into as few
*pieces* as will do, all of about one length: each target belongs to one piece, and what is lost at a cut is
context alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.arrays_file import ArraysFile
from lvmfast.corpus.dataset import Column, Dataset, Rows, SplitFile, Vectors
from lvmfast.corpus.gathered import GatheredArray
from lvmfast.corpus.sequences import HeldRows, RandomRows, by_row, check_trainable, read_keys
from lvmfast.corpus.values import float32_rows
from lvmfast.errors import DataError
from lvmfast.shown import counted

_COLUMNS: tuple[Column, ...] = ("doc_id", "chunk_id", "vector")
#: Chunks before a target that baselines mix, and that are no candidates of it: more help no such mix.
LAGS = 5


@dataclass(frozen=True)
class Packs:
    """Pieces one behind the other in the rows of one batch, and which of its places are asked for."""

    vectors: Vectors  #: (batch, length, d), zeros behind the last piece of a row
    since: Rows  #: (batch, length): how many vectors of its own piece stand before each; 0 behind the last
    place: Rows  #: (k,) of batch * length: the vectors whose next ones are asked for

    def __len__(self) -> int:
        """How many are asked for."""
        return len(self.place)


class Documents:
    """n targets, numbered in the order of documents and chunks, and what stands before each.

    Attributes:
        dataset: of the chunks, a row each.
        context: chunks that a prediction sees at most.
        length: of the windows that baselines mix.
        doc_ids: (n,) the document of each target.
        keys: (n, 2) document and chunk.
        pieces: (n,) the piece of each target, ascending.
        chunk_doc_ids: (m,) the document of each row of `dataset`.
    """

    def __init__(self, dataset: Dataset, context: int) -> None:
        """Reads the ids of all chunks, and vectors that cannot be read by row.

        Args:
            dataset: doc_id, chunk_id and vector of each chunk, as `chunks_of` gives them.
            context: chunks that a prediction sees at most.

        Raises:
            DataError: a column is missing; chunks are not numbered, or one stands twice; no document has two
                chunks; files of different encoders; a fingerprint.
        """
        check_trainable(dataset, _COLUMNS, f"documents have {', '.join(_COLUMNS)}")
        self.dataset, self.context, self.length = dataset, context, min(LAGS, context)
        self.dim = dataset.dim or 0
        self.provenance: Mapping[str, Any] = next(iter(dataset.provenance.values()), {})
        self._parts = [_vectors_of(file) for file in dataset.files]
        self._starts = np.cumsum([0, *(part.shape[0] for part in self._parts)])
        self.chunk_doc_ids, chunk_keys = read_keys(dataset)
        self._check_numbers(chunk_keys[:, 1])
        self._order = np.lexsort((chunk_keys[:, 1], self.chunk_doc_ids))  # rows of chunks, by document
        self._cut(chunk_keys)

    def __len__(self) -> int:
        """Targets in all."""
        return self.n

    def _check_numbers(self, numbers: Rows) -> None:
        name = self.dataset.files[0].name
        if self.dataset.id_type("chunk_id") != pa.int64():
            raise DataError(f"{name}: chunk_id: expected whole numbers: they say which chunk follows which")
        unknown = np.flatnonzero(numbers < 0)
        if len(unknown):
            raise DataError(
                "{}: row {}: chunk_id: expected a number from 0 on, got none".format(
                    *self.locate_chunk(int(unknown[0]))
                )
            )

    def _cut(self, chunk_keys: Rows) -> None:
        order, document = self._order, self.chunk_doc_ids[self._order]
        number = chunk_keys[order, 1]
        same = np.concatenate([[False], document[1:] == document[:-1]])
        step = np.diff(number, prepend=number[:1])
        twice = np.flatnonzero(same & (step == 0))
        if len(twice):
            one, other = (self.locate_chunk(int(order[i])) for i in (twice[0] - 1, twice[0]))
            doc, chunk = chunk_keys[order[twice[0]]].tolist()
            raise DataError(
                f"{other[0]}: row {other[1]}: doc_id {doc}, chunk_id {chunk} stands in {one[0]}, "
                f"row {one[1]} too: expected each chunk once"
            )
        follows = same & (step == 1)
        run = np.cumsum(~follows) - 1
        first = np.flatnonzero(~follows)
        targets = np.diff(first, append=len(order)) - 1  # of each run
        pieces = -(-targets // self.context)
        self._at = np.flatnonzero(follows)  # (n,) places of targets in the order
        self.n = len(self._at)
        if not self.n:
            raise DataError(
                f"{self.dataset.files[0].name}: no document has two chunks whose numbers follow each other: "
                "there is no next one to predict"
            )
        of = run[self._at]
        inside, many, total = self._at - first[of] - 1, pieces[of], targets[of]
        piece = ((inside + 1) * many - 1) // total
        self._since = inside - piece * total // many
        self.pieces = np.cumsum(self._since == 0) - 1
        self._before = inside + 1  # chunks of the run before each target
        self.doc_ids, self.keys = document[self._at], chunk_keys[order[self._at]]
        self.notes = tuple(self._notes(document, follows, same, targets, pieces))

    def _notes(
        self,
        document: Rows,
        follows: npt.NDArray[np.bool_],
        same: npt.NDArray[np.bool_],
        targets: Rows,
        pieces: Rows,
    ) -> list[str]:
        found, documents = [], len(np.unique(document))
        long = int((pieces > 1).sum())
        if long:
            found.append(
                f"{counted(long, 'document')} with more than {self.context:,} chunks to predict, cut into "
                f"{int(pieces[pieces > 1].sum()):,} pieces: every chunk is predicted, the first of a piece "
                "from less context"
            )
        if gaps := int((same & ~follows).sum()):
            found.append(
                f"chunk numbers are missing in {counted(gaps, 'place')}: another document begins there"
            )
        alone = documents - len(np.unique(document[follows]))
        if alone:
            found.append(
                f"{counted(alone, 'document')} of {documents:,} without a chunk that follows another one"
            )
        return found

    def targets(self, rows: Rows) -> Vectors:
        """(k, dim) float32: the chunks of (k,) targets.

        Raises:
            DataError: a file was cut short in the meantime.
        """
        return self._taken(self._order[self._at[rows]])

    def contexts(self, rows: Rows) -> Vectors:
        """(k, length, dim) float32: the chunks before each, for baselines; zeros in front of a document."""
        numbers = self.windows_of(rows)[:, :-1]
        found = self._taken(np.maximum(numbers, 0).reshape(-1)).reshape(*numbers.shape, self.dim)
        found[numbers < 0] = 0
        return found

    def windows_of(self, rows: Rows) -> Rows:
        """(k, length + 1) rows of `dataset`, the target last; -1 where a document has not begun."""
        back = np.arange(self.length, -1, -1)
        places = self._at[rows, None] - back
        numbers: Rows = np.where(back <= self._before[rows, None], self._order[np.maximum(places, 0)], -1)
        return numbers

    @property
    def windows(self) -> Rows:
        """`windows_of` all targets."""
        return self.windows_of(np.arange(self.n))

    @property
    def chunks(self) -> int:
        """Rows of `dataset`."""
        return len(self._order)

    def chunk_rows(self, start: int, stop: int) -> Vectors:
        """(stop - start, dim) float32: some chunks in the order of `dataset`, read and not held."""
        return self._taken(np.arange(start, stop))

    def inputs(self, rows: Rows) -> Packs:
        """The pieces that (k,) targets belong to, whole, in as few rows as first fit finds.

        Raises:
            DataError: a file was cut short in the meantime.
        """
        wanted, number = np.unique(self.pieces[rows], return_inverse=True)
        low = np.searchsorted(self.pieces, wanted)
        sizes = np.searchsorted(self.pieces, wanted, "right") - low
        row, start = _first_fit(sizes, int(sizes.max(initial=1)))
        shape = int(row.max(initial=0)) + 1, int(sizes.max(initial=1))
        vectors, since = np.zeros((*shape, self.dim), np.float32), np.zeros(shape, np.int64)
        within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        there = np.repeat(row, sizes), np.repeat(start, sizes) + within
        vectors[there] = self._taken(self._order[self._at[np.repeat(low, sizes) + within] - 1])
        since[there] = within
        place = row[number] * shape[1] + start[number] + self._since[rows]
        return Packs(vectors, since, place)

    @property
    def at(self) -> Rows:
        """(n,) the row of `dataset` that each target is."""
        return self._order[self._at]

    def locate(self, row: int) -> tuple[str, int]:
        """The file of a target, and its place in there."""
        return self.locate_chunk(int(self._order[self._at[row]]))

    def locate_chunk(self, row: int) -> tuple[str, int]:
        """The file of a row of `dataset`, and its place in there."""
        file = int(np.searchsorted(self._starts, row, "right")) - 1
        return self.dataset.files[file].name, row - int(self._starts[file])

    def _taken(self, rows: Rows) -> Vectors:
        out = np.empty((len(rows), self.dim), np.float32)
        file = np.searchsorted(self._starts, rows, "right") - 1
        for place, part in enumerate(self._parts):
            mine = np.flatnonzero(file == place)
            if len(mine):
                out[mine] = float32_rows(part.take(rows[mine] - self._starts[place]))
        return out


def chunks_of(dataset: Dataset) -> Dataset:
    """The chunks of a set, a row each: all that a chunk-matrix file holds, or the rows of another one.

    Of a file that copies the window beside every target only the targets are rows; a remark says so.
    """
    files = tuple(_chunks_of(file) for file in dataset.files)
    copies = [file.name for file in files if "context" in file.fields]
    if not copies:
        return replace(dataset, files=files)
    remark = (
        f"{copies[0]} copies a window beside every target: its documents are made of the targets alone, "
        "without the chunks before the first of them (layout chunks of `lvmfast ingest` has those)"
    )
    return replace(dataset, files=files, remarks=(*dataset.remarks, remark))


def _chunks_of(file: SplitFile) -> SplitFile:
    if not isinstance(file, ArraysFile) or not {"vector", "doc_id"} <= file.fields.keys():
        return file
    vectors, keys = file.source("vector"), file.source("doc_id")
    if not (isinstance(vectors, GatheredArray) and isinstance(keys, GatheredArray)):
        return file
    sources = {"truth_keys": keys.values, "targets": vectors.values}
    provenance, nbytes = file.provenance, file.nbytes
    return ArraysFile(
        file.name, file.path, nbytes, sources, {}, provenance=provenance, notes=file.notes, origin=file.origin
    )


def _vectors_of(file: SplitFile) -> RandomRows:
    if isinstance(file, ArraysFile) and by_row(source := file.source("vector")):
        return source.random_rows()
    blocks: list[Vectors] = [np.empty((0, file.dim or 0), np.float32)]
    for batch in file.batches(("vector",), 8192):
        assert batch.vector is not None
        blocks.append(batch.vector.copy())
    return HeldRows(np.concatenate(blocks))


def _first_fit(sizes: Rows, width: int) -> tuple[Rows, Rows]:
    """(p,) rows and places in them for pieces of these sizes, the longest first, in rows of `width`."""
    row, start = np.empty_like(sizes), np.empty_like(sizes)
    used: list[int] = []
    for piece in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[piece])
        at = next((i for i, taken in enumerate(used) if taken + size <= width), len(used))
        if at == len(used):
            used.append(0)
        row[piece], start[piece] = at, used[at]
        used[at] += size
    return row, start
