"""Arrow arrays of plain numbers and texts, made from buffers.

`pyarrow.array` and `to_numpy` import pandas wherever it is installed, whatever they convert, and `take` the
compute functions. That takes as long as scanning some 100,000 vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.errors import DataError

Number = TypeVar("Number", bound=np.integer[Any])

_MOST_TEXT = 2**31 - 1
_TYPES = {np.dtype(np.int32): pa.int32(), np.dtype(np.int64): pa.int64(), np.dtype(np.float64): pa.float64()}


def arrow_numbers(values: npt.NDArray[Any], absent: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """The array of int32, int64 or float64 `values`, (n,), null where `absent`; not copied if contiguous.

    Raises:
        KeyError: the values are of another type.
    """
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(_TYPES[values.dtype], len(values), [_validity(absent), data])


def arrow_texts(
    values: Sequence[str], places: npt.NDArray[np.int64], absent: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """The string array of the values at `places`, (n,), null where `absent`: fast where neighbours are alike.

    Raises:
        DataError: it would take 2 GiB.
    """
    encoded = [*(value.encode() for value in values), b""]
    if absent is not None:
        places = np.where(absent, len(values), places)
    ends = np.cumsum(np.r_[0, np.array([len(value) for value in encoded])[places]])
    if ends[-1] > _MOST_TEXT:
        raise DataError(f"{len(places)} rows name {ends[-1]} bytes of texts, over {_MOST_TEXT}")
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    runs = np.diff(starts, append=len(places))
    data = b"".join(encoded[i] * n for i, n in zip(places[starts].tolist(), runs.tolist(), strict=True))
    offsets = pa.py_buffer(ends.astype(np.int32))
    return pa.Array.from_buffers(pa.string(), len(places), [_validity(absent), offsets, pa.py_buffer(data)])


def arrow_large_texts(values: Sequence[str | None]) -> pa.Array:
    """The large_string array of `values`, (n,), null where one is None."""
    encoded = [(value or "").encode() for value in values]
    valid = _validity(np.array([value is None for value in values], np.bool_))
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    data = pa.py_buffer(b"".join(encoded))
    return pa.Array.from_buffers(pa.large_string(), len(encoded), [valid, pa.py_buffer(ends), data])


def _validity(absent: npt.NDArray[np.bool_] | None) -> pa.Buffer | None:
    if absent is None or not absent.any():
        return None
    return pa.py_buffer(np.packbits(~absent, bitorder="little"))


def arrow_scalar(value: str | int) -> pa.Scalar:
    """A string or an int64 for a compute function, which makes one of a plain value by way of pandas."""
    if isinstance(value, str):
        return arrow_texts([value], np.zeros(1, np.int64))[0]
    return arrow_numbers(np.array([value], np.int64))[0]


def null_rows(array: pa.Array) -> npt.NDArray[np.bool_]:
    """(n,) where an array is null."""
    validity = array.buffers()[0]
    if validity is None or not array.null_count:
        return np.full(len(array), array.null_count > 0)  # of the type null, which has no buffer
    bits = np.frombuffer(validity, np.uint8)
    valid = np.unpackbits(bits, count=array.offset + len(array), bitorder="little")[array.offset :]
    return np.logical_not(valid)


def without_nulls(texts: pa.Array) -> pa.Array:
    """The texts of an array of large_string, empty where it is null: itself if it has no null."""
    if not texts.null_count:
        return texts
    _, ends, data = texts.buffers()
    lengths = np.diff(np.frombuffer(ends, np.int64)[texts.offset : texts.offset + len(texts) + 1])
    if lengths[null_rows(texts)].any():
        return texts.fill_null(arrow_scalar("").cast(texts.type))
    return pa.Array.from_buffers(texts.type, len(texts), [None, ends, data], offset=texts.offset)


def of_type(array: pa.Array, arrow_type: pa.DataType) -> pa.Array:
    """The values of an array in a type, itself if it has that: `cast` loads the compute functions."""
    return array if array.type == arrow_type else array.cast(arrow_type)


def distinct_numbers(parts: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """The values of some arrays in order, each once."""
    return distinct(np.concatenate([np.empty(0, np.int64), *parts]))


def distinct(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """The values of an array of integers in order, each once.

    `numpy.unique` imports masked arrays, and hashes: of many distinct values that takes ten times as long.
    """
    values = np.sort(values, axis=None)
    return np.compress(np.diff(values, prepend=values[:1] - 1), values)


def numpy_numbers(values: pa.Array) -> npt.NDArray[Any]:
    """A read-only view of an array of numbers without nulls."""
    return np.from_dlpack(values)
