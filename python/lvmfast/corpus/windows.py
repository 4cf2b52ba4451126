"""The chunk-matrix layout: every vector once, and windows of row numbers in place of copied contexts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.arrays import ArraySource, ReadRows
from lvmfast.corpus.npy import StoredArray
from lvmfast.errors import DataError

#: (m, d) float: the vector of every chunk.
VECTORS = "chunk_vectors"
#: (m, >= 2) integers: article and chunk.
KEYS = "chunk_keys"
#: (n, length + 1) integers: rows of the two above, the context in order and the target last.
WINDOWS = "windows"

_SLAB_ROWS = 8192


def windowed(path: str, sources: Mapping[str, ArraySource]) -> dict[str, ArraySource]:
    """The arrays of a chunk-matrix file under the names of a file that holds copies.

    Raises:
        DataError: an array is missing, compressed, or of another shape or dtype than the layout has.
    """
    vectors, keys, windows = (sources.get(name) for name in (VECTORS, KEYS, WINDOWS))
    for name, source in ((VECTORS, vectors), (KEYS, keys), (WINDOWS, windows)):
        if source is None:
            raise DataError(f"{path}: {name} is missing: the layout has {VECTORS}, {KEYS} and {WINDOWS}")
        if len(source.shape) != 2 or (name != VECTORS and source.dtype.kind not in "iu"):
            expected = "(m, d) float" if name == VECTORS else "2-d integers"
            raise DataError(f"{path}: {name}: expected {expected}, got {tuple(source.shape)} {source.dtype}")
        if name != WINDOWS and not isinstance(source, StoredArray):
            raise DataError(f"{path}: {name}: expected to be stored without compression: it is read by row")
    assert isinstance(vectors, StoredArray)
    assert isinstance(keys, StoredArray)
    assert windows is not None
    if vectors.shape[0] != keys.shape[0]:
        raise DataError(
            f"{path}: {KEYS}: expected {vectors.shape[0]} rows as in {VECTORS}, got {keys.shape[0]}"
        )
    if windows.shape[1] < 2:
        raise DataError(f"{path}: {WINDOWS}: expected a context and a target, got {windows.shape[1]} per row")
    rest = {name: source for name, source in sources.items() if name not in (VECTORS, KEYS, WINDOWS)}
    where = f"{path}: {WINDOWS}"
    return {
        **rest,
        "truth_keys": GatheredArray(keys, windows, -1, where),
        "targets": GatheredArray(vectors, windows, -1, where),
        "contexts": GatheredArray(vectors, windows, slice(None, -1), where),
    }


class GatheredArray:
    """Rows of `values`, by the row numbers at `positions` of each window."""

    pickled = False

    def __init__(self, values: StoredArray, windows: ArraySource, positions: int | slice, where: str) -> None:
        """Nothing is mapped before `opened`."""
        self.dtype = values.dtype
        length = (windows.shape[1] - 1,) if isinstance(positions, slice) else ()
        self.shape: tuple[int, ...] = (windows.shape[0], *length, *values.shape[1:])
        self.values, self.windows = values, windows
        self._positions, self._where = positions, where

    @contextmanager
    def opened(self) -> Iterator[ReadRows]:
        """As `ArraySource.opened`. Windows of neighbouring rows, as they are written, are read at once.

        Raises:
            DataError: from the reads, when a window names a row that is not there.
        """
        with self.values.opened() as read_values, self.windows.opened() as read_windows:

            def read(start: int, stop: int) -> npt.NDArray[Any]:
                numbers = read_windows(start, stop)
                self.check(numbers, start)
                return self._gathered(read_values, numbers[:, self._positions])

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
                f"{self._where}: row {start + row}: expected rows of {VECTORS} below {rows}, "
                f"got {numbers[row, place]}"
            )

    def _gathered(self, read_values: ReadRows, numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The rows `numbers`, of any shape, read slab by slab: far-apart rows do not fill the memory."""
        wanted, places = np.unique(numbers, return_inverse=True)
        rows = np.empty((len(wanted), *self.values.shape[1:]), self.dtype)
        low = 0
        while low < len(wanted):
            first = int(wanted[low])
            high = int(np.searchsorted(wanted, first + _SLAB_ROWS))
            last = int(wanted[high - 1])
            rows[low:high] = read_values(first, last + 1)[wanted[low:high] - first]
            low = high
        gathered: npt.NDArray[Any] = rows[places.reshape(numbers.shape)]
        return gathered
