"""Payloads: texts kept apart from their rows, joined to them by (doc_id, chunk_id) in one hash join.

The texts are spilled to unnamed temporary files and mapped from there, so that a payload costs memory for
its keys alone (about 60 bytes a row).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Batch, Column, Coverage, Dataset, Rows, SplitFile
from lvmfast.corpus.failures import reading
from lvmfast.corpus.keys import Keys, newly_inserted, pair_keys, text_bytes
from lvmfast.corpus.looks import LackingError
from lvmfast.corpus.values import TEXT_BYTES
from lvmfast.errors import DataError
from lvmfast.shown import percent

_KEY: tuple[Column, ...] = ("doc_id", "chunk_id")
#: Below this share of covered rows the payload belongs to another split.
_LEAST_COVERAGE = 0.01


class Payload:
    """Texts by (doc_id, chunk_id). One payload can be joined to several splits.

    Raises:
        DataError: on construction, when a file lacks an id or the text, or when one key has two texts.
    """

    def __init__(
        self,
        files: Sequence[SplitFile],
        threads: int = 0,
        *,
        leaked: tuple[str, ...] = (),
        remarks: tuple[str, ...] = (),
    ) -> None:
        """Reads all of `files` once; `leaked` names those that are quarantined, `remarks` is for notes."""
        self.files, self.leaked, self.remarks = tuple(files), leaked, remarks
        self.name = ", ".join(file.name for file in self.files)
        self._table = _core.KeyTable(4, threads)
        self._threads = threads
        self.skipped = 0  #: rows without a key or a text
        with ExitStack() as stack, reading(f"{self.name}: spilling to {tempfile.gettempdir()}"):
            data = stack.enter_context(tempfile.TemporaryFile())
            offsets = stack.enter_context(tempfile.TemporaryFile())
            self._fill(data, offsets)
            data.flush()
            offsets.flush()
            self._texts = _mapped_texts(data, offsets, len(self._table))

    def __len__(self) -> int:
        """Distinct keys."""
        return len(self._table)

    def _fill(self, data: BinaryIO, offsets: BinaryIO) -> None:
        """Slot i of the table is text i of the spill: both take keys in order of first appearance."""
        digests = np.empty((0, 2), np.uint64)  # (capacity, 2), by slot
        end = 0
        offsets.write(np.int64(0).tobytes())
        for file in self.files:
            missing = [column for column in (*_KEY, "text") if column not in file.fields]
            if missing:
                why = file.unreadable.get(missing[0], f"no {missing[0]}")
                raise LackingError(f"{file.name}: a payload needs doc_id, chunk_id and text; {why}")
            for batch in file.batches((*_KEY, "text"), 8192):
                text, keys, rows = self._keyed(batch)
                digest = _core.hash_texts_128(*text_bytes(text), "none", self._threads)
                before = len(self._table)
                slots = self._table.insert(keys)
                if len(self._table) > len(digests):
                    room = np.empty((2 * len(self._table), 2), np.uint64)
                    room[:before] = digests[:before]
                    digests = room
                fresh = np.flatnonzero(newly_inserted(slots, before))
                digests[slots[fresh]] = digest[fresh]
                clash = np.flatnonzero((digests[slots] != digest).any(axis=1))
                if len(clash):
                    raise _two_texts(file, batch, int(rows[clash[0]]))
                new = text if len(fresh) == len(text) else text.take(pa.array(fresh))
                content, starts = text_bytes(new)
                data.write(content[starts[0] : starts[-1]].data)
                offsets.write((starts[1:] - starts[0] + end).tobytes())
                end += int(starts[-1] - starts[0])

    def _keyed(self, batch: Batch) -> tuple[pa.Array, Keys, Rows]:
        """Text, key and row number in `batch` of the rows that have both ids and a text."""
        assert batch.text is not None
        keys, valid = pair_keys(batch.doc_id, batch.chunk_id, self._threads)
        rows = np.flatnonzero(valid & np.asarray(batch.text.is_valid()))
        self.skipped += batch.rows - len(rows)
        if len(rows) == batch.rows:
            return batch.text, keys, rows
        return batch.text.take(pa.array(rows)), keys[rows], rows

    def find(self, keys: Keys) -> npt.NDArray[np.int64]:
        """The slot of each (n, 4) key, -1 where the payload has none."""
        return self._table.find(keys)

    def at(self, slots: Rows) -> pa.Array:
        """The texts of (n,) slots that `find` gave, as large_string."""
        return self._texts.take(pa.array(slots))

    def texts(self, doc: pa.Array, chunk: pa.Array) -> Iterator[tuple[int, int, pa.Array]]:
        """The texts of (n,) pairs of ids, null where there is none, as (start, stop, large_string) pieces.

        Each piece is of about TEXT_BYTES at most: texts can be long, and here they leave the mapped file.
        """
        keys, valid = pair_keys(doc, chunk, self._threads)
        slots = self.find(keys)
        found = valid & (slots >= 0)
        _, offsets = text_bytes(self._texts)
        sizes = np.zeros(len(slots), np.int64)
        sizes[found] = offsets[slots[found] + 1] - offsets[slots[found]]
        ends = np.cumsum(sizes)
        start = 0
        while start < len(slots):
            limit = ends[start] - sizes[start] + TEXT_BYTES
            stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
            yield start, stop, self._texts.take(pa.array(slots[start:stop], mask=~found[start:stop]))
            start = stop


def _two_texts(file: SplitFile, batch: Batch, row: int) -> DataError:
    doc, chunk = (ids[row].as_py() for ids in (batch.doc_id, batch.chunk_id) if ids is not None)
    where = f"{file.name}: row {batch.file_row + row}"
    return DataError(f"{where}: the key (doc_id {doc}, chunk_id {chunk}) has another text in an earlier row")


def _mapped_texts(data: BinaryIO, offsets: BinaryIO, count: int) -> pa.Array:
    buffers = []
    for file in (offsets, data):
        size = file.seek(0, 2)
        buffers.append(pa.py_buffer(np.memmap(file, np.uint8, "r") if size else b""))
    return pa.LargeStringArray.from_buffers(count, *buffers)


class JoinedFile:
    """A `SplitFile` whose text comes from a payload.

    Where the file has text of its own, the payload's wins; a row that the payload lacks keeps its own.
    """

    def __init__(self, file: SplitFile, payload: Payload) -> None:
        """Reads nothing.

        Raises:
            DataError: the file lacks an id.
        """
        missing = [column for column in _KEY if column not in file.fields]
        if missing:
            why = file.unreadable.get(missing[0], f"no {missing[0]}")
            raise LackingError(f"{file.name}: joining {payload.name} needs doc_id and chunk_id; {why}")
        self._file, self._payload = file, payload
        self._own_text = "text" in file.fields
        self.name, self.path, self.nbytes = file.name, file.path, file.nbytes
        self.origin = file.origin
        self.id_types, self.dim, self.context_length = file.id_types, file.dim, file.context_length
        self.provenance, self.starts = file.provenance, file.starts
        self.notes: tuple[str, ...] = file.notes
        if self._own_text:
            note = f"{file.fields['text']}: replaced by the text in {payload.name} where that has the row"
            self.notes = (*file.notes, note)
        self.unreadable = {**file.unreadable}
        self.unreadable.pop("text", None)
        self.fields: dict[Column, str] = {**file.fields, "text": f"text of {payload.name}"}

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
        if "text" not in columns:
            yield from self._file.batches(columns, rows, wanted)
            return
        import pyarrow.compute as pc

        present = [column for column in (*columns, *_KEY) if column != "text" or self._own_text]
        unasked: dict[str, Any] = {column: None for column in _KEY if column not in columns}
        for batch in self._file.batches(list(dict.fromkeys(present)), rows, wanted):
            for start, stop, text in self._payload.texts(batch.doc_id, batch.chunk_id):
                piece = batch.sliced(start, stop)
                if piece.text is not None:
                    text = pc.coalesce(text, piece.text)
                yield replace(piece, text=text, **unasked)


def join(split: Dataset, payload: Payload) -> Dataset:
    """`split` with its texts from `payload`, after one pass over the split's ids.

    Raises:
        DataError: fewer than 1% of the rows that have both ids find a text; the message says so, and
            whether chunk ids that are off by one are the reason.
    """
    joined = Dataset(tuple(JoinedFile(file, payload) for file in split.files))
    total = keyed = 0
    hits = {0: 0, 1: 0, -1: 0}
    for batch in split.batches(_KEY):
        keys, valid = pair_keys(batch.doc_id, batch.chunk_id)
        keys = keys[valid]
        total, keyed = total + batch.rows, keyed + len(keys)
        integers = keys[:, 2] == 0  # what is no integer has no neighbour
        for shift in hits:
            shifted = keys[integers] if shift else keys
            shifted[:, 3] += np.uint64(shift % 2**64)
            hits[shift] += int((payload.find(np.ascontiguousarray(shifted)) >= 0).sum())
    coverage = Coverage(payload.name, keyed, hits[0])
    better = max((1, -1), key=lambda shift: hits[shift])
    advice = ""
    if hits[better] > hits[0]:
        rate = hits[better] / keyed
        advice = (
            f"; with chunk ids of the split {better:+d} it would be {percent(rate)}: are they off by one?"
        )
    figure = f"{percent(coverage.rate)} of the rows have a text in {payload.name} ({hits[0]} of {keyed})"
    if total and coverage.rate < _LEAST_COVERAGE:
        name = ", ".join(file.name for file in split.files[:3])
        raise DataError(f"{name}: only {figure}{advice}")
    notes = [*payload.remarks, f"payload: {figure}{advice}"]
    if payload.skipped:
        notes.append(f"{payload.name}: {payload.skipped} rows without both ids and a text skipped")
    leaked = tuple(dict.fromkeys((*split.leaked, *payload.leaked)))
    return replace(joined, coverage=coverage, remarks=(*split.remarks, *notes), leaked=leaked)
