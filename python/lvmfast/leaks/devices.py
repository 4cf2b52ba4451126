"""Where vectors are compared: the core's own kernels, or a GPU. The pairs and the scores are the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.keys import Keys
from lvmfast.errors import DataError
from lvmfast.leaks.options import ScanOptions

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


def near_index(dim: int, options: ScanOptions) -> NearIndex:
    """An empty index over (n, dim) rows on the device that `options` names.

    Raises:
        DataError: as `device_name`, or the rows are too wide for the device's bound.
    """
    if options.device == "cpu":
        return _core.NearIndex(dim, options.threshold, options.threads)
    from lvmfast.leaks.torch_near import TorchNearIndex, open_device

    return TorchNearIndex(dim, options.threshold, options.threads, open_device(options.device))


def device_name(device: str) -> str:
    """What `device` is, for the record of a run: ``cpu``, or ``cuda:0 (...)`` with the name of the GPU.

    Raises:
        DataError: it is neither cpu nor cuda, torch is missing or too old, or it sees no such GPU.
    """
    if device == "cpu":
        return device
    if re.fullmatch(r"cuda(:\d{1,4})?", device) is None:
        raise DataError(f"device: expected cpu, cuda or cuda:N, got {device!r}")
    from lvmfast.leaks.torch_near import describe_device, open_device

    return describe_device(open_device(device))
