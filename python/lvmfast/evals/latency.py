"""How long one query takes from its window to its hits, one query at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.evals.gated import Gate
from lvmfast.evals.pools import DEPTH, Pool
from lvmfast.evals.predictors import Predictor
from lvmfast.evals.queries import Queries
from lvmfast.evals.reordering import Order
from lvmfast.evals.search import TopK, open_pool
from lvmfast.models.baselines import evenly_spaced

WARM_UP, TIMED = 10, 200
QUANTILES = (50, 95, 99)


def latency(
    predictor: Predictor,
    queries: Queries,
    pool: Pool,
    *,
    order: Order | None = None,
    gate: Gate | None = None,
    index: Any = None,
    threads: int = 0,
    device: str = "cpu",
) -> dict[str, Any]:
    """P50, P95 and P99 in milliseconds of the model, the exact search and `order` together, after warm-up.

    With an `index`, that is searched and not the exact one. With a `gate` each domain is searched by
    itself, the query's domain told by what needs no truth.

    Windows are in memory and the pool is open before the clock starts; the query's own context, where it is
    known, is taken out as it is in scoring.
    """
    indexes = _indexes(pool, gate, threads, device) if index is None else {0: _Index(index, None)}
    rows = evenly_spaced(queries.n, TIMED)
    windows = queries.sequences.contexts(rows)
    context = None if pool.context is None else pool.context[rows]
    taken = []
    for turn in range(WARM_UP + len(rows)):
        place = turn % len(rows)
        exclude = None if context is None else context[place : place + 1]
        start = time.perf_counter_ns()
        predicted = predictor.predict(windows[place : place + 1])
        domain = (
            0 if gate is None else int(gate.of_predictions(predicted, queries, rows[place : place + 1])[0])
        )
        found = indexes[domain].top_k(predicted, exclude) if domain in indexes else None
        if order is not None and found is not None:
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


@dataclass(frozen=True)
class _Index:
    """The rows of one domain, opened to be searched."""

    pool: Any
    rows: Rows | None  #: of the whole pool, ascending; None for all

    def top_k(self, predicted: Vectors, exclude: Rows | None) -> TopK:
        if self.rows is None or exclude is None:
            gone = exclude
        else:
            places = np.searchsorted(self.rows, exclude).clip(0, len(self.rows) - 1)
            gone = np.where((exclude >= 0) & (self.rows[places] == exclude), places, -1)
        there = self.pool.size - (0 if gone is None else int(np.count_nonzero(gone[0] >= 0)))
        if there < 1:
            return TopK(np.empty((1, 0)), np.empty((1, 0), np.int64))
        found: TopK = self.pool.top_k(predicted, min(DEPTH, there), exclude=gone)
        return found


def _indexes(pool: Pool, gate: Gate | None, threads: int, device: str) -> dict[int, _Index]:
    if gate is None:
        return {0: _Index(open_pool(pool.vectors, threads=threads, device=device), None)}
    of_row = gate.of_pool(pool)
    found = {}
    for domain in np.unique(of_row[of_row >= 0]).tolist():
        rows = np.flatnonzero(of_row == domain)
        part = np.ascontiguousarray(pool.vectors[rows])
        found[domain] = _Index(open_pool(part, threads=threads, device=device), rows)
    return found
