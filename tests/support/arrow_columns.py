"""Arrow columns of every type, made of plain Python values: what the tests of types go through."""

from __future__ import annotations

import decimal
import json
import uuid

import numpy as np
import pyarrow as pa


def encoded(values, type_, index=None):
    """`values` as a dictionary of `type_` whose entries stand in another order than they appear in."""
    entries = sorted(set(values), reverse=True)
    places = [entries.index(value) for value in values]
    return pa.DictionaryArray.from_arrays(pa.array(places, index or pa.int16()), pa.array(entries, type_))


def runs(array):
    """`array` as runs of two, so that every value stands twice."""
    ends = pa.array(np.arange(2, 2 * len(array) + 1, 2), pa.int32())
    return pa.RunEndEncodedArray.from_arrays(ends, array)


def in_runs(values, type_):
    """`values` as runs of one, but for a last entry of two that is sliced off."""
    ends = pa.array([*range(1, len(values)), len(values) + 1], pa.int16())
    return pa.RunEndEncodedArray.from_arrays(ends, pa.array(values, type_)).slice(0, len(values))


def digest(number):
    return (number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128 | 0x80 << 120).to_bytes(16, "big")


def of_uuids(numbers):
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array([digest(n) for n in numbers], pa.binary(16)))


def of_json(values):
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array([json.dumps(v) for v in values]))


def decimals(type_):
    return lambda numbers: pa.array([decimal.Decimal(n) for n in numbers], type_)


def integers(type_):
    return lambda numbers: pa.array(list(numbers), type_)


def names(type_):
    return lambda numbers: pa.array([f"d{n}" for n in numbers], type_)


def name_bytes(type_):
    return lambda numbers: pa.array([f"d{n:03}".encode() for n in numbers], type_)


def digests(type_):
    return lambda numbers: pa.array([digest(n) for n in numbers], type_)


def as_number(number):
    return str(number)


def as_name(number):
    return f"d{number}"


def as_padded_name(number):
    return f"d{number:03}"


def as_hex(number):
    return digest(number).hex()


def as_uuid(number):
    return str(uuid.UUID(bytes=digest(number)))


#: Ids of the numbers 0, 1, ... in a type, and how everybody prints them.
IDS = {
    **{str(type_): (integers(type_), as_number) for type_ in (
        pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(),
    )},
    "uint64 beyond int64": (
        lambda numbers: pa.array([2**63 + n for n in numbers], pa.uint64()),
        lambda n: str(2**63 + n),
    ),
    "decimal32": (decimals(pa.decimal32(9, 0)), as_number),
    "decimal64": (decimals(pa.decimal64(18, 0)), as_number),
    "decimal128": (decimals(pa.decimal128(38, 0)), as_number),
    "decimal256": (
        lambda numbers: pa.array([decimal.Decimal(10**60 + n) for n in numbers], pa.decimal256(76, 0)),
        lambda n: str(10**60 + n),
    ),
    "string": (names(pa.string()), as_name),
    "large_string": (names(pa.large_string()), as_name),
    "string_view": (names(pa.string_view()), as_name),
    "binary": (name_bytes(pa.binary()), as_padded_name),
    "large_binary": (name_bytes(pa.large_binary()), as_padded_name),
    "binary_view": (name_bytes(pa.binary_view()), as_padded_name),
    "fixed_size_binary": (name_bytes(pa.binary(4)), as_padded_name),
    "binary digest": (digests(pa.binary()), as_hex),
    "binary_view digest": (digests(pa.binary_view()), as_hex),
    "fixed_size_binary digest": (digests(pa.binary(16)), as_hex),
    "dictionary of string": (lambda numbers: encoded([f"d{n}" for n in numbers], pa.string()), as_name),
    "dictionary of string_view": (
        lambda numbers: encoded([f"d{n}" for n in numbers], pa.string_view(), pa.uint32()),
        as_name,
    ),
    "dictionary of int64": (lambda numbers: encoded(list(numbers), pa.int64()), as_number),
    "dictionary of digests": (lambda numbers: encoded([digest(n) for n in numbers], pa.binary(16)), as_hex),
    "runs of int64": (lambda numbers: in_runs(list(numbers), pa.int64()), as_number),
    "runs of string_view": (
        lambda numbers: in_runs([f"d{n}" for n in numbers], pa.string_view()),
        as_name,
    ),
    "arrow.uuid": (of_uuids, as_uuid),
    "arrow.json strings": (lambda numbers: of_json([f"d{n}" for n in numbers]), as_name),
    "arrow.json integers": (of_json, as_number),
    "arrow.opaque": (
        lambda numbers: pa.ExtensionArray.from_storage(
            pa.opaque(pa.string(), "citext", "postgres"), names(pa.string())(numbers)
        ),
        as_name,
    ),
}  # fmt: skip

