"""Cells: the vectors of one side, one by one.

A *cell* is one vector: a row's target, or one position of a row's context window. Where a file names vectors
by number, many cells hold the same one; it is hashed and compared once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Vectors
from lvmfast.corpus.vector_column import VectorColumn, narrowed
from lvmfast.leaks.evidence import NO_POSITION
from lvmfast.leaks.tally import Rows

Codes = npt.NDArray[np.uint8]
Values = TypeVar("Values", bound=npt.NDArray[Any])


@dataclass(frozen=True)
class Cells:
    """Consecutive cells of one side, and how their numbers lead back to rows."""

    vectors: Vectors  #: (k, d)
    first_row: int  #: dataset row of the first cell
    length: int | None = None  #: cells per row; None for targets, one per row
    places: Rows | None = None  #: (cells,) which of the vectors each holds; None for all in their order

    @classmethod
    def of(cls, column: VectorColumn, first_row: int) -> Cells:
        """The cells of targets or windows; vectors stand in the order of the first cells that hold them."""
        vectors, places = column.distinct()
        return cls(vectors, first_row, column.shape[1] if len(column.shape) == 2 else None, places)

    def __len__(self) -> int:
        """Cells."""
        return len(self.vectors if self.places is None else self.places)

    def numbered_on(self) -> Cells:
        """The same cells, numbered through all rows: each counts as a row."""
        return replace(self, first_row=self.first_row * (self.length or 1), length=None)

    def sliced(self, start: int, stop: int) -> Cells:
        """Cells `start` to `stop`, with their vectors alone; they no longer know their rows' places."""
        if start == 0 and stop == len(self):
            return self
        if self.places is None:
            return replace(self, vectors=self.vectors[start:stop])
        vectors, places = narrowed(self.vectors, self.places[start:stop])
        return replace(self, vectors=vectors, places=places)

    def of_each(self, of_vectors: Values) -> Values:
        """What is known of each vector, (k, ...), for each cell."""
        return of_vectors if self.places is None else of_vectors[self.places]  # type: ignore[return-value]

    def rows(self, cells: Rows) -> Rows:
        """The dataset row of each cell."""
        return self.first_row + (cells if self.length is None else cells // self.length)

    def positions(self, cells: Rows) -> Rows:
        """The place in the window of each cell, NO_POSITION for targets."""
        if self.length is None:
            return np.full(len(cells), NO_POSITION, np.int64)
        return cells % self.length


def shared_out(row: Rows, places: Rows, vectors: int) -> tuple[Rows, Rows]:
    """Every cell has the hits of its vector.

    Args:
        row: the vector of each hit, ascending.
        places: the vector of each cell, below `vectors`.
        vectors: how many there are.

    Returns:
        For each hit of a cell the cell, ascending, and which of the hits of the vectors it is.
    """
    count = np.bincount(row, minlength=vectors)
    begin = np.cumsum(count) - count
    per_cell = count[places]
    ends = np.cumsum(per_cell)
    source = np.arange(per_cell.sum()) + np.repeat(begin[places] - (ends - per_cell), per_cell)
    return np.repeat(np.arange(len(places)), per_cell), source
