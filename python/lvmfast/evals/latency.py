"""How long one query takes from its window to its hits, one query at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.evals.pools import DEPTH, Pool
from lvmfast.evals.predictors import Predictor
from lvmfast.evals.queries import Queries
from lvmfast.evals.ways import Way
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
    way: Way,
    *,
    seconds: float,
    device: str = "cpu",
) -> dict[str, Any]:
    """P50, P95 and P99 in milliseconds of the model, the search and the order together, after warm-up.

    Beside them stands the processor time of the whole process, `cpu_P50` and so on: where it is much less
    (`parted`), the process waited for other work and wall time says more of the machine than of the model.

    Args:
        predictor: the model.
        queries: up to `TIMED` of them at even distances are asked.
        pool: what is searched.
        way: how it is searched.
        seconds: to be spent, but for `LEAST_TIMED` queries that are asked in any case.
        device: what the search runs on.

    Windows are in memory and the pool is open before the clock starts; the query's own context, where it is
    known, is taken out as it is in scoring.
    """
    rows = evenly_spaced(queries.n, TIMED)
    windows, seen = queries.sequences.contexts(rows), predictor.contexts(queries.sequences, rows)
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
        predicted = predictor.predict(seen[place : place + 1])
        domain = 0 if way.domain is None else int(way.domain(predicted, rows[place : place + 1])[0])
        found = way.indexes[domain].top_k(predicted, exclude) if domain in way.indexes else None
        if way.order is not None and found is not None:
            way.order(found, windows[place : place + 1])
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


def median(timed: Mapping[str, Mapping[str, Any]], model: str, pool: str | None = None) -> float | None:
    """Its P50 in ms; None where it was not timed, or in another pool than the one that is named."""
    found = timed.get(model)
    return None if found is None or pool not in (None, found["pool"]) else float(found["P50"])


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
        f"latency: {', '.join(parted)}: all timed queries together took more than {PARTED:g} times their "
        f"processor time (medians of {model}: {found['P50']:.2f} ms, {found['cpu_P50']:.2f} ms of processor"
        "): other work kept the processor busy, and P50, P95 and P99 say more about the machine than about "
        "the model"
    ]
