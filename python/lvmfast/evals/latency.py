"""How long one query takes from its window to its hits, one query at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.evals.gated import DomainSource
from lvmfast.evals.pools import DEPTH, Pool
from lvmfast.evals.predictors import Predictor
from lvmfast.evals.queries import Queries
from lvmfast.evals.reordering import Order
from lvmfast.evals.request import TopK
from lvmfast.evals.search import open_pool
from lvmfast.models.baselines import evenly_spaced

WARM_UP, TIMED = 10, 200
#: Fewer of both where time is short, but so many at least.
LEAST_WARM_UP, LEAST_TIMED = 2, 5
QUANTILES = (50, 95, 99)
#: All timing together takes at most this share of the time that the evaluation took before it.
SHARE = 0.25
#: Wall time over processor time from which other work held the processor.
PARTED = 1.5


def latency(
    predictor: Predictor,
    queries: Queries,
    pool: Pool,
    *,
    order: Order | None = None,
    gate: DomainSource | None = None,
    indexes: Mapping[int, Index],
    seconds: float,
    device: str = "cpu",
) -> dict[str, Any]:
    """P50, P95 and P99 in milliseconds of the model, the search and `order` together, after warm-up.

    Beside them stands the processor time of the whole process, `cpu_P50` and so on: where it is much less
    (`parted`), the process waited for other work and wall time says more of the machine than of the model.

    Args:
        predictor: the model.
        queries: up to `TIMED` of them at even distances are asked.
        pool: what is searched.
        order: puts the first candidates in another order.
        gate: each domain is searched by itself, the query's told by what needs no truth.
        indexes: what is searched, by domain (`open_indexes`).
        seconds: to be spent, but for `LEAST_TIMED` queries that are asked in any case.
        device: what the search runs on.

    Windows are in memory and the pool is open before the clock starts; the query's own context, where it is
    known, is taken out as it is in scoring.
    """
    rows = evenly_spaced(queries.n, TIMED)
    windows = queries.sequences.contexts(rows)
    context = None if pool.context is None else pool.context[rows]
    taken: list[tuple[int, int]] = []
    began = time.perf_counter()
    warm = min(WARM_UP, len(rows))
    for turn in range(WARM_UP + len(rows)):
        spent = time.perf_counter() - began
        if turn == LEAST_WARM_UP and spent > seconds * WARM_UP / (WARM_UP + TIMED):
            warm = LEAST_WARM_UP
        if turn >= warm + LEAST_TIMED and spent > seconds:
            break
        place = turn % len(rows)
        exclude = None if context is None else context[place : place + 1]
        start, used = time.perf_counter_ns(), time.process_time_ns()
        predicted = predictor.predict(windows[place : place + 1])
        domain = (
            0 if gate is None else int(gate.of_predictions(predicted, queries, rows[place : place + 1])[0])
        )
        found = indexes[domain].top_k(predicted, exclude) if domain in indexes else None
        if order is not None and found is not None:
            order(found, windows[place : place + 1])
        taken.append((time.perf_counter_ns() - start, time.process_time_ns() - used))
    wall, cpu = np.array(taken[warm:]).T / 1e6
    on_processor = predictor.device == device == "cpu"
    return (
        _quantiles("P", wall)
        | _quantiles("cpu_P", cpu)
        | {
            "parted": bool(on_processor and wall.sum() > PARTED * cpu.sum()),
            "queries": len(wall),
            "model_device": predictor.device,
            "search_device": device,
            "pool": pool.name,
            "pool_size": len(pool.vectors),
            "k": DEPTH,
        }
    )


def _quantiles(prefix: str, taken: npt.NDArray[Any]) -> dict[str, Any]:
    found = np.percentile(taken, QUANTILES)
    return {f"{prefix}{q}": float(value) for q, value in zip(QUANTILES, found, strict=True)}


def parted_note(timed: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What there is to say where other work held the processor, a sentence at most."""
    parted = {model: found for model, found in timed.items() if found["parted"]}
    if not parted:
        return []
    model, found = max(parted.items(), key=lambda item: float(item[1]["P50"]))
    return [
        f"latency: {', '.join(parted)}: wall time is more than {PARTED:g} times processor time ({model}: "
        f"{found['P50']:.2f} ms a query, {found['cpu_P50']:.2f} ms of processor): other work held the "
        "processor, and P50, P95 and P99 say more of the machine than of the model"
    ]


@dataclass(frozen=True)
class Index:
    """The rows of one domain, opened to be searched."""

    pool: Any
    rows: Rows | None  #: of the whole pool, ascending; None for all

    def top_k(self, predicted: Vectors, exclude: Rows | None) -> TopK:
        """The first candidates of (1, d), without the (1, e) excluded rows of the whole pool."""
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


def open_indexes(pool: Pool, gate: DomainSource | None, threads: int, device: str) -> dict[int, Index]:
    """The whole pool as domain 0, or with a gate the rows of each domain."""
    if gate is None:
        return {0: Index(open_pool(pool.vectors, threads=threads, device=device), None)}
    of_row = gate.of_pool(pool)
    found = {}
    for domain in np.unique(of_row[of_row >= 0]).tolist():
        rows = np.flatnonzero(of_row == domain)
        part = np.ascontiguousarray(pool.vectors[rows])
        found[domain] = Index(open_pool(part, threads=threads, device=device), rows)
    return found
