"""Rows that are chunks of documents become documents again: `--join-chunks`.

A row continues the one before it in its file if both have the same doc_id and its chunk_id is one higher.
A scan in pieces reads every document once: a piece passes over rows that continue a document which begins
before it, and reads on behind its end until the last of its own is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Batch, Column
from lvmfast.corpus.keys import id_keys, text_bytes
from lvmfast.corpus.plain import without_nulls
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import Rows

#: What says which rows are one document.
CHUNK_IDS: tuple[Column, ...] = ("doc_id", "chunk_id")
#: Bytes per byte of a document while it is compared: its rows, put together, and its tokens.
COMPARED_BYTES = 5


@dataclass(frozen=True)
class Documents:
    """Consecutive rows of one file that are whole documents."""

    start: int  #: row of the dataset of the first one
    texts: pa.Array  #: (rows,) large_string with nulls
    starts: Rows | None = None  #: (documents + 1,) the row at which each begins, from 0 on; None: each is one

    @cached_property
    def packed(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """The texts of the rows as the core takes them: their bytes, and where each starts."""
        return text_bytes(without_nulls(self.texts))

    def first_rows(self, documents: Rows) -> Rows:
        """The dataset row at which each of some documents begins."""
        return self.start + (documents if self.starts is None else self.starts[documents])

    def joined(self, documents: Rows) -> pa.Array:
        """The texts of some documents, with a line break between rows."""
        import pyarrow.compute as pc

        texts = without_nulls(self.texts)
        if self.starts is None:
            return texts.take(pa.array(documents))
        rows = pa.ListArray.from_arrays(pa.array(self.starts, pa.int32()), texts).take(pa.array(documents))
        return pc.binary_join(rows, pa.scalar("\n", pa.large_string()))


@dataclass(frozen=True)
class _Last:
    """The last row that went by."""

    file: int
    row: int
    keys: npt.NDArray[np.uint64]  #: (2, 2) of its document and chunk
    valid: bool


class ChunkJoin:
    """Documents out of rows that go by in order."""

    def __init__(self, options: ScanOptions) -> None:
        """No row yet."""
        self._options = options
        self._last: _Last | None = None
        self._passing = False  #: over rows of a document that began before all rows here
        self._open: list[pa.Array] = []  #: rows of the document that may go on
        self._open_from = 0
        self._bytes = 0  #: of their texts
        self.continued = 0  #: rows that continue the one before

    def begin(self, before: Batch | None) -> None:
        """The next row stands behind `before`, one row with its ids alone, or is the first of its file."""
        self._last, self._passing = None, before is not None
        if before is not None:
            self._continues(before)

    def add(self, batch: Batch, texts: pa.Array) -> Iterator[Documents]:
        """Takes the next rows; gives documents that are whole.

        Raises:
            DataError: one needs more memory than there is.
        """
        continues = self._continues(batch)
        begins = np.flatnonzero(~continues)
        self.continued += len(texts) - len(begins)
        first = int(begins[0]) if len(begins) else len(texts)
        if first:
            if self._passing:
                self.continued -= first
            else:
                self._keep(texts.slice(0, first))
        if not len(begins):
            return
        self._passing = False
        yield from self.end()
        last = int(begins[-1])
        if last > first:
            whole = texts.slice(first, last - first)
            yield Documents(batch.start + first, whole, np.append(begins[:-1], last) - first)
        self._open_from = batch.start + last
        self._keep(texts.slice(last))

    def follow(self, batch: Batch, texts: pa.Array) -> bool:
        """Takes rows behind the end for the sake of the document that is open; whether it may go on still."""
        if not self._open:
            return False
        continues = self._continues(batch)
        rows = len(texts) if continues.all() else int(np.argmin(continues))
        self.continued += rows
        if rows:
            self._keep(texts.slice(0, rows))
        return rows == len(texts)

    def end(self) -> Iterator[Documents]:
        """No row continues the document that is open, if one is."""
        if self._open:
            rows = pa.concat_arrays(self._open)
            self._open, self._bytes = [], 0
            yield Documents(self._open_from, rows, np.array([0, len(rows)]))

    def _continues(self, batch: Batch) -> npt.NDArray[np.bool_]:
        """(rows,): whether each row continues the one before it."""
        alone = np.zeros(batch.rows, np.bool_)
        if not batch.rows:
            return alone
        before, self._last = self._last, None
        if batch.doc_id is None or batch.chunk_id is None:
            return alone
        docs, doc_valid = id_keys(batch.doc_id, self._options.threads)
        chunks, chunk_valid = id_keys(batch.chunk_id, self._options.threads)
        keys = np.stack([docs, chunks], axis=1)
        valid = doc_valid & chunk_valid & (chunks[:, 0] == 0)  # chunks that integers number
        self._last = _Last(batch.file, batch.file_row + batch.rows, keys[-1].copy(), bool(valid[-1]))
        if before is not None and (before.file, before.row) == (batch.file, batch.file_row):
            keys = np.concatenate([before.keys[None], keys])
            valid = np.concatenate([[before.valid], valid])
        else:
            keys, valid = np.concatenate([keys[:1], keys]), np.concatenate([[False], valid])
        same = (keys[1:, 0] == keys[:-1, 0]).all(axis=1) & (keys[1:, 1, 1] == keys[:-1, 1, 1] + np.uint64(1))
        return np.asarray(same & valid[1:] & valid[:-1])

    def _keep(self, texts: pa.Array) -> None:
        """Holds rows of the document that is open.

        Raises:
            DataError: it needs more memory than there is.
        """
        self._open.append(texts)
        self._bytes += texts.nbytes
        if self._bytes > self._options.block_bytes:
            need = memory.working_bytes(self._options) + COMPARED_BYTES * self._bytes
            room = memory.bound(self._options)
            if need > room:
                raise DataError(
                    f"join_chunks: a document of {self._bytes / 2**30:.2f} GiB so far would take "
                    f"{need / 2**30:.2f} GiB, over the {room / 2**30:.2f} GiB of memory"
                )
