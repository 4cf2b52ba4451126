"""Arrow's types without their wrappers: dictionaries, runs, views and extensions become what they hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.plain import arrow_numbers


def meant_type(type_: pa.DataType) -> pa.DataType:
    """The type of the values of a column, however they are encoded: extensions still tell what they mean."""
    while pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_):
        type_ = type_.value_type
    return type_


def extension_name(type_: pa.DataType) -> str | None:
    """``arrow.uuid`` and the like; None for a type that is no extension, or one that only Python knows."""
    return getattr(type_, "extension_name", None) if isinstance(type_, pa.BaseExtensionType) else None


def plain_type(type_: pa.DataType) -> pa.DataType:
    """The type of `plain` of an array of `type_`; what lists hold in it may be wrapped still."""
    type_ = meant_type(type_)
    if isinstance(type_, pa.FixedShapeTensorType):
        plain = type_.value_type
        for size in reversed(_logical_shape(type_)):
            plain = pa.list_(plain, size)
        return plain
    if isinstance(type_, pa.BaseExtensionType):
        return plain_type(type_.storage_type)
    if pa.types.is_string_view(type_):
        return pa.large_string()
    if pa.types.is_binary_view(type_):
        return pa.large_binary()
    if is_list_view(type_):
        return pa.large_list(type_.value_field)
    return type_


def plain(array: pa.Array) -> pa.Array:
    """The values of `array` without dictionary, runs, view or extension around them; nulls stay.

    A tensor becomes fixed-size lists, one in the other, in its logical order of dimensions.
    """
    type_ = array.type
    if isinstance(type_, pa.FixedShapeTensorType):
        return _nested(array)
    if isinstance(type_, pa.BaseExtensionType):
        return plain(array.storage)
    if pa.types.is_dictionary(type_):
        return plain(array.dictionary).take(array.indices)
    if pa.types.is_run_end_encoded(type_):
        return plain(array.values).take(arrow_numbers(runs_of(array)))
    if is_list_view(type_):
        return _in_order(array)
    wanted = plain_type(type_)
    return array if wanted is type_ else array.cast(wanted)


def runs_of(array: pa.RunEndEncodedArray) -> npt.NDArray[np.int64]:
    """The run, by its place in ``array.values``, that each element of `array` stands in."""
    ends = np.asarray(array.run_ends).astype(np.int64)
    places = np.arange(array.offset, array.offset + len(array))
    return np.searchsorted(ends, places, side="right").astype(np.int64)


def is_list_view(type_: pa.DataType) -> bool:
    """Whether `type_` is a list whose items may stand anywhere."""
    return bool(pa.types.is_list_view(type_) or pa.types.is_large_list_view(type_))


def is_list(type_: pa.DataType) -> bool:
    """Whether a plain type is a list of any kind."""
    return bool(
        pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)
    )


def leaf_of(type_: pa.DataType) -> tuple[pa.DataType, int]:
    """What the lists of `type_` hold in the end, as it is meant, and how deep they nest."""
    depth = 0
    while is_list(inner := plain_type(type_)):
        depth, type_ = depth + 1, inner.value_type
    return meant_type(type_), depth


def fixed_shape(type_: pa.DataType) -> tuple[int, ...] | None:
    """The shape that a type of fixed-size lists or tensors gives each row; None where rows may differ."""
    sizes: list[int] = []
    while is_list(inner := plain_type(type_)):
        if not pa.types.is_fixed_size_list(inner):
            return None
        sizes.append(inner.list_size)
        type_ = inner.value_type
    return tuple(sizes)


def first_shape(array: pa.Array) -> tuple[int, ...] | None:
    """The shape of the first list of `array` that is not null; a null in it has that of its first sibling."""
    array = plain(array)
    valid = np.flatnonzero(np.asarray(array.is_valid()))
    if not len(valid):
        return None
    items = array.slice(int(valid[0]), 1).flatten()
    if not is_list(plain_type(items.type)):
        return (len(items),)
    return (len(items), *(first_shape(items) or (0,) * leaf_of(items.type)[1]))


def _logical_shape(type_: pa.FixedShapeTensorType) -> list[int]:
    order = type_.permutation or range(len(type_.shape))
    return [type_.shape[axis] for axis in order]


def _in_order(array: pa.ListViewArray | pa.LargeListViewArray) -> pa.Array:
    """The lists of a view, one behind the other. Arrow's own cast reads past the end of its offsets."""
    valid = np.asarray(array.is_valid())
    sizes = np.where(valid, np.asarray(array.sizes), 0).astype(np.int64)
    offsets = arrow_numbers(np.concatenate([[0], np.cumsum(sizes)]))
    mask = None if valid.all() else pa.array(~valid)
    return pa.LargeListArray.from_arrays(offsets, array.flatten(), type=plain_type(array.type), mask=mask)


def _nested(array: pa.FixedShapeTensorArray) -> pa.Array:
    type_, storage = array.type, array.storage
    size = storage.type.list_size
    values = storage.values.slice(storage.offset * size, len(storage) * size)
    order = list(type_.permutation or ())
    if order != sorted(order):
        of_row = np.arange(size).reshape(type_.shape).transpose(order).reshape(-1)
        places = (np.arange(len(storage)) * size)[:, None] + of_row
        values = values.take(arrow_numbers(places.reshape(-1).astype(np.int64)))
    shape = _logical_shape(type_)
    for length in shape[:0:-1]:
        values = pa.FixedSizeListArray.from_arrays(values, length)
    mask = pa.array(~np.asarray(storage.is_valid())) if storage.null_count else None
    return pa.FixedSizeListArray.from_arrays(values, shape[0], mask=mask)
