"""Arrow arrays of plain numbers and texts, made from buffers.

`pyarrow.array` and `to_numpy` import pandas wherever it is installed, whatever they convert. That takes as
long as scanning some 100,000 vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_TYPES = {np.dtype(np.int64): pa.int64(), np.dtype(np.float64): pa.float64()}


def arrow_numbers(values: npt.NDArray[Any], absent: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """The array of int64 or float64 `values`, (n,), null where `absent`. What is contiguous is not copied.

    Raises:
        KeyError: the values are of another type.
    """
    valid = None
    if absent is not None and absent.any():
        valid = pa.py_buffer(np.packbits(~absent, bitorder="little"))
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(_TYPES[values.dtype], len(values), [valid, data])


def arrow_texts(values: Sequence[str]) -> pa.Array:
    """The string array of `values`, under 2 GiB in all."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)]).astype(np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(encoded), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    )


def numpy_numbers(values: pa.Array) -> npt.NDArray[Any]:
    """A read-only view of an array of numbers without nulls."""
    return np.from_dlpack(values)
