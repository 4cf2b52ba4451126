"""Python values and arrays of any kind become fields of a parquet file, a run of rows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.values import (
    MAX_ROW_BYTES,
    float32_rows,
    ids_from_values,
    is_vector_dtype,
    text_from_values,
)
from lvmfast.errors import DataError

#: Python values in a row each.
Values = Sequence[Any] | npt.NDArray[Any]


@dataclass(frozen=True)
class Field:
    """A field of the parquet file: its rows, to be read forward, and about how many bytes each has."""

    read: Callable[[int, int], pa.Array]
    row_bytes: Callable[[int], int]


def from_array(block: npt.NDArray[Any], where: str, start: int) -> pa.Array:
    """The rows of an array of any number of axes."""
    if block.dtype.kind in "UST":
        values = text_from_values(block.reshape(-1).tolist(), where, start)
    elif is_vector_dtype(block.dtype) and block.dtype.itemsize < 8:
        values = pa.array(float32_rows(block).reshape(-1))
    else:
        values = pa.array(np.ascontiguousarray(block, block.dtype.newbyteorder("=")).reshape(-1))
    for size in reversed(block.shape[1:]):
        values = pa.FixedSizeListArray.from_arrays(values, size)
    return values


def first_value(values: Iterable[Any]) -> Any:
    """The first value that is there."""
    return next((value for value in values if not _is_null(value)), None)


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _no_nans(values: Iterable[Any]) -> list[Any]:
    return [None if _is_null(value) else value for value in values]


def _text_bytes(value: Any) -> int:
    return 4 * len(value) if isinstance(value, (str, bytes)) else 8


def text_field(values: Values, where: str) -> Field:
    """Texts and nulls."""

    def read(start: int, stop: int) -> pa.Array:
        return text_from_values(_no_nans(values[start:stop]), where, start)

    return Field(read, lambda row: _text_bytes(values[row]))


def id_field(values: Values, where: str) -> Field:
    """Ids and nulls: int64 where all of them are."""
    whole = all(_is_null(value) or (type(value) is int and -(2**63) <= value < 2**63) for value in values)
    type_ = pa.int64() if whole else pa.large_string()

    def read(start: int, stop: int) -> pa.Array:
        return ids_from_values(_no_nans(values[start:stop]), where, start).cast(type_)

    return Field(read, lambda row: _text_bytes(values[row]))


def vector_field(values: Values, depth: int, where: Callable[[int], str]) -> Field:
    """Vectors (`depth` 1) or windows of them (2), which must all have one shape."""
    like: list[tuple[int, ...]] = []  # the shape of the first one that is there
    type_ = pa.list_(pa.float32()) if depth == 1 else pa.list_(pa.list_(pa.float32()))

    def one(row: int) -> Any:
        value = values[row]
        if _is_null(value):
            return None
        array = _floats(value, depth, where(row))
        if like and array.shape != like[0]:
            expected, got = (shape[0] if depth == 1 else shape for shape in (like[0], array.shape))
            raise DataError(f"{where(row)}: expected {expected} values, got {got}")
        like[:] = [array.shape]
        return array if depth == 1 else list(array)

    return Field(
        lambda start, stop: pa.array([one(row) for row in range(start, stop)], type_),
        lambda row: 4 * _count(values[row]),
    )


def _floats(value: Any, depth: int, where: str) -> npt.NDArray[np.float32]:
    expected = "(d,)" if depth == 1 else "(length, d)"
    if 4 * _count(value) > MAX_ROW_BYTES:
        raise DataError(f"{where}: expected rows of at most {MAX_ROW_BYTES} bytes, got {4 * _count(value)}")
    if depth_of(value) > 2:
        raise DataError(f"{where}: expected {expected} floats, got {type(value).__name__}s nested deeper")
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(value.tolist() if _is_objects(value) else value, dtype=np.float32)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{where}: expected floats, got {type(value).__name__}") from error
    if array.ndim != depth or array.size == 0:
        raise DataError(f"{where}: expected {expected} floats, got {array.shape}")
    return array


def _is_objects(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.hasobject


def depth_of(value: Any, most: int = 3) -> int:
    """How deep lists or arrays nest, by what stands first in them; no deeper than `most`."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.ndim if value.dtype.kind in "iuf" else 0
    if not isinstance(value, (list, tuple, np.ndarray)) or not len(value) or not most:
        return 0
    return 1 + depth_of(value[0], most - 1)


def _count(value: Any, most: int = 3) -> int:
    """How many numbers a value will be, which must hold the same number at every place."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value.size
    if not isinstance(value, (list, tuple, np.ndarray)) or not most:
        return 1
    return len(value) * _count(value[0], most - 1) if len(value) else 0
