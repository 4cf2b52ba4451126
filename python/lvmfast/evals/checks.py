"""Checks that an evaluation must pass before a score of it is written down.

Each was a real fault: keys off by one between the evaluation set and the index (an oracle falls to R@1 = 0
while R@5 stays), ties or a bonus in the true row's favour, vectors compared with themselves instead of
through the index.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError
from lvmfast.evals.hits import retrieve
from lvmfast.evals.metrics import retrieval_metrics
from lvmfast.evals.pools import Pool, moved
from lvmfast.evals.queries import Queries
from lvmfast.evals.scoring import Context, chance, pool_ranks
from lvmfast.evals.vectors import pair_scores

SHIFTS = (-1, 0, 1)
#: How often a sound evaluation fails the check of random queries.
FALSE_ALARM = 1e-9


def oracle_check(queries: Queries, pool: Pool, *, threads: int = 0, device: str = "cpu") -> dict[str, Any]:
    """The true vectors as queries, through the index that is scored: each must retrieve its own row first.

    A row equal to the true one ties with it, which is no fault and is counted.

    Raises:
        DataError: a true vector retrieves another row first.
    """
    found = retrieve(queries.targets, pool, "in", threads=threads, device=device)
    is_truth = found.rows == pool.truth[:, None]
    of_truth = np.where(is_truth, found.scores, -np.inf).max(axis=1)
    first = of_truth >= found.scores[:, 0]
    rate = float(first.mean())
    if not first.all():
        query = int(np.flatnonzero(~first)[0])
        name, row = queries.sequences.locate(query)
        raise DataError(
            f"oracle check: pool {pool.name}: {rate:.1%} of the true vectors retrieve their own row first; "
            f"that of {name}: row {row} does not: its key or its vector is another one in the pool"
            + _shift_advice(queries, pool)
        )
    alone = found.rows[:, 0] == pool.truth
    tied = (found.scores[:, 1] == found.scores[:, 0]) | ~alone if found.rows.shape[1] > 1 else ~alone
    return {"R@1": 100.0 * rate, "tied": int(tied.sum())}


def key_shifts(queries: Queries, pool: Pool) -> dict[str, dict[str, float]]:
    """The pool's vectors at the keys of the queries, moved by -1, 0 and +1 chunks, against the true vectors.

    Returns:
        By shift: `coverage`, the share of keys that the pool has, and `mean_cosine` and `equal` (from 0.999) of
        those. Nothing where chunk ids are no integers.
    """
    if pool.keys is None or queries.keys is None or queries.keys[:, 2].any():
        return {}
    table = _core.KeyTable(4, 0)
    table.insert(pool.keys)
    found = {}
    for shift in SHIFTS:
        rows = table.find(np.ascontiguousarray(moved(queries.keys, shift)))
        there = np.flatnonzero(rows >= 0)
        cosines = pair_scores(queries.targets, there, pool.vectors, rows[there])
        found[f"{shift:+d}" if shift else "0"] = {
            "coverage": len(there) / queries.n,
            "mean_cosine": float(np.nanmean(cosines)) if len(there) else 0.0,
            "equal": float(np.mean(cosines >= 0.999)) if len(there) else 0.0,
        }
    return found


def key_shift_check(queries: Queries, pool: Pool) -> dict[str, dict[str, float]]:
    """`key_shifts`, which must agree best where nothing is moved.

    Raises:
        DataError: they agree better one chunk off.
    """
    found = key_shifts(queries, pool)
    if found and (better := _better(found)) is not None:
        raise DataError(
            f"key-shift audit: {queries.name}, pool {pool.name}: {found['0']['equal']:.1%} of the true vectors "
            f"stand under their own keys, {found[better]['equal']:.1%} under chunk ids moved by {better}: the "
            "keys are off by one"
        )
    return found


def _better(found: Mapping[str, Mapping[str, float]]) -> str | None:
    agreed = {shift: figures["equal"] * figures["coverage"] for shift, figures in found.items()}
    best = max(agreed, key=lambda shift: agreed[shift])
    return best if agreed[best] > agreed["0"] else None


def _shift_advice(queries: Queries, pool: Pool) -> str:
    better = _better(found) if (found := key_shifts(queries, pool)) else None
    return "" if better is None else f"; with chunk ids moved by {better} it fits: the keys are off by one"


def random_check(
    queries: Queries, pool: Pool, context: Context, *, seed: int = 0, threads: int = 0
) -> dict[str, Any]:
    """Random directions as queries: true rows must rank as chance has them.

    A direction and its opposite are equally likely and order the candidates in reverse, so that the expected
    place of every row, (rank - 1/2) / n, is one half, whatever the candidates are. By Hoeffding's inequality
    (JASA 58, 1963) the mean over q queries is within sqrt(log(2 / p) / 2q) of it but with probability p.

    Raises:
        DataError: the mean place is not one half.
    """
    rng = np.random.default_rng(seed)
    directions: Vectors = rng.standard_normal((queries.n, queries.sequences.dim)).astype(np.float32)
    ranks: Rows = pool_ranks(directions, pool, context, threads)
    sizes = pool.sizes(context)
    places: npt.NDArray[np.float64] = (ranks - 0.5) / sizes
    bound = math.sqrt(math.log(2 / FALSE_ALARM) / 2 / queries.n)
    mean = float(places.mean())
    if abs(mean - 0.5) > bound:
        raise DataError(
            f"random-query check: pool {pool.name}, context {context}: random queries rank the true row at "
            f"{mean:.3f} of the pool on average, expected 0.5 within {bound:.3f}: the ranking knows the answer"
        )
    figures = retrieval_metrics(ranks)
    return {"mean_place": mean, "bound": bound} | {
        name: {"random": figures[name], "chance": value} for name, value in chance(sizes).items()
    }
