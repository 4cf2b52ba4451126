"""The plain array functions under a scan: hash texts, intersect keys, find near-duplicate vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Vectors
from lvmfast.corpus.keys import text_bytes
from lvmfast.errors import DataError
from lvmfast.leaks.duplicates import group_pairs, group_rows
from lvmfast.leaks.near import Cells
from lvmfast.leaks.options import DEFAULT_THRESHOLD, Normalization, ScanOptions
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores


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


@dataclass(frozen=True)
class NearDuplicates:
    """Every pair of vectors at or above a cosine threshold, as pairs of groups of equal vectors.

    Within one set a pair's lower row stands on the train side; a group of equal rows is paired with itself.
    """

    train_row: Rows  #: (p,) first row of the train group; sorted
    eval_row: Rows  #: (p,) first row of the eval group
    cosine: Scores  #: (p,) float64
    train_group: Rows  #: (n,) each train row's first equal row; -1 for zero, NaN, infinite or denormal rows
    eval_group: Rows  #: (m,) the same for eval; within one set, `train_group` again
    pair_count: int  #: pairs of rows that the groups stand for
    within: bool  #: whether the set was compared with itself

    def expand(self, limit: int | None = None) -> tuple[Rows, Rows, Scores]:
        """All row pairs as (train_row, eval_row, cosine), sorted by rows within each pair of groups.

        Raises:
            DataError: there are more than `limit` pairs.
        """
        if limit is not None and self.pair_count > limit:
            raise DataError(f"expand: {self.pair_count} pairs, over the limit of {limit}")
        train, eval_ = _Members(self.train_group), _Members(self.eval_group)
        left, right, scores = [NO_ROWS], [NO_ROWS], [np.empty(0)]
        for a, b, score in zip(self.train_row, self.eval_row, self.cosine, strict=True):
            rows, others = train.of(a), eval_.of(b)
            i, j = np.repeat(rows, len(others)), np.tile(others, len(rows))
            if self.within:
                once = i < j if a == b else slice(None)
                i, j = np.minimum(i, j)[once], np.maximum(i, j)[once]
            left.append(i)
            right.append(j)
            scores.append(np.full(len(i), score))
        return np.concatenate(left), np.concatenate(right), np.concatenate(scores)


class _Members:
    """The rows of each group, by its first row."""

    def __init__(self, group: Rows) -> None:
        self._order = np.argsort(group, kind="stable")
        self._sorted = group[self._order]

    def of(self, first: int) -> Rows:
        start, stop = np.searchsorted(self._sorted, [first, first + 1])
        return self._order[start:stop]


def near_duplicates(
    train: Any, eval: Any | None = None, threshold: float = DEFAULT_THRESHOLD, *, threads: int = 0
) -> NearDuplicates:
    """Every pair at or above `threshold`: between two sets of vectors, or inside `train` alone.

    Exact and exhaustive. The cosine is x.y / sqrt((x.x)(y.y)) in float64 over float32 values.

    Args:
        train: (n, d) floats: an array, a memory map, or a torch tensor; read in blocks.
        eval: (m, d) floats, or None to compare `train` with itself.
        threshold: cosine in [-1, 1].
        threads: 0 for one per available core.

    Raises:
        DataError: the dimensions differ, the arrays are not 2-d floats, or the threshold is no cosine.
    """
    options = ScanOptions(threshold=threshold, threads=threads)
    left = _vectors("train", train)
    if eval is None:
        return _within(left, options)
    right = _vectors("eval", eval)
    if left.shape[1] != right.shape[1]:
        raise DataError(f"near_duplicates: train has {left.shape[1]} dimensions, eval {right.shape[1]}")
    return _between(left, right, options)


def _vectors(name: str, values: Any) -> npt.NDArray[Any]:
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    array = values if isinstance(values, np.ndarray) else np.asarray(values)
    if array.ndim != 2 or array.dtype.kind != "f" or array.shape[1] == 0:
        raise DataError(f"{name}: expected (n, d) float, got {array.shape} {array.dtype}")
    return array


def _cells(vectors: npt.NDArray[Any], options: ScanOptions) -> Iterator[Cells]:
    rows = max(1, options.block_bytes // (4 * vectors.shape[1]))
    for start in range(0, len(vectors), rows):
        block: Vectors = np.require(vectors[start : start + rows], np.float32, ["C", "A"])
        yield Cells(block, start)


def _first_rows(groups: Sequence[Rows]) -> tuple[Rows, Rows]:
    """The first row of each group, and each row's first equal row."""
    group = np.concatenate([NO_ROWS, *groups])
    rows = np.flatnonzero(group >= 0)
    first = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    first[group[rows][::-1]] = rows[::-1]
    return first, np.where(group >= 0, first[group] if len(first) else -1, -1)


