"""Rows of Arrow arrays of any type: also of views and runs, of which Arrow takes none."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.arrow_types import is_list_view, plain, runs_of
from lvmfast.corpus.plain import arrow_numbers

Places = npt.NDArray[np.int64]


def take_rows(batch: pa.RecordBatch, places: Places) -> pa.RecordBatch:
    """The rows of `batch` at `places`, ascending, one as often as it stands there.

    The batch itself where that is all and it holds no more.

    Raises:
        pa.ArrowNotImplementedError: a union of what Arrow does not take.
    """
    whole = np.array_equal(places, np.arange(batch.num_rows))
    arrays = []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        try:
            kept = array if whole and not _shares_bytes(array.type) else take(array, places)
        except pa.ArrowNotImplementedError as error:
            raise pa.ArrowNotImplementedError(f"{name}: {error}") from error
        arrays.append(kept)
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def take(array: pa.Array, places: Places) -> pa.Array:
    """The elements at `places`, in an array that holds nothing else."""
    type_ = array.type
    if not _shares_bytes(type_):
        return array.take(arrow_numbers(places))
    if isinstance(type_, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(type_, take(array.storage, places))
    if pa.types.is_string_view(type_) or pa.types.is_binary_view(type_):
        return plain(array).take(arrow_numbers(places)).cast(type_)
    if pa.types.is_run_end_encoded(type_):
        return _runs(array, places)
    if pa.types.is_struct(type_):
        fields = [take(array.field(place), places) for place in range(type_.num_fields)]
        return pa.StructArray.from_arrays(fields, fields=list(type_), mask=_mask(array, places))
    if is_list_view(type_) or (pa.types.is_nested(type_) and not pa.types.is_union(type_)):
        return _lists(array, places)
    raise pa.ArrowNotImplementedError(f"rows of {type_} cannot be taken")


def _shares_bytes(type_: pa.DataType) -> bool:
    """Whether arrays of `type_` hold more than their elements, however they are cut, or Arrow takes none."""
    if isinstance(type_, pa.BaseExtensionType):
        return _shares_bytes(type_.storage_type)
    if pa.types.is_string_view(type_) or pa.types.is_binary_view(type_) or is_list_view(type_):
        return True
    if pa.types.is_run_end_encoded(type_):
        return True
    return any(_shares_bytes(type_.field(place).type) for place in range(type_.num_fields))


def _mask(array: pa.Array, places: Places) -> pa.Array | None:
    absent = ~np.asarray(array.is_valid())[places]
    return pa.array(absent) if absent.any() else None


def _runs(array: pa.RunEndEncodedArray, places: Places) -> pa.Array:
    type_, of_each = array.type, runs_of(array)[places]
    starts = np.flatnonzero(np.diff(of_each, prepend=-1))
    ends = pa.array(np.append(starts[1:], len(places))[: len(starts)], type_.run_end_type)
    return pa.RunEndEncodedArray.from_arrays(ends, take(array.values, of_each[starts]), type=type_)


def _lists(array: Any, places: Places) -> pa.Array:
    """Lists of any kind: the items of those at `places`, one list behind the other."""
    type_, mask = array.type, _mask(array, places)
    if pa.types.is_fixed_size_list(type_):
        size = type_.list_size
        items = ((array.offset + places)[:, None] * size + np.arange(size)).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(take(array.values, items), type=type_, mask=mask)
    offsets = np.asarray(array.offsets).astype(np.int64)
    sizes = np.asarray(array.sizes).astype(np.int64) if is_list_view(type_) else np.diff(offsets)
    lengths = np.where(np.asarray(array.is_valid()), sizes, 0)[places]
    ends = np.cumsum(lengths)
    items = np.repeat(offsets[places] - (ends - lengths), lengths) + np.arange(lengths.sum())
    wide = pa.types.is_large_list(type_) or pa.types.is_large_list_view(type_)
    width = pa.int64() if wide else pa.int32()
    starts = pa.array(np.concatenate([[0], ends]), width)
    if pa.types.is_map(type_):
        keys, values = take(array.keys, items), take(array.items, items)
        return pa.MapArray.from_arrays(starts, keys, values, type=type_, mask=mask)
    taken = take(array.values, items)
    if not is_list_view(type_):
        kind = pa.LargeListArray if wide else pa.ListArray
        return kind.from_arrays(starts, taken, type=type_, mask=mask)
    view = pa.LargeListViewArray if wide else pa.ListViewArray
    return view.from_arrays(starts[:-1], pa.array(lengths, width), taken, type=type_, mask=mask)
