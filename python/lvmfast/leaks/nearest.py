"""`nearest`: the exact nearest training row of every evaluation row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lvmfast import _core
from lvmfast.errors import DataError
from lvmfast.leaks.cuts import located
from lvmfast.leaks.near import IndexedVectors
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import NearestRows
from lvmfast.leaks.tally import Rows, Scores
from lvmfast.leaks.vector_input import open_vectors, read_cells


@dataclass(frozen=True)
class Nearest:
    """The highest cosine of every evaluation row with any training row."""

    cosine: Scores  #: (n,) float64; NaN for a row that cannot be compared, or with nothing
    train_row: Rows  #: (n,) the first training row that has it, else -1


def nearest(train: Any, eval: Any, *, threads: int = 0) -> Nearest:
    """The highest cosine of every row of `eval` with any row of `train`, and the first row that has it.

    Exact: the cosine is x.y / sqrt((x.x)(y.y)) in float64 over float32 values, as in `near_duplicates`, so
    that a row has a pair at a threshold if and only if its nearest cosine reaches it. The rows of `eval` are
    held; those of `train` go by in blocks.

    Args:
        train: (n, d) floats: an array, a memory map, a torch tensor, or an iterator of (n, d) blocks.
        eval: (m, d) floats, the same.
        threads: 0 for one per available core.

    Raises:
        DataError: the dimensions differ, or the arrays are not 2-d floats.

    Examples:
        >>> import lvmfast
        >>> found = lvmfast.nearest([[1.0, 0.0], [0.0, 1.0]], [[3.0, 4.0], [1.0, 0.0]])
        >>> found.train_row.tolist(), found.cosine.tolist()
        ([1, 0], [0.8, 1.0])
    """
    options = ScanOptions(threads=threads)
    left, right = open_vectors("train", train), open_vectors("eval", eval)
    if left.dim != right.dim:
        raise DataError(f"nearest: train has {left.dim} dimensions, eval {right.dim}")
    index = _core.NearIndex(right.dim or 0, options.threshold, threads)
    for block in read_cells(right, options):
        index.add(block.vectors)
    for block in read_cells(left, options):
        index.seek(block.vectors, block.first_row)
    return of_rows(*index.nearest(), index.group_of_row)


def of_rows(cosine: Scores, train_row: Rows, group: Rows) -> Nearest:
    """By row what is known by group."""
    found = Nearest(np.full(len(group), np.nan), np.full(len(group), -1, np.int64))
    usable = group >= 0
    found.cosine[usable] = cosine[group[usable]]
    found.train_row[usable] = train_row[group[usable]]
    return found


@dataclass(frozen=True)
class NearestPart:
    """What some groups found among some training rows, as it is saved."""

    group: Rows
    cosine: Scores
    row: Rows


class NearestGroups:
    """The highest cosine of every group of equal evaluation vectors, and the first row that has it."""

    def __init__(self, cosine: Scores, train_row: Rows) -> None:
        """Of each group: NaN and -1 where nothing was compared yet."""
        self._cosine, self._row = cosine, train_row

    @classmethod
    def none(cls, groups: int) -> NearestGroups:
        """Nothing was compared yet."""
        return cls(np.full(groups, np.nan), np.full(groups, -1, np.int64))

    def changed(self, before: NearestGroups) -> NearestPart:
        """The groups that found something better since."""
        if len(before._row) == 0:
            before = NearestGroups.none(len(self._row))
        group = np.flatnonzero(self._row != before._row)
        return NearestPart(group, self._cosine[group], self._row[group])

    def fold(self, part: NearestPart, starts: Rows) -> None:
        """Takes what is better, or the same at an earlier row."""
        group, cosine, row = part.group, part.cosine, located(part.row, starts)
        mine, at = self._cosine[group], self._row[group]
        better = ~(mine > cosine) & ((at < 0) | (mine < cosine) | (row < at))
        self._cosine[group[better]], self._row[group[better]] = cosine[better], row[better]

    def by_row(self, vectors: IndexedVectors) -> NearestRows:
        """For every compared row of the evaluation side, whose vectors were indexed."""
        found = of_rows(self._cosine, self._row, vectors.group)
        known = np.flatnonzero(found.train_row >= 0)
        return NearestRows(vectors.rows[known], found.cosine[known], found.train_row[known])