def _between(train: npt.NDArray[Any], eval: npt.NDArray[Any], options: ScanOptions) -> NearDuplicates:
    swapped = len(train) < len(eval)
    indexed, streamed = (train, eval) if swapped else (eval, train)
    index = _core.NearIndex(train.shape[1], options.threshold, options.threads)
    for block in _cells(indexed, options):
        index.add(block.vectors)
    table = _core.KeyTable(2, options.threads)
    rows, groups, scores, streamed_groups = [NO_ROWS], [NO_ROWS], [np.empty(0)], [NO_ROWS]
    for block in _cells(streamed, options):
        row, group, score, codes, keys = index.scan(block.vectors)
        of_row = np.full(len(codes), -1, np.int64)
        of_row[codes == 0] = table.insert(np.ascontiguousarray(keys[codes == 0]))
        rows.append(block.first_row + row)
        groups.append(group)
        scores.append(score)
        streamed_groups.append(of_row)
    indexed_first, indexed_group = _first_rows([index.group_of_row])
    _, streamed_group = _first_rows(streamed_groups)
    row, group, score = np.concatenate(rows), np.concatenate(groups), np.concatenate(scores)
    size = np.bincount(index.group_of_row[index.group_of_row >= 0], minlength=index.group_count)
    named = streamed_group[row] == row
    left, right = row[named], indexed_first[group[named]]
    pair_count = int(size[group].sum())
    if swapped:
        left, right = right, left
    order = np.lexsort((right, left))
    train_group, eval_group = (indexed_group, streamed_group) if swapped else (streamed_group, indexed_group)
    return NearDuplicates(
        left[order], right[order], score[named][order], train_group, eval_group, pair_count, within=False
    )


def _within(vectors: npt.NDArray[Any], options: ScanOptions) -> NearDuplicates:
    if vectors.dtype == np.float32 and vectors.flags.c_contiguous and vectors.flags.aligned:
        left, right, score, first, _ = _core.scan_within(vectors, options.threshold, options.threads)
    else:
        left, right, score, first = _within_in_blocks(vectors, options)
    size = np.bincount(first[first >= 0], minlength=len(first))
    repeated = np.flatnonzero(size > 1)
    left, right = np.r_[left, repeated], np.r_[right, repeated]
    score = np.r_[score, np.ones(len(repeated))]
    weight = np.where(left == right, size[left] * (size[left] - 1) // 2, size[left] * size[right])
    order = np.lexsort((right, left))
    return NearDuplicates(
        left[order], right[order], score[order], first, first, int(weight.sum()), within=True
    )


def _within_in_blocks(vectors: npt.NDArray[Any], options: ScanOptions) -> tuple[Rows, Rows, Scores, Rows]:
    """What `_core.scan_within` gives of rows that it could not borrow: they are cast block by block."""
    dim = vectors.shape[1]
    groups = group_rows(_cells(vectors, options), dim, options)
    lower, higher, scores = [NO_ROWS], [NO_ROWS], [np.empty(0)]
    for a, b, score in group_pairs(lambda: _cells(vectors, options), groups, dim, options):
        lower.append(groups.first[a])
        higher.append(groups.first[b])
        scores.append(score)
    first = np.where(groups.group >= 0, groups.first[groups.group] if len(groups.first) else -1, -1)
    return np.concatenate(lower), np.concatenate(higher), np.concatenate(scores), first
