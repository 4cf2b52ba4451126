"""What compares the vectors of two sides, wherever it computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.keys import Keys

#: Row, group and cosine of every hit, then the usability code and the key of every row (or zeros).
Scanned = tuple[Rows, Rows, npt.NDArray[np.float64], npt.NDArray[np.uint8], Keys]


class NearIndex(Protocol):
    """Distinct rows of one side to scan against; `_core.NearIndex` says what each member gives."""

    def add(self, rows: Vectors) -> npt.NDArray[np.uint8]:
        """Adds (n, d) rows."""
        ...

    def scan(self, rows: Vectors, every_key: bool = True) -> Scanned:
        """Scans an (n, d) block; rows without a hit have a key where every row is to have one."""
        ...

    def pairs(
        self, most: int, progress: Callable[[int], object]
    ) -> tuple[Rows, Rows, npt.NDArray[np.float64], int] | None:
        """The pairs of the index's own groups, or None where they must be scanned for in blocks."""
        ...

    def seek(self, rows: Vectors, first_row: int) -> npt.NDArray[np.uint8]:
        """Takes an (n, d) block into the search for the nearest row of every group."""
        ...

    def nearest(self) -> tuple[npt.NDArray[np.float64], Rows]:
        """Cosine and row of the nearest row of every group."""
        ...

    @property
    def group_of_row(self) -> Rows:
        """The group of every added row."""
        ...

    @property
    def group_count(self) -> int:
        """Distinct usable rows."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes held in the memory of the host."""
        ...
