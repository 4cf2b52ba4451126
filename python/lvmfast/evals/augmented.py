"""Scores that take density off, as one product: what a candidate costs stands in components of its own.

s(q, y) = <m, y> - sum_k b_k d_k(y), with unit candidates y and d_k(y) their density, is the inner product of
q' = [m; -b] and y' = [y; d(y)]. One more component, 0 in every query, gives all rows of a pool one length
(Bachrach et al., *Speeding up the Xbox recommender system using a Euclidean transformation for inner-product
spaces*, RecSys 2014). Their cosine with q' then is s times a factor that only q' and the pool know, so that
the exact search by cosine, and any index, ranks them by s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Vectors
from lvmfast.evals.density import WEIGHT, densities
from lvmfast.evals.ranks import unit_rows
from lvmfast.evals.request import Scores
from lvmfast.evals.vectors import float_rows, usability
from lvmfast.models.baselines import predict_baseline


def augmented_rows(pool: Vectors, neighbours: Sequence[int], *, threads: int = 0) -> Vectors:
    """(n, d + m + 1) float32 rows [y; d_1(y) ... d_m(y); rest], all of one length; zeros without a direction.

    Args:
        pool: (n, d) candidates.
        neighbours: the m numbers of nearest others that densities are means over (`density.densities`).
        threads: 0 for one per available core.

    Raises:
        DataError: as `densities`.
    """
    return with_densities(pool, densities(pool, neighbours, threads=threads), threads=threads)


def with_densities(pool: Vectors, dense: Scores, *, threads: int = 0) -> Vectors:
    """As `augmented_rows`, of densities (n, m) that are there already."""
    pool = float_rows("pool", pool)
    there = usability(pool, threads) == 0
    rows = np.zeros((len(pool), pool.shape[1] + dense.shape[1] + 1), np.float32)
    rows[:, : pool.shape[1]] = np.where(there[:, None], unit_rows(pool), 0)
    rows[:, pool.shape[1] : -1] = dense
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    rows[:, -1] = np.where(there, np.sqrt(squares.max() - squares), 0)
    return rows


def augmented_queries(mixed: npt.NDArray[np.floating], weights: npt.ArrayLike) -> Vectors:
    """(q, d + m + 1) float32 queries [mixed; -weights; 0]; zeros for a mix without a direction.

    Args:
        mixed: (q, d) what candidates are multiplied with; its length counts beside the weights.
        weights: (m,) of the densities.
    """
    weights = np.asarray(weights, np.float64)
    rows = np.zeros((len(mixed), mixed.shape[1] + len(weights) + 1), np.float32)
    rows[:, : mixed.shape[1]] = mixed
    rows[:, mixed.shape[1] : -1] = np.where(np.any(mixed != 0, axis=1, keepdims=True), -weights, 0)
    return rows


def lag_mix_density(contexts: Vectors, mix: npt.ArrayLike | None) -> Vectors:
    """(q, d + 2) queries of the baseline lag-mix-density: cos(lag mix, y) - `WEIGHT` d_10(y).

    Args:
        contexts: (q, length, d) windows, oldest vector first.
        mix: (length,) weights that `fit_lag_mix` gave.

    Raises:
        DataError: as `predict_baseline`.
    """
    return augmented_queries(predict_baseline("lag-mix", contexts, mix), (WEIGHT,))
