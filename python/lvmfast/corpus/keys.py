"""Ids become keys for `_core.KeyTable`: ids compare as decimal text, so 12 and "12" have one key."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.plain import null_rows

Keys = npt.NDArray[np.uint64]
Valid = npt.NDArray[np.bool_]


def id_keys(array: pa.Array, threads: int = 0) -> tuple[Keys, Valid]:
    """Keys of int64 or large_string ids, or of 16-byte values that are keys (`array_of_keys`).

    Returns:
        keys uint64 (n, 2) and valid bool (n,), False where the id is null (its key then means nothing).
    """
    valid: Valid = ~null_rows(array)
    if pa.types.is_int64(array.type):
        start, values = array.offset, array.buffers()[1]
        stored = np.frombuffer(values or b"", np.uint64)[start : start + len(array)]
        integers = np.where(valid, stored, np.uint64(0))
        return np.column_stack((np.zeros_like(integers), integers)), valid
    if is_keys(array):
        return keys_of_array(array), valid
    data, offsets = text_bytes(array)
    return _core.string_keys(data, offsets, threads), valid


KEY_TYPE = pa.binary(16)


def array_of_keys(keys: Keys, index: npt.NDArray[np.integer]) -> pa.Array:
    """The keys at `index` as an array of 16-byte values; null where the index is negative."""
    missing = index < 0
    picked = np.zeros((len(index), 2), np.uint64)
    picked[~missing] = keys[index[~missing]]
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    return pa.Array.from_buffers(KEY_TYPE, len(index), [valid, pa.py_buffer(picked)])


def is_keys(array: pa.Array) -> bool:
    """Whether the values are keys already."""
    return bool(array.type == KEY_TYPE)


def keys_of_array(array: pa.Array) -> Keys:
    """The keys (n, 2) behind `array_of_keys`; a null's means nothing."""
    values = np.frombuffer(array.buffers()[1], np.uint64)
    return values.reshape(-1, 2)[array.offset : array.offset + len(array)]


def pair_keys(doc: pa.Array, chunk: pa.Array, threads: int = 0) -> tuple[Keys, Valid]:
    """Keys of (doc_id, chunk_id) pairs: keys uint64 (n, 4), valid bool (n,) where neither id is null."""
    doc_keys, doc_valid = id_keys(doc, threads)
    chunk_keys, chunk_valid = id_keys(chunk, threads)
    return np.hstack((doc_keys, chunk_keys)), doc_valid & chunk_valid


def newly_inserted(slots: npt.NDArray[np.int64], known: int) -> npt.NDArray[np.bool_]:
    """Where `_core.KeyTable.insert` gave a key its slot, in a table that held `known` keys before.

    New slots count up from `known`, so the first row of each is where the maximum grows.
    """
    highest = np.maximum.accumulate(np.maximum(slots, known - 1))
    return np.asarray(np.diff(highest, prepend=known - 1) > 0)


def text_bytes(array: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The UTF-8 bytes of a large_string array and its int64 offsets (n + 1,), without a copy."""
    _, offsets, data = array.buffers()
    size = len(array) + 1
    if offsets is None or offsets.size == 0:  # an empty array need not have offsets
        return np.empty(0, np.uint8), np.zeros(size, np.int64)
    starts = np.frombuffer(offsets, np.int64, size, 8 * array.offset)
    return (np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)), starts
