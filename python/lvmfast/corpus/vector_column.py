"""`VectorColumn`: the vectors of some rows, where one vector may stand in many places and is held once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class VectorColumn:
    """One vector a row, or a window of them."""

    values: npt.NDArray[np.float32]  #: (k, d), C-contiguous
    shape: tuple[int, ...]  #: (rows,) or (rows, length) places, each of which holds one of `values`
    numbers: npt.NDArray[np.int64] | None = (
        None  #: which, in the `shape`; None for all of them in their order
    )

    @classmethod
    def of(cls, array: npt.NDArray[np.float32]) -> VectorColumn:
        """(rows, d) or (rows, length, d) values, without a copy."""
        *shape, dim = array.shape
        return cls(array.reshape(-1, dim), tuple(shape))

    def __len__(self) -> int:
        """Rows."""
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the values and of their numbers."""
        return self.values.nbytes + (0 if self.numbers is None else self.numbers.nbytes)

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> VectorColumn:
        """Some rows: of a slice a view, and otherwise no more copied than was held once for each place."""
        if self.numbers is not None:
            numbers = self.numbers[rows]
            return VectorColumn(self.values, numbers.shape, numbers)
        return VectorColumn.of(self.array[rows])

    @cached_property
    def array(self) -> npt.NDArray[np.float32]:
        """(rows, d) or (rows, length, d): every place with a vector of its own."""
        if self.numbers is None:
            return self.values.reshape(*self.shape, self.values.shape[-1])
        return self.values[self.numbers]

    def distinct(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | None]:
        """The vectors that stand somewhere, in the order of their first places, and the one of each place.

        The places are counted row by row. None for them says that each vector stands in one, in order.
        """
        if self.numbers is None:
            return self.values, None
        return narrowed(self.values, self.numbers.reshape(-1))


def narrowed(
    values: npt.NDArray[np.float32], numbers: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Those of `values`, (k, d), that `numbers`, (places,), names, in the order in which it names them first.

    Returns:
        They, and for each place the one that stands there.
    """
    first = np.full(len(values), -1, np.int64)
    first[numbers[::-1]] = np.arange(len(numbers))[::-1]  # the last assignment stays: that of the first place
    named = np.flatnonzero(first >= 0)
    order = named[np.argsort(first[named])]
    if len(order) == len(values) and bool((order[1:] > order[:-1]).all()):
        return values, numbers
    rank = np.empty(len(values), np.int64)
    rank[order] = np.arange(len(order))
    return values[order], rank[numbers]
