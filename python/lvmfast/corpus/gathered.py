"""`GatheredArray`: an array whose rows stand somewhere else, and are named by number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.array_source import ArraySource, ReadRows
from lvmfast.errors import DataError

_SLAB_ROWS = 8192

#: Reads rows start to stop of several arrays: the values that they name, and each one's numbers of these.
ReadNumbered = Callable[[int, int], tuple[npt.NDArray[Any], list[npt.NDArray[np.int64]]]]


class GatheredArray:
    """Rows of `values`, by the row numbers at `positions` of each window."""

    pickled = False

    def __init__(self, values: ArraySource, windows: ArraySource, positions: int | slice, where: str) -> None:
        """Nothing is read before `opened`; `where` names the windows, and `values` are read by row."""
        self.dtype = values.dtype
        length = (windows.shape[1] - 1,) if isinstance(positions, slice) else ()
        self.shape: tuple[int, ...] = (windows.shape[0], *length, *values.shape[1:])
        self.values, self.windows, self.positions = values, windows, positions
        self._where = where

    @contextmanager
    def opened(self) -> Iterator[ReadRows]:
        """As `ArraySource.opened`.

        Raises:
            DataError: from the reads, when a window names a row that is not there.
        """
        with opened_together([self]) as read_numbered:

            def read(start: int, stop: int) -> npt.NDArray[Any]:
                values, (numbers,) = read_numbered(start, stop)
                gathered: npt.NDArray[Any] = values[numbers]
                return gathered

            yield read

    def check(self, numbers: npt.NDArray[Any], start: int) -> None:
        """Holds windows, numbered from `start`, to the rows that are there.

        Raises:
            DataError: one names a row that is not there.
        """
        rows = self.values.shape[0]
        wrong = np.argwhere((numbers < 0) | (numbers >= rows))
        if len(wrong):
            row, place = wrong[0]
            raise DataError(
                f"{self._where}: row {start + row}: expected rows of chunk_vectors below {rows}, "
                f"got {numbers[row, place]}"
            )


@contextmanager
def opened_together(arrays: Sequence[GatheredArray]) -> Iterator[ReadNumbered]:
    """Arrays of the same values and windows, ready to be read from row 0, each value once.

    Windows of neighbouring rows, as they are written, are read at once.

    Raises:
        DataError: from the reads, when a window names a row that is not there.
    """
    first = arrays[0]
    with first.values.opened() as read_values, first.windows.opened() as read_windows:

        def read(start: int, stop: int) -> tuple[npt.NDArray[Any], list[npt.NDArray[np.int64]]]:
            windows = read_windows(start, stop)
            first.check(windows, start)
            parts = [windows[:, array.positions] for array in arrays]
            wanted, places = np.unique(np.concatenate([p.reshape(-1) for p in parts]), return_inverse=True)
            ends = np.cumsum([part.size for part in parts])[:-1]
            numbers = np.split(places.reshape(-1).astype(np.int64, copy=False), ends)
            numbers = [of.reshape(part.shape) for of, part in zip(numbers, parts, strict=True)]
            return _rows(read_values, wanted, first), numbers

        yield read


def _rows(read_values: ReadRows, wanted: npt.NDArray[Any], of: GatheredArray) -> npt.NDArray[Any]:
    """The ascending rows `wanted`, read slab by slab: far-apart rows do not fill the memory."""
    if len(wanted) and int(wanted[-1]) - int(wanted[0]) == len(wanted) - 1:
        return read_values(int(wanted[0]), int(wanted[-1]) + 1)
    rows = np.empty((len(wanted), *of.values.shape[1:]), of.dtype)
    low = 0
    while low < len(wanted):
        first = int(wanted[low])
        high = int(np.searchsorted(wanted, first + _SLAB_ROWS))
        last = int(wanted[high - 1])
        rows[low:high] = read_values(first, last + 1)[wanted[low:high] - first]
        low = high
    return rows
