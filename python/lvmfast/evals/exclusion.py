"""Pool rows that are not there for a query, such as its own context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Rows
from lvmfast.errors import DataError

#: (q, e) int64 padded with -1, or q sequences of rows, or nothing.
Excluded = npt.NDArray[np.int64] | Sequence[Sequence[int] | npt.NDArray[np.int64]] | None


def excluded_pairs(exclude: Excluded, queries: int, pool: int) -> tuple[Rows, Rows]:
    """Query and row of each exclusion, sorted by both and each once.

    Raises:
        DataError: not one list for each query, not integers, or rows that the pool has not.
    """
    empty = np.empty(0, np.int64)
    if exclude is None:
        return empty, empty
    if len(exclude) != queries:
        raise DataError(f"exclude: expected the rows of {queries} queries, got those of {len(exclude)}")
    if isinstance(exclude, np.ndarray) and exclude.ndim == 2:
        query = np.repeat(np.arange(queries), exclude.shape[1])
        row = exclude.reshape(-1)
    else:
        lists = [np.asarray(rows).reshape(-1) for rows in exclude]
        query = np.repeat(np.arange(queries), [len(rows) for rows in lists])
        row = np.concatenate([rows for rows in lists if len(rows)] or [empty])
    if row.dtype.kind not in "iu":
        raise DataError(f"exclude: expected integers, got {row.dtype}")
    given = row != -1
    query, row = query[given], row[given].astype(np.int64)
    wrong = np.flatnonzero((row < 0) | (row >= pool))
    if len(wrong):
        raise DataError(
            f"exclude: row {row[wrong[0]]} of query {query[wrong[0]]} is not in the pool of {pool} rows"
        )
    pairs = np.unique(np.stack([query, row], axis=1), axis=0) if len(row) else np.empty((0, 2), np.int64)
    return pairs[:, 0], pairs[:, 1]
