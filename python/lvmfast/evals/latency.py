"""How long one query takes from its window to its hits, one query at a time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from lvmfast.evals.pools import DEPTH, Pool
from lvmfast.evals.predictors import Predictor
from lvmfast.evals.queries import Queries
from lvmfast.evals.reordering import Order
from lvmfast.evals.search import open_pool
from lvmfast.models.baselines import evenly_spaced

WARM_UP, TIMED = 10, 200
QUANTILES = (50, 95, 99)


def latency(
    predictor: Predictor,
    queries: Queries,
    pool: Pool,
    *,
    order: Order | None = None,
    threads: int = 0,
    device: str = "cpu",
) -> dict[str, Any]:
    """P50, P95 and P99 in milliseconds of the model, the exact search and `order` together, after warm-up.

    Windows are in memory and the pool is open before the clock starts; the query's own context, where it is
    known, is taken out as it is in scoring.
    """
    index = open_pool(pool.vectors, threads=threads, device=device)
    rows = evenly_spaced(queries.n, TIMED)
    windows = queries.sequences.contexts(rows)
    context = None if pool.context is None else pool.context[rows]
    taken = []
    for turn in range(WARM_UP + len(rows)):
        place = turn % len(rows)
        exclude = None if context is None else context[place : place + 1]
        start = time.perf_counter_ns()
        predicted = predictor.predict(windows[place : place + 1])
        found = index.top_k(predicted, DEPTH, exclude=exclude)
        if order is not None:
            order(found, windows[place : place + 1])
        taken.append((time.perf_counter_ns() - start) / 1e6)
    quantiles = np.percentile(taken[WARM_UP:], QUANTILES)
    return {f"P{q}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)} | {
        "queries": len(rows),
        "model_device": predictor.device,
        "search_device": device,
        "pool": pool.name,
        "pool_size": len(pool.vectors),
        "k": DEPTH,
    }
