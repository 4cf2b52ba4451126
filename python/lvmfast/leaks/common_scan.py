"""One scan of all vectors of a batch, where targets and windows are compared with one index.

Three joins look at almost the same vectors: targets with targets, targets with windows, windows with targets.
A window's vectors are the targets of rows before it, so that here each is compared once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Batch, Vectors
from lvmfast.corpus.vector_column import VectorColumn, narrowed
from lvmfast.leaks.cells import Cells
from lvmfast.leaks.near import BoundedScan, most_hits
from lvmfast.leaks.near_index import NearIndex, Scanned
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import NO_ROWS, Rows, first_rows


@dataclass(frozen=True)
class BatchCells:
    """The targets and windows of a batch, and what a scan of their vectors found, if there was one."""

    targets: Cells | None
    windows: Cells | None
    found: Scanned | None = None  #: then both hold all vectors that were scanned

    @classmethod
    def of(cls, batch: Batch) -> BatchCells:
        """The cells of a batch, not scanned."""
        targets, windows = (
            None if column is None else Cells.of(column, batch.start)
            for column in (batch.targets, batch.windows)
        )
        return cls(targets, windows)


class CommonScan:
    """Scans the distinct vectors of a batch once, while their hits are few enough to be held."""

    def __init__(self, near: NearIndex, options: ScanOptions) -> None:
        """A scan against `near`, to which nothing is added any more."""
        self._scan = BoundedScan(near, options)
        self._most_hits, self._threads = most_hits(options), options.threads
        self._too_many = False

    def __call__(self, batch: Batch) -> BatchCells:
        """The cells of the next batch, with what was found."""
        if self._too_many or batch.targets is None or batch.windows is None:
            return BatchCells.of(batch)
        vectors, places = self._distinct(batch.targets, batch.windows)
        found = self._found(vectors)
        if found is None:
            return BatchCells.of(batch)
        length = batch.windows.shape[1]
        return BatchCells(
            Cells(vectors, batch.start, None, places[: batch.rows]),
            Cells(vectors, batch.start, length, places[batch.rows :]),
            found,
        )

    def _distinct(self, targets: VectorColumn, windows: VectorColumn) -> tuple[Vectors, Rows]:
        """The vectors of both, and which of them each target and then each place of a window holds."""
        if targets.numbers is not None and windows.numbers is not None and targets.values is windows.values:
            return narrowed(targets.values, np.r_[targets.numbers, windows.numbers.reshape(-1)])
        both = [Cells.of(column, 0) for column in (targets, windows)]
        table = _core.KeyTable(2, self._threads)
        slots = [table.insert(_core.describe_rows(cells.vectors, self._threads)[1]) for cells in both]
        slot = np.concatenate(slots)
        first = first_rows(np.arange(len(slot)), slot, len(table))  # ascending: slots are in that order
        of_targets = int(np.searchsorted(first, len(slots[0])))
        vectors = np.empty((len(first), both[0].vectors.shape[1]), np.float32)
        # "clip" changes nothing, for every place is there; the default would gather into a copy first.
        both[0].vectors.take(first[:of_targets], axis=0, out=vectors[:of_targets], mode="clip")
        of_windows = first[of_targets:] - len(slots[0])
        both[1].vectors.take(of_windows, axis=0, out=vectors[of_targets:], mode="clip")
        return vectors, np.concatenate([cells.of_each(of) for cells, of in zip(both, slots, strict=True)])

    def _found(self, vectors: Vectors) -> Scanned | None:
        """What a scan finds; None where that is too much to be held, and from then on."""
        parts: list[Scanned] = [
            (NO_ROWS, NO_ROWS, np.empty(0), np.empty(0, np.uint8), np.empty((0, 2), np.uint64))
        ]
        count = 0
        for hits in self._scan(Cells(vectors, 0)):
            parts.append((hits.cell, hits.group, hits.score, hits.codes, hits.keys))
            count += len(hits.cell)
            if count > self._most_hits:
                self._too_many = True
                return None
        row, group, score, codes, keys = (np.concatenate(column) for column in zip(*parts, strict=True))
        return row, group, score, codes, keys
