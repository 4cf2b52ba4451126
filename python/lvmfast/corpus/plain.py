"""Arrow arrays of plain numbers and texts, made from buffers.

`pyarrow.array` and `to_numpy` import pandas wherever it is installed, whatever they convert, and `take` the
compute functions. That takes as long as scanning some 100,000 vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.errors import DataError

_MOST_TEXT = 2**31 - 1
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


def arrow_texts(
    values: Sequence[str], places: npt.NDArray[np.int64], absent: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """The string array of the values at `places`, (n,), null where `absent`: fast where neighbours are alike.

    Raises:
        DataError: it would take 2 GiB.
    """
    encoded = [*(value.encode() for value in values), b""]
    valid = None
    if absent is not None and absent.any():
        valid = pa.py_buffer(np.packbits(~absent, bitorder="little"))
        places = np.where(absent, len(values), places)
    ends = np.cumsum(np.r_[0, np.array([len(value) for value in encoded])[places]])
    if ends[-1] > _MOST_TEXT:
        raise DataError(f"{len(places)} rows name {ends[-1]} bytes of texts, over {_MOST_TEXT}")
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    runs = np.diff(starts, append=len(places))
    data = b"".join(encoded[i] * n for i, n in zip(places[starts].tolist(), runs.tolist(), strict=True))
    offsets = pa.py_buffer(ends.astype(np.int32))
    return pa.Array.from_buffers(pa.string(), len(places), [valid, offsets, pa.py_buffer(data)])


def numpy_numbers(values: pa.Array) -> npt.NDArray[Any]:
    """A read-only view of an array of numbers without nulls."""
    return np.from_dlpack(values)
