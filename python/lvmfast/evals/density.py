"""Candidate density: rows that are near to many others are found too often, and are taken down for it.

The score of a candidate is its cosine less its density: its mean similarity to its nearest neighbours in the
pool. With a weight of one half it orders candidates as CSLS would (Conneau et al., *Word translation without
parallel data*, ICLR 2018), with neighbours among the candidates instead of the queries; what CSLS takes off
for the query changes no ranking.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError
from lvmfast.evals.ranks import unit_rows
from lvmfast.evals.request import Scores, TopK
from lvmfast.evals.search import top_k
from lvmfast.evals.vectors import float_rows, pair_scores
from lvmfast.models.registry import ALL

NEIGHBOURS = 10
WEIGHT = 1.0
#: Rows that are added up at a time.
_ROWS = 8192


def density(pool: Vectors, *, threads: int = 0) -> Scores:
    """(n,) the mean cosine of each row of the pool with its `NEIGHBOURS` nearest others, as `densities`."""
    return densities(pool, (NEIGHBOURS,), threads=threads)[:, 0]


def densities(pool: Vectors, neighbours: Sequence[int], *, threads: int = 0) -> Scores:
    """(n, m) the mean cosine of each row with its k nearest others, for each k of m; 0 without a direction.

    Args:
        pool: (n, d) floats; of fewer than k + 1 rows, all others are neighbours.
        neighbours: the m numbers k; `ALL` for all others, whose mean needs no search.
        threads: 0 for one per available core.

    Raises:
        DataError: as `top_k`, or a pool of fewer than two rows that have a direction.
    """
    pool = float_rows("pool", pool)
    usable = np.flatnonzero(_core.describe_rows(pool, threads)[0] == 0)
    others = len(usable) - 1
    if others < 1:
        raise DataError(f"density: expected at least two rows with a direction, got {len(usable)}")
    rows = pool if len(usable) == len(pool) else np.ascontiguousarray(pool[usable])
    found = np.zeros((len(pool), len(neighbours)))
    if most := min(max(neighbours), others):
        itself = np.arange(len(rows))[:, None]
        nearest = top_k(rows, rows, most, exclude=itself, threads=threads).scores
    for place, k in enumerate(neighbours):
        means = _mean_of_all(rows, threads) if k == ALL else nearest[:, : min(k, others)].mean(axis=1)
        found[usable, place] = means
    return found


class KnownDensities:
    """The densities of a pool's rows, each made once: they cost the square of the pool."""

    def __init__(self, pool: Vectors) -> None:
        """Of (n, d) rows; none are made yet."""
        self._pool = pool
        self._made: dict[int, Scores] = {}

    def of(self, neighbours: Sequence[int], *, threads: int = 0) -> Scores:
        """As `densities`; one search for all that were not asked for before."""
        if missing := [k for k in dict.fromkeys(neighbours) if k not in self._made]:
            made = densities(self._pool, missing, threads=threads)
            self._made.update(zip(missing, made.T, strict=True))
        return np.stack([self._made[k] for k in neighbours], axis=1)


def _mean_of_all(rows: Vectors, threads: int) -> Scores:
    """(n,) the mean cosine of each row with all others: with their sum, less its own."""
    total = np.zeros(rows.shape[1])
    for start in range(0, len(rows), _ROWS):
        total += unit_rows(rows[start : start + _ROWS]).sum(axis=0, dtype=np.float64)
    summed = total.astype(np.float32)[None]
    length = float(np.sqrt(np.einsum("ij,ij->", summed, summed, dtype=np.float64)))
    cosines = pair_scores(rows, np.arange(len(rows)), summed, np.zeros(len(rows), np.int64), threads)
    found: Scores = (np.nan_to_num(cosines) * length - 1) / (len(rows) - 1)
    return found


def rerank_by_density(found: TopK, densities: Scores, weight: float = WEIGHT) -> TopK:
    """The same candidates in the order of cosine - weight * density; of equal ones the smaller row first."""
    return reordered(found, found.scores - weight * densities[found.rows])


def reordered(found: TopK, scores: npt.NDArray[np.float64]) -> TopK:
    """Candidates in the order of other scores (q, k), best first, with those scores."""
    order = np.lexsort((found.rows, -scores), axis=1)
    return TopK(
        np.take_along_axis(scores, order, axis=1),
        np.take_along_axis(found.rows, order, axis=1),
        found.left_out,
    )


def final_ranks(found: TopK, truth: Rows, retrieved: Rows) -> Rows:
    """(q,) the rank of the true row after candidates were ordered anew, ties against the model.

    A true row that is not among the candidates stays where it was retrieved, behind all of them.

    Args:
        found: the candidates in their new order.
        truth: (q,) the true rows.
        retrieved: (q,) their ranks before.
    """
    among = found.rows == np.asarray(truth)[:, None]
    there = among.any(axis=1)
    own = np.where(among, found.scores, -np.inf).max(axis=1)
    ranks = (found.scores >= own[:, None]).sum(axis=1)
    final: Rows = np.where(there, ranks, np.maximum(retrieved, found.rows.shape[1] + 1)).astype(np.int64)
    return final


def candidate_similarities(vectors: Vectors, candidates: Rows, pool: Vectors, threads: int = 0) -> Scores:
    """(q, k) cosines of (q, d) vectors with the pool's rows `candidates` (q, k); 0 without a direction."""
    query = np.repeat(np.arange(len(vectors)), candidates.shape[1])
    scores = pair_scores(vectors, query, pool, candidates.reshape(-1), threads)
    return np.nan_to_num(scores).reshape(candidates.shape)
