"""What an `ArraysFile` reads its columns from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

#: Reads rows start to stop of one array. Calls go forward only: start is never below the last stop.
ReadRows = Callable[[int, int], npt.NDArray[Any]]


class ArraySource(Protocol):
    """One array that can be read in blocks of rows: a stored or compressed member, a tensor, a list."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]  #: object for lists of Python values
    pickled: bool  #: whether the values are a pickle in a file, which is refused

    def opened(self) -> AbstractContextManager[ReadRows]:
        """The array, ready to be read from row 0."""
        ...
