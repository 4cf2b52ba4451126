"""`near_duplicates`: every pair of near-duplicate vectors, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvmfast import _core
from lvmfast.corpus import Dataset
from lvmfast.errors import DataError
from lvmfast.leaks.devices import device_name, near_index
from lvmfast.leaks.duplicates import Passes, group_pairs, group_rows
from lvmfast.leaks.options import DEFAULT_THRESHOLD, ScanOptions
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores, first_rows
from lvmfast.leaks.vector_input import open_vectors, read_cells


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
    train: Any,
    eval: Any | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    *,
    threads: int = 0,
    device: str = "cpu",
) -> NearDuplicates:
    """Every pair at or above `threshold`: between two sets of vectors, or inside `train` alone.

    Exact and exhaustive. The cosine is x.y / sqrt((x.x)(y.y)) in float64 over float32 values.

    Args:
        train: (n, d) floats: an array, a memory map, or a torch tensor, read in blocks; or, beside an `eval`,
            an iterator of (n, d) blocks. The file behind a map must keep its length meanwhile (the system
            ends processes that touch what is gone); paths given to `leakscan` and `load_split` are read with
            that checked.
        eval: (m, d) floats, the same, or None to compare `train` with itself.
        threshold: cosine in [-1, 1].
        threads: 0 for one per available core.
        device: where rows are compared: ``"cpu"``, or ``"cuda"`` or ``"cuda:N"`` (needs torch). The pairs and
            the scores are the same bits.

    Raises:
        DataError: the dimensions differ, the arrays are not 2-d floats, the threshold is no cosine, there is
            no such device, or an iterator is to be compared with itself.

    Examples:
        >>> import lvmfast
        >>> found = lvmfast.near_duplicates([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 1.0]], threshold=0.9)
        >>> found.train_row.tolist(), found.eval_row.tolist(), found.cosine.tolist()
        ([0], [0], [1.0])
    """
    options = ScanOptions(threshold=threshold, threads=threads, device=device)
    device_name(options.device)
    if eval is None and isinstance(train, Iterator):
        raise DataError(
            "near_duplicates: an iterator can be read only once, and comparing a set with itself takes two "
            "passes; give an array or a memory map"
        )
    left = open_vectors("train", train)
    if eval is None:
        return _within(train, left, options)
    right = open_vectors("eval", eval)
    if left.dim != right.dim:
        raise DataError(f"near_duplicates: train has {left.dim} dimensions, eval {right.dim}")
    return _between(left, right, options)


def _first_equal_rows(groups: Sequence[Rows]) -> tuple[Rows, Rows]:
    """The first row of each group, and each row's first equal row."""
    group = np.concatenate([NO_ROWS, *groups])
    rows = np.flatnonzero(group >= 0)
    first = first_rows(rows, group[rows], int(group.max(initial=-1)) + 1)
    return first, np.where(group >= 0, first[group] if len(first) else -1, -1)


def _between(train: Dataset, eval: Dataset, options: ScanOptions) -> NearDuplicates:
    swapped = train.estimated_rows() < eval.estimated_rows()
    indexed, streamed = (train, eval) if swapped else (eval, train)
    index = near_index(train.dim or 0, options)
    for block in read_cells(indexed, options):
        index.add(block.vectors)
    table = _core.KeyTable(2, options.threads)
    rows, groups, scores, streamed_groups = [NO_ROWS], [NO_ROWS], [np.empty(0)], [NO_ROWS]
    for block in read_cells(streamed, options):
        row, group, score, codes, keys = index.scan(block.vectors)
        of_row = np.full(len(codes), -1, np.int64)
        of_row[codes == 0] = table.insert(np.ascontiguousarray(keys[codes == 0]))
        rows.append(block.first_row + row)
        groups.append(group)
        scores.append(score)
        streamed_groups.append(of_row)
    indexed_first, indexed_group = _first_equal_rows([index.group_of_row])
    _, streamed_group = _first_equal_rows(streamed_groups)
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


def _within(values: Any, vectors: Dataset, options: ScanOptions) -> NearDuplicates:
    if options.device == "cpu" and _can_be_borrowed(values):
        left, right, score, first, _ = _core.scan_within(values, options.threshold, options.threads)
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


def _can_be_borrowed(values: Any) -> bool:
    return (
        isinstance(values, np.ndarray)
        and values.dtype == np.float32
        and values.flags.c_contiguous
        and values.flags.aligned
    )


def _within_in_blocks(vectors: Dataset, options: ScanOptions) -> tuple[Rows, Rows, Scores, Rows]:
    """What `_core.scan_within` gives of rows that it cannot borrow, or that another device compares."""
    dim = vectors.dim or 0
    groups = group_rows(read_cells(vectors, options), options)
    lower, higher, scores = [NO_ROWS], [NO_ROWS], [np.empty(0)]
    for a, b, score in group_pairs(
        lambda wanted: read_cells(vectors, options), groups, dim, options, Passes()
    ):
        lower.append(groups.first[a])
        higher.append(groups.first[b])
        scores.append(score)
    first = np.where(groups.group >= 0, groups.first[groups.group] if len(groups.first) else -1, -1)
    return np.concatenate(lower), np.concatenate(higher), np.concatenate(scores), first
