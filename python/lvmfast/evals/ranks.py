"""The rank of the true row of every query among a whole pool."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError
from lvmfast.evals.exclusion import Excluded, excluded_pairs
from lvmfast.evals.vectors import REASONS, float_rows, pair_scores, usability, usable_queries

UNIT_ROUNDOFF = 2.0**-24
#: Values of a block of products: 64 MiB of float32.
BLOCK_VALUES = 1 << 24
POOL_ROWS = 8192


def truth_ranks(
    queries: Vectors, pool: Vectors, truth: Rows, *, exclude: Excluded = None, threads: int = 0
) -> Rows:
    """The rank of each query's true row by cosine, counted from 1, ties against the model.

    It is the number of rows that score at least what the true row scores. Exact: a float32 product decides
    where its error bound allows, the float64 cosine of `lvmfast.near_duplicates` everywhere else
    (`docs/retrieval.md`). Rows without a direction (zero, NaN, infinite) are in no ranking; a query
    without one, which must be zero, ties with everything and ranks its truth last.

    Args:
        queries: (q, d) predictions; their norms do not matter.
        pool: (n, d) rows.
        truth: (q,) the pool row that each query is after.
        exclude: rows that are not there for a query, such as its own context: (q, e) int64 padded with -1,
            or q sequences of rows.
        threads: 0 for one per available core; those of the float32 product are numpy's.

    Returns:
        (q,) int64, from 1 to the number of rows that are there for the query.

    Raises:
        DataError: shapes that do not fit, a query that is NaN or infinite, a true row that does not exist,
            has no direction, or is excluded.
    """
    queries, pool = float_rows("queries", queries), float_rows("pool", pool)
    if queries.shape[1] != pool.shape[1]:
        raise DataError(
            f"queries: expected {pool.shape[1]} components as in the pool, got {queries.shape[1]}"
        )
    there = usability(pool, threads)
    truth = _checked_truth(truth, len(queries), there)
    of_query, row = excluded_pairs(exclude, len(queries), len(pool))
    wrong = np.flatnonzero(truth[of_query] == row)
    if len(wrong):
        raise DataError(
            f"truth: row {row[wrong[0]]} of query {of_query[wrong[0]]} is among those it excludes"
        )
    directed = usable_queries(queries, threads)
    goal = pair_scores(queries, np.arange(len(queries)), pool, truth, threads)  # (q,)
    ranks = _at_least(queries, pool, goal, there == 0, threads)
    # Excluded rows were counted with the others: those that score as much are taken off again.
    scores = pair_scores(queries, of_query, pool, row, threads)
    np.subtract.at(ranks, of_query[scores >= goal[of_query]], 1)
    undirected = np.bincount(of_query[there[row] == 0], minlength=len(queries))
    return np.where(directed, ranks, np.count_nonzero(there == 0) - undirected)


def _checked_truth(truth: Rows, queries: int, there: npt.NDArray[np.uint8]) -> Rows:
    rows = np.asarray(truth)
    if rows.shape != (queries,) or rows.dtype.kind not in "iu":
        raise DataError(f"truth: expected ({queries},) integers, got {rows.shape} {rows.dtype}")
    rows = rows.astype(np.int64)
    wrong = np.flatnonzero((rows < 0) | (rows >= len(there)))
    if len(wrong):
        raise DataError(
            f"truth: row {rows[wrong[0]]} of query {wrong[0]} is not in the pool of {len(there)} rows"
        )
    wrong = np.flatnonzero(there[rows])
    if len(wrong):
        reason = REASONS[there[rows[wrong[0]]] - 1]
        raise DataError(f"truth: row {rows[wrong[0]]} of query {wrong[0]} is {reason}: nothing retrieves it")
    return rows


def product_margin(dim: int) -> float:
    """How far a float32 product of two rows, normalised and rounded, may be from their float64 cosine.

    `docs/near-duplicates.md`, "The blocked product"; a product in any other order of summation is within it.
    """
    n = dim + dim // 256 + 8
    return n * UNIT_ROUNDOFF / (1 - n * UNIT_ROUNDOFF) if n * UNIT_ROUNDOFF < 0.5 else np.inf


def unit_rows(rows: Vectors) -> Vectors:
    """x / |x| in float64, rounded to float32; rows without a direction become NaN or zero."""
    wide = rows.astype(np.float64)
    with np.errstate(all="ignore"):
        units: Vectors = (wide / np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]).astype(np.float32)
    return units


def _at_least(
    queries: Vectors, pool: Vectors, goal: npt.NDArray[np.float64], there: npt.NDArray[np.bool_], threads: int
) -> Rows:
    """The rows (q,) of the pool that score at least `goal`."""
    margin = product_margin(pool.shape[1])
    low = np.nextafter((goal - margin).astype(np.float32), np.float32(-np.inf))[:, None]
    high = np.nextafter((goal + margin).astype(np.float32), np.float32(np.inf))[:, None]
    counts = np.zeros(len(queries), np.int64)
    step = max(1, BLOCK_VALUES // POOL_ROWS)
    for start in range(0, len(pool), POOL_ROWS):
        rows = np.flatnonzero(there[start : start + POOL_ROWS]) + start
        units = unit_rows(pool[rows]).T
        for first in range(0, len(queries), step):
            part = slice(first, first + step)
            with np.errstate(all="ignore"):  # queries without a direction
                products = unit_rows(queries[part]) @ units  # (queries, rows)
            above = products > high[part]
            counts[part] += above.sum(axis=1)
            i, j = np.nonzero((products >= low[part]) & ~above)
            equal = pair_scores(queries, i + first, pool, rows[j], threads) >= goal[i + first]
            counts += np.bincount(i[equal] + first, minlength=len(queries))
    return counts
