"""Rows of a file that a report may name: kept as they go by, while they are few, and not read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import RLock

import pyarrow as pa

from lvmfast.corpus.dataset import Rows

#: What a row takes beside its values.
_ROW_BYTES = 256


class KeptRows:
    """Rows of one file by their numbers."""

    held = 0  #: bytes, of all files together
    _lock = RLock()  #: of what is added, by whatever thread; it may collect what is gone

    def __init__(self) -> None:
        """None yet."""
        self._forget(too_many=False)

    def _forget(self, *, too_many: bool) -> None:
        self._places: dict[int, tuple[int, int]] = {}  #: of a row: its part, and the place there
        self._parts: list[pa.RecordBatch] = []
        self._nbytes, self._too_many = 0, too_many

    def __del__(self) -> None:
        """Makes room for those of other files."""
        with self._lock:
            KeptRows.held -= self._nbytes

    def add(self, batch: pa.RecordBatch, first: int, most: int, rows: Rows) -> None:
        """Keeps `rows` of the file, whose row `first` is the first one of `batch`.

        Where all files would hold more than `most` bytes, nothing of this one is kept any more.
        """
        with self._lock:
            self._add(batch, first, most, rows)

    def _add(self, batch: pa.RecordBatch, first: int, most: int, rows: Rows) -> None:
        new = [row for row in rows.tolist() if row not in self._places]
        if self._too_many or not new:
            return
        size = len(new) * (batch.nbytes // batch.num_rows + _ROW_BYTES)  # before it is known
        if KeptRows.held + size <= most:
            part = _copied(batch, [row - first for row in new])
            size = part.nbytes + len(new) * _ROW_BYTES
        if KeptRows.held + size > most:
            KeptRows.held -= self._nbytes
            self._forget(too_many=True)
            return
        KeptRows.held += size
        self._nbytes += size
        self._places |= {row: (len(self._parts), place) for place, row in enumerate(new)}
        self._parts.append(part)

    def found(self, wanted: Rows, fields: Sequence[str]) -> Iterator[tuple[int, pa.RecordBatch]] | None:
        """Each of the `wanted` rows with `fields`; None where one is not kept, or not with all of them."""
        if len(wanted) > len(self._places) or not all(row in self._places for row in wanted.tolist()):
            return None
        if not all(set(fields) <= set(part.schema.names) for part in self._parts):
            return None
        places = ((row, *self._places[row]) for row in wanted.tolist())
        return ((row, self._parts[part].slice(place, 1).select(fields)) for row, part, place in places)


def _copied(batch: pa.RecordBatch, places: Sequence[int]) -> pa.RecordBatch:
    """Some rows of a batch, nothing of which they hold on to. To take them would load Arrow's functions."""
    columns = [
        pa.concat_arrays([column.slice(0, 0), *(column.slice(place, 1) for place in places)])
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)
