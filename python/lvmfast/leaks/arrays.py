"""The plain array functions under the keyed levels: hash texts, intersect keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.keys import text_bytes
from lvmfast.errors import DataError
from lvmfast.leaks.options import Normalization, ScanOptions
from lvmfast.leaks.tally import Rows


def hash_texts(
    texts: Iterable[str] | pa.Array | pa.ChunkedArray,
    algorithm: Literal["xxh3_128", "xxh64"] = "xxh3_128",
    *,
    normalize: Normalization = "default",
    threads: int = 0,
) -> npt.NDArray[np.uint64]:
    """Hashes of the normalised texts.

    Args:
        texts: n strings, or an Arrow string array of n rows without nulls.
        algorithm: ``"xxh3_128"`` or ``"xxh64"`` (Collet's xxHash, seed 0).
        normalize: ``"default"`` is Python's ``re.sub(r"\\s+", " ", text.lower()).strip()``.
        threads: 0 for one per available core.

    Returns:
        (n, 2) uint64, the high and the low word of each 128-bit hash; or (n,) uint64 for ``"xxh64"``, equal
        to ``xxhash.xxh64_intdigest`` of the normalised text in UTF-8.

    Raises:
        DataError: an unknown algorithm or normalisation, a null, or text that has no UTF-8 form.

    Examples:
        >>> import lvmfast
        >>> hashes = lvmfast.hash_texts(["A  text", "a text", "another"])
        >>> hashes.shape, bool((hashes[0] == hashes[1]).all()), bool((hashes[0] == hashes[2]).all())
        ((3, 2), True, False)
    """
    ScanOptions(normalize=normalize, threads=threads)
    buffers = text_bytes(_large_string(texts))
    if algorithm == "xxh3_128":
        return _core.hash_texts_128(*buffers, normalize, threads)
    if algorithm == "xxh64":
        return _core.hash_texts_64(*buffers, normalize, threads)
    raise DataError(f"algorithm: expected xxh3_128 or xxh64, got {algorithm!r}")


def _large_string(texts: Iterable[str] | pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    if isinstance(texts, str):
        raise DataError("texts: expected many strings, got one")
    try:
        if isinstance(texts, pa.ChunkedArray):
            texts = texts.combine_chunks()
        array = texts if isinstance(texts, pa.Array) else pa.array(list(texts), pa.large_string())
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            raise DataError(f"texts: expected strings, got {array.type}")
        array = array.cast(pa.large_string())
    except (pa.ArrowException, UnicodeEncodeError, TypeError) as error:
        raise DataError(f"texts: expected strings: {' '.join(str(error).split())}") from error
    if array.null_count:
        raise DataError(f"texts: {array.null_count} of {len(array)} are null")
    return array


def intersect_pairs(train: npt.ArrayLike, eval: npt.ArrayLike, *, threads: int = 0) -> tuple[Rows, Rows]:
    """Every (train row, eval row) with equal keys, such as (article, chunk) pairs.

    Args:
        train: (n, k) integers, k at least 1; or (n,) integers.
        eval: (m, k) or (m,) integers, of the same k.
        threads: 0 for one per available core.

    Returns:
        Two int64 arrays of equal length, sorted by train row, then eval row. Duplicate keys give every pair.

    Raises:
        DataError: not integers, or shapes that do not belong together.

    Examples:
        >>> import lvmfast
        >>> train_rows, eval_rows = lvmfast.intersect_pairs([[7, 0], [7, 1], [8, 0]], [[8, 0], [7, 1]])
        >>> train_rows.tolist(), eval_rows.tolist()
        ([1, 2], [1, 0])
    """
    left, right = _integer_keys("train", train), _integer_keys("eval", eval)
    if left.shape[1] != right.shape[1]:
        raise DataError(f"intersect_pairs: train has {left.shape[1]} columns, eval {right.shape[1]}")
    return _core.intersect(left, right, threads)


def _integer_keys(name: str, keys: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    array = np.asarray(keys)
    if array.dtype.kind not in "iu" and array.size:
        raise DataError(f"{name}: expected (n, k) integers, got {array.shape} {array.dtype}")
    array = array.reshape(len(array), -1) if array.ndim == 1 else array
    if array.ndim != 2 or (array.size and array.shape[1] == 0):
        raise DataError(f"{name}: expected (n, k) integers, got {array.shape} {array.dtype}")
    if array.dtype == np.uint64 and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{name}: ids above 2**63 - 1 do not fit int64")
    return np.ascontiguousarray(array, np.int64).view(np.uint64)