#: Texts in a type.
TEXTS = {
    "string": lambda texts: pa.array(texts, pa.string()),
    "large_string": lambda texts: pa.array(texts, pa.large_string()),
    "string_view": lambda texts: pa.array(texts, pa.string_view()),
    "binary": lambda texts: pa.array([t.encode() for t in texts], pa.binary()),
    "large_binary": lambda texts: pa.array([t.encode() for t in texts], pa.large_binary()),
    "binary_view": lambda texts: pa.array([t.encode() for t in texts], pa.binary_view()),
    "dictionary of string": lambda texts: encoded(texts, pa.string()),
    "dictionary of large_string": lambda texts: encoded(texts, pa.large_string()),
    "dictionary of string_view": lambda texts: encoded(texts, pa.string_view(), pa.uint32()),
    "dictionary of binary_view": lambda texts: encoded([t.encode() for t in texts], pa.binary_view()),
    "runs of string": lambda texts: in_runs(texts, pa.string()),
    "runs of string_view": lambda texts: in_runs(texts, pa.string_view()),
    "arrow.json": of_json,
}


def lists(kind, leaf=None):
    """(n, ..., d) values as lists of `kind` around `leaf`."""

    def made(values):
        array = pa.array(values.reshape(-1))
        array = leaf(array) if leaf else array
        for size in reversed(values.shape[1:]):
            starts = np.arange(0, len(array) + 1, size)
            if kind == "fixed_size_list":
                array = pa.FixedSizeListArray.from_arrays(array, size)
            elif kind == "list":
                array = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), array)
            elif kind == "large_list":
                array = pa.LargeListArray.from_arrays(pa.array(starts, pa.int64()), array)
            else:
                large = kind == "large_list_view"
                width = pa.int64() if large else pa.int32()
                view = pa.LargeListViewArray if large else pa.ListViewArray
                sizes = np.full(len(starts) - 1, size)
                array = view.from_arrays(pa.array(starts[:-1], width), pa.array(sizes, width), array)
        return array

    return made


def tensors(values):
    """(n, ...) values as fixed-shape tensors."""
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))


def turned_tensors(values):
    """The same, stored with their dimensions in reverse."""
    order = list(range(values.ndim - 1))[::-1]
    stored = np.ascontiguousarray(values.transpose(0, *(axis + 1 for axis in order)))
    type_ = pa.fixed_shape_tensor(
        pa.array(values.reshape(-1)[:0]).type,
        list(stored.shape[1:]),
        dim_names=[f"axis{axis}" for axis in order],
        permutation=order,
    )
    storage = pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), stored[0].size)
    return pa.ExtensionArray.from_storage(type_, storage)


def listed_encoded(values):
    """Lists, each an entry of a dictionary."""
    return pa.DictionaryArray.from_arrays(pa.array(range(len(values)), pa.int32()), lists("list")(values))


#: Vectors, or windows of them, in a type.
VECTORS = {
    **{
        kind: lists(kind)
        for kind in ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
    },
    "dictionary of lists": listed_encoded,
    "lists of dictionaries": lists("list", lambda leaf: leaf.dictionary_encode()),
    "lists of runs": lists("list", lambda leaf: runs(leaf.take(pa.array(range(0, len(leaf), 2))))),
    "fixed_shape_tensor": tensors,
    "fixed_shape_tensor turned": turned_tensors,
}
#: The numbers in them.
LEAVES = ("float16", "float32", "float64", "int8", "uint8", "int16", "uint16")
