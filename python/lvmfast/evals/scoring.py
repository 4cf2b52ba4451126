"""One model against one pool: ranks, metrics, intervals, and what chance would give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.evals.bootstrap import RESAMPLES, Interval, cluster_interval, paired_interval
from lvmfast.evals.metrics import (
    CONTAINS,
    EFFICIENCY,
    METRICS,
    RECALLS,
    Values,
    hit_counts,
    macro_metrics,
    query_values,
    retrieval_metrics,
)
from lvmfast.evals.pools import Pool
from lvmfast.evals.ranks import truth_ranks
from lvmfast.evals.vectors import pair_scores

Context = Literal["in", "out"]

#: Metrics whose equality with the oracle's gives a model away.
ORACLE_METRICS = ("R@1", "R@5", "MRR")


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are drawn."""

    resamples: int = RESAMPLES
    seed: int = 0
    level: float = 0.95


@dataclass(frozen=True)
class Scored:
    """A model's ranks in one pool, and what follows from them."""

    model: str
    pool: str
    context: Context
    ranks: Rows  #: (q,)
    values: Mapping[str, Values]  #: (q,) what each query adds to each metric
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    macro: Mapping[str, float]
    counts: Mapping[str, int]


def pool_ranks(predicted: Vectors, pool: Pool, context: Context, threads: int = 0) -> Rows:
    """(q,) the rank of each query's true row, ties against the model."""
    ranks = np.empty(len(predicted), np.int64)
    for queries, rows in pool.groups():
        truth = np.searchsorted(rows, pool.truth[queries])
        ranks[queries] = truth_ranks(
            np.ascontiguousarray(predicted[queries]),
            pool.vectors if len(rows) == len(pool.vectors) else np.ascontiguousarray(pool.vectors[rows]),
            truth,
            exclude=excluded(pool, context, queries, rows),
            threads=threads,
        )
    return ranks


def excluded(pool: Pool, context: Context, queries: Rows, rows: Rows) -> Rows | None:
    """(q, length) places in `rows` of the queries' own context, -1 for none; None where it stays in."""
    if context == "in" or pool.context is None:
        return None
    wanted = pool.context[queries]
    places = np.searchsorted(rows, wanted).clip(0, len(rows) - 1)
    return np.where((wanted >= 0) & (rows[places] == wanted), places, -1)


def score(
    place: tuple[str, str, Context],
    ranks: Rows,
    cosines: Values,
    documents: npt.NDArray[Any],
    bootstrap: Bootstrap,
    *,
    retrieved: Rows | None = None,
) -> Scored:
    """Metrics over queries and over documents, with article-cluster intervals.

    Args:
        place: the model, the pool in which the true row was looked for, and whether the query's own window
            was in there.
        ranks: (q,) of the true row in the final ranking.
        cosines: (q,) of prediction and truth.
        documents: (q,) the document of each query.
        bootstrap: how intervals are drawn.
        retrieved: (q,) rank before reranking, for Contain.
    """
    values = query_values(ranks, retrieved=retrieved, cosines=cosines)
    metrics = retrieval_metrics(ranks, retrieved=retrieved, cosines=cosines)
    return Scored(
        *place,
        ranks,
        values,
        metrics,
        intervals(values, metrics, documents, bootstrap),
        macro_metrics(values, documents),
        hit_counts(ranks, retrieved=retrieved),
    )


def intervals(
    values: Mapping[str, Values], names: Iterable[str], clusters: npt.NDArray[Any], bootstrap: Bootstrap
) -> dict[str, Interval]:
    """Those of the metrics `names`, from what each of (q,) queries adds to them."""
    parts = {name: (column, None) for name, column in values.items()} | {
        "Eff@5": (values[EFFICIENCY[0]], values[EFFICIENCY[1]])
    }
    drawn = vars(bootstrap)
    return {name: cluster_interval(parts[name][0], clusters, over=parts[name][1], **drawn) for name in names}


def difference(a: Scored, b: Scored, documents: npt.NDArray[Any], bootstrap: Bootstrap) -> dict[str, Any]:
    """a - b of each metric that is a mean over queries, over the same queries, with its interval."""
    found = {}
    for name in a.values:
        low, high = paired_interval(a.values[name], b.values[name], documents, **vars(bootstrap))
        found[name] = {"difference": a.metrics[name] - b.metrics[name], "interval": plain(low, high)}
    return {"model": a.model, "against": b.model, "pool": a.pool, "context": a.context, "metrics": found}


def chance(sizes: Rows) -> dict[str, float]:
    """What a random order gives each query that sees `sizes` (q,) candidates.

    The true row's rank is then uniform: P(rank <= k) = min(k, n) / n, and E[1 / rank] = H(n) / n.
    """
    n = sizes.astype(np.float64)
    at = {f"R@{k}": k for k in RECALLS} | {f"Contain@{k}": k for k in CONTAINS}
    found = {name: float(100 * np.mean(np.minimum(k, n) / n)) for name, k in at.items()}
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, sizes.max() + 1))])
    found["MRR"] = float(np.mean(harmonic[sizes] / n))
    return found


def oracle_metrics(
    model: Mapping[str, float], oracle: Mapping[str, float], chances: Mapping[str, float]
) -> list[str]:
    """The metrics in which a model equals the oracle, although chance does not."""
    return [name for name in ORACLE_METRICS if model[name] == oracle[name] and chances[name] < oracle[name]]


def truth_cosines(predicted: Vectors, targets: Vectors) -> Values:
    """(q,) the cosine of each prediction with its target; 0 where a prediction has no direction."""
    rows = np.arange(len(targets))
    found: Values = pair_scores(predicted, rows, targets, rows)
    return np.where(predicted.any(axis=1), found, 0.0)


def plain(low: float, high: float) -> list[float | None]:
    """An interval for JSON."""
    return [finite(low), finite(high)]


def record(scored: Scored, sizes: Rows, documents: npt.NDArray[Any]) -> dict[str, Any]:
    """One entry of `metrics.json`, without what is known of the split."""
    return {
        "model": scored.model,
        "pool": scored.pool,
        "pool_size": int(sizes.max()),
        "pool_size_least": int(sizes.min()),
        "context": scored.context,
        "n_queries": len(scored.ranks),
        "n_documents": len(np.unique(documents)),
        **{name: finite(scored.metrics.get(name)) for name in METRICS},
        "interval": {name: plain(*ends) for name, ends in scored.intervals.items()},
        "macro": {name: finite(value) for name, value in scored.macro.items()},
        "count": dict(scored.counts),
        "chance": chance(sizes),
    }


def finite(value: float | None) -> float | None:
    """A figure for JSON, which has no NaN."""
    return None if value is None or np.isnan(value) else float(value)
