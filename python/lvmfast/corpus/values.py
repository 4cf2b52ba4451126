"""Values as files hold them become the values of a `Batch`: float32 rows, id arrays, large_string text.

Rules for what is not plain: float64 is rounded to float32 and two-byte voids are bfloat16 (both noted);
integers of at most 16 bits are exact in float32; a null vector, or a null inside one, is NaN, so that the row
counts as unchecked; float ids are refused, and so is a string that a float was written as, which would never
match the integer that it stands for. What Arrow's types become as ids and texts is in `arrow_values.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.arrow_types import plain
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.failures import one_line
from lvmfast.corpus.keys import text_bytes
from lvmfast.corpus.plain import without_nulls
from lvmfast.errors import DataError

#: A batch is cut to about this size when its rows are wide,
BATCH_BYTES = 256 << 20
#: and to about this much text, of which copies are made on the way.
TEXT_BYTES = 32 << 20
#: Between several texts of a row: a character (record separator) that no text has.
SEPARATOR = "\x1e"
#: float32 holds integers of so many bits.
_EXACT_BITS = 16
#: A wider row is taken for a broken or hostile header.
MAX_ROW_BYTES = 64 << 20


def rows_per_batch(rows: int, row_bytes: int) -> int:
    """At most `rows`, fewer where rows of `row_bytes` would make the batch larger than BATCH_BYTES."""
    return max(1, min(rows, BATCH_BYTES // max(1, row_bytes)))


def is_vector_dtype(dtype: np.dtype) -> bool:
    """Whether `dtype` is float16, float32, float64, bfloat16 (a 2-byte void in numpy), or int8 to uint16."""
    exact = dtype.kind in "iu" and 8 * dtype.itemsize <= _EXACT_BITS
    return exact or (dtype.kind == "f" and dtype.itemsize <= 8) or _is_bfloat16(dtype)


def _is_bfloat16(dtype: np.dtype) -> bool:
    return dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None and dtype.subdtype is None


def vector_note(field: str, dtype: np.dtype) -> str | None:
    """What `float32_rows` does to values of `dtype` that a user must know, or None."""
    if dtype.kind == "f" and dtype.itemsize == 8:
        return f"{field}: float64 rounded to float32"
    if _is_bfloat16(dtype) and dtype.name != "bfloat16":
        return f"{field}: 2-byte void read as bfloat16"
    return None


def float32_rows(block: npt.NDArray[np.generic]) -> Vectors:
    """`block` as aligned, C-contiguous, native float32: the same memory where it is that already."""
    if _is_bfloat16(block.dtype):
        import ml_dtypes

        block = block.view(ml_dtypes.bfloat16)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, and unchecked
        return np.require(block, dtype=np.float32, requirements=["C", "A", "E"])


def is_vector_type(arrow_type: pa.DataType) -> bool:
    """Whether `arrow_type` can stand in a vector: floats, and integers that float32 holds exactly."""
    return bool(
        pa.types.is_floating(arrow_type)
        or (pa.types.is_integer(arrow_type) and arrow_type.bit_width <= _EXACT_BITS)
    )


def vectors_from_arrow(array: pa.Array, shape: tuple[int, ...], where: str, rows: Rows) -> Vectors:
    """(n, *shape) float32 from n lists (nested once per dimension) or tensors; nulls become NaN.

    Raises:
        DataError: a list has another length; it names `where` and the number that `rows` gives the list.
    """
    size = shape[0]
    array = plain(array)
    valid = np.asarray(array.is_valid())
    kept = array if valid.all() else array.filter(pa.array(valid))
    if pa.types.is_fixed_size_list(array.type):
        lengths = np.full(len(kept), array.type.list_size)
    else:
        import pyarrow.compute as pc

        lengths = np.asarray(pc.list_value_length(kept))
    wrong = np.flatnonzero(lengths != size)
    if len(wrong):
        row = rows[valid][wrong[0]]
        raise DataError(f"{where}: row {row}: expected {size} values, got {lengths[wrong[0]]}")
    flat = kept.flatten()
    if len(shape) > 1:
        values = vectors_from_arrow(flat, shape[1:], where, np.repeat(rows[valid], size))
    else:
        values = float32_rows(plain(flat).to_numpy(zero_copy_only=False))
    values = values.reshape(len(kept), *shape)
    if len(kept) == len(array):
        return values
    out = np.full((len(array), *shape), np.nan, dtype=np.float32)
    out[valid] = values
    return out


def spelt_ids(ids: pa.Array, where: str, first_row: int) -> pa.Array:
    """The large_string `ids`, none of which is a number in another spelling than an integer's.

    Raises:
        DataError: one is: ``7.0``, ``1e3``, a 7 between blanks.
    """
    # Behind a null there may be anything.
    row = _core.misspelt_number(*text_bytes(without_nulls(ids)))
    if row is None:
        return ids
    expected = f"{where}: row {first_row + row}: expected an integer or string id"
    raise DataError(f"{expected}, got {ids[row].as_py()[:40]!r}: write a number as a plain integer")


def text_from_values(values: Sequence[object], where: str, first_row: int) -> pa.Array:
    """large_string from Python strings, UTF-8 bytes and Nones.

    Raises:
        DataError: another type, bytes that are not UTF-8, or a lone surrogate.
    """
    texts: list[str | None] = []
    for row, value in enumerate(values, first_row):
        try:
            text = value.decode() if isinstance(value, bytes) else value
            if text is not None and not isinstance(text, str):
                raise DataError(f"{where}: row {row}: expected text, got {type(text).__name__}")
            texts.append(text)
            if text is not None and not text.isascii():
                text.encode().decode()  # numpy makes strings of numbers that are no characters
        except UnicodeError as error:
            raise DataError(f"{where}: row {row}: {one_line(error)}") from error
    return pa.array(texts, pa.large_string())


def item_text(value: object) -> str | None:
    """What an evaluation item says in a field: a text, an integer, or those of a list; else None."""
    if isinstance(value, (list, tuple, np.ndarray)):
        texts = [text for text in map(item_text, value) if text is not None]
        return SEPARATOR.join(texts) if texts else None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return str(value) if whole else None


def ids_from_values(values: Sequence[object], where: str, first_row: int) -> pa.Array:
    """int64 from Python integers, large_string where any id is a string or beyond int64; Nones are null.

    Raises:
        DataError: an id is neither an integer nor a string, or a string is a float in writing.
    """
    integers = all(
        value is None
        or (isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63)
        for value in values
    )
    if integers:
        return pa.array(values, pa.int64())
    texts: list[object] = []
    for row, value in enumerate(values, first_row):
        if isinstance(value, (bool, float)):
            raise DataError(
                f"{where}: row {row}: expected an integer or string id, got {type(value).__name__}"
            )
        texts.append(str(value) if isinstance(value, int) else value)
    return spelt_ids(text_from_values(texts, where, first_row), where, first_row)


def ids_from_numpy(block: npt.NDArray[np.generic], where: str, first_row: int) -> pa.Array:
    """Ids from integers (uint64 as decimal text) or unicode, bytes and variable-width strings.

    Raises:
        DataError: as `ids_from_values`.
    """
    if block.dtype.kind == "u" and block.dtype.itemsize == 8:
        return pa.array(np.ascontiguousarray(block, dtype=np.uint64)).cast(pa.large_string())
    if block.dtype.kind in "iu":
        return pa.array(np.ascontiguousarray(block, dtype=np.int64))
    return spelt_ids(text_from_values(block.tolist(), where, first_row), where, first_row)


def row_bytes(shape: Sequence[int], itemsize: int) -> int:
    """Bytes of one row of an array of `shape`."""
    return math.prod(shape[1:]) * itemsize
