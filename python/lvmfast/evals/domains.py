"""Domain gating: candidates of the query's own domain alone.

Domains are a column of the data, or clusters fitted to training chunks. Which domain a query is of may be
told by its window or its prediction; told by its true target it is an oracle, and is called one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError
from lvmfast.evals.exclusion import Excluded, excluded_pairs
from lvmfast.evals.ranks import truth_ranks, unit_rows
from lvmfast.evals.vectors import float_rows

ROUNDS = 25
FITTED_ROWS = 50_000

#: What tells a query's domain.
By = Literal["prediction", "context", "truth"]


@dataclass(frozen=True)
class Gating:
    """Domains of queries and candidates."""

    of_query: Rows  #: (q,) numbers
    of_row: Rows  #: (n,)
    by: By

    @property
    def oracle(self) -> bool:
        """Whether the true target told the domain, which no one knows who asks."""
        return self.by == "truth"


def fit_domains(chunks: Vectors, count: int, *, seed: int = 0) -> Vectors:
    """(count, d) unit centroids of training chunks: spherical k-means (Dhillon and Modha, Machine Learning
    42, 2001), started as k-means++ (Arthur and Vassilvitskii, SODA 2007).

    Args:
        chunks: (n, d) of training alone; at most `FITTED_ROWS` of them, at even distances, are used.
        count: domains.
        seed: of the start.

    Raises:
        DataError: fewer rows with a direction than domains.
    """
    rows = unit_rows(float_rows("chunks", chunks)[:: max(1, len(chunks) // FITTED_ROWS)])
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not 1 <= count <= len(rows):
        raise DataError(f"domains: expected 1 to {len(rows)}, the rows to fit them to, got {count}")
    rng = np.random.default_rng(seed)
    centroids = rows[rng.integers(len(rows))][None]
    nearest = rows @ centroids[0]
    for _ in range(1, count):
        distance = np.maximum(1 - nearest.astype(np.float64), 0)
        total = distance.sum()
        chosen = rng.choice(len(rows), p=distance / total) if total > 0 else rng.integers(len(rows))
        centroids = np.concatenate([centroids, rows[chosen][None]])
        nearest = np.maximum(nearest, rows @ rows[chosen])
    for _ in range(ROUNDS):
        domain = np.argmax(rows @ centroids.T, axis=1)
        sums = np.zeros((count, rows.shape[1]))
        np.add.at(sums, domain, rows)
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        moved = np.where(norms > 0, sums / np.where(norms > 0, norms, 1), centroids).astype(np.float32)
        if np.array_equal(moved, centroids):
            break
        centroids = moved
    return np.ascontiguousarray(centroids, np.float32)


def assign_domains(vectors: Vectors, centroids: Vectors) -> Rows:
    """(n,) the domain of the nearest centroid, of equally near ones the first; 0 without a direction."""
    units = np.nan_to_num(unit_rows(float_rows("vectors", vectors)))
    domains: Rows = np.argmax(units @ centroids.T, axis=1).astype(np.int64)
    return domains


def gated_ranks(
    queries: Vectors,
    pool: Vectors,
    truth: Rows,
    gating: Gating,
    *,
    exclude: Excluded = None,
    threads: int = 0,
) -> Rows:
    """(q,) the rank of the true row among the candidates of its query's domain, ties against the model.

    A true row of another domain cannot be found: it ranks behind the whole pool, at n + 1.

    Raises:
        DataError: as `truth_ranks`, or domains that do not fit.
    """
    queries, pool, truth = float_rows("queries", queries), float_rows("pool", pool), np.asarray(truth)
    if gating.of_query.shape != (len(queries),) or gating.of_row.shape != (len(pool),):
        raise DataError(
            f"domains: expected those of {len(queries)} queries and {len(pool)} rows, "
            f"got {gating.of_query.shape} and {gating.of_row.shape}"
        )
    of_query, gone = excluded_pairs(exclude, len(queries), len(pool))
    ranks = np.full(len(queries), len(pool) + 1, np.int64)
    inside = gating.of_row[truth] == gating.of_query
    for domain in np.unique(gating.of_query[inside]):
        asked = np.flatnonzero(inside & (gating.of_query == domain))
        rows = np.flatnonzero(gating.of_row == domain)
        kept = gating.of_row[gone] == domain
        lists = [np.searchsorted(rows, gone[kept & (of_query == query)]).astype(np.int64) for query in asked]
        ranks[asked] = truth_ranks(
            queries[asked], pool[rows], np.searchsorted(rows, truth[asked]), exclude=lists, threads=threads
        )
    return ranks


def gating_figures(gating: Gating, truth: Rows) -> Mapping[str, Any]:
    """What a gate leaves: the mean share of candidates, and the queries whose true row it shuts out."""
    known = gating.of_row[gating.of_row >= 0]
    sizes: npt.NDArray[np.int64] = np.bincount(known, minlength=int(gating.of_query.max()) + 1)
    shut = gating.of_row[np.asarray(truth)] != gating.of_query
    return {
        "by": gating.by,
        "oracle": gating.oracle,
        "share_of_candidates": float(sizes[gating.of_query].mean() / len(gating.of_row)),
        "shut_out": int(np.count_nonzero(shut)),
    }
