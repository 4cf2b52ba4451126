"""Every model in every pool, with the query's context in it and out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.evals.approximate import FaissPool
from lvmfast.evals.approximate import told as found_nearby
from lvmfast.evals.metrics import METRICS, document_metrics
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.pools import Pool, Space
from lvmfast.evals.queries import Queries
from lvmfast.evals.retrieved import retrieve
from lvmfast.evals.scored_pools import Pools, direction
from lvmfast.evals.scoring import (
    Bootstrap,
    Context,
    Scored,
    chance,
    difference,
    finite,
    oracle_metrics,
    pool_ranks,
    record,
    score,
    truth_cosines,
)
from lvmfast.evals.split_status import SplitStatus
from lvmfast.evals.variants import AS_IS, Variant

ORACLE = "oracle"
COPY_LAST = "copy-last"

Place = tuple[str, str, str]  #: model, pool, context


@dataclass(frozen=True)
class ScoreTable:
    """All scores, by model, pool and context, and the candidates that each query saw."""

    documents: npt.NDArray[Any]  #: (q,)
    scored: dict[Place, Scored] = field(default_factory=dict)
    oracle: dict[tuple[str, str], Scored] = field(default_factory=dict)  #: the true vectors as queries
    sizes: dict[tuple[str, str], Rows] = field(default_factory=dict)
    hits: list[pa.Table] = field(default_factory=list)  #: of `hits.parquet`
    gated: list[Mapping[str, Any]] = field(default_factory=list)  #: what a gate by domain takes and gives
    approximate: list[Mapping[str, Any]] = field(default_factory=list)  #: what an approximate index finds


def contexts_of(pool: Pool) -> tuple[Context, ...]:
    """`in`, and `out` where it is known which rows are a query's context."""
    return ("in",) if pool.context is None else ("in", "out")


def score_all(
    predicted: Mapping[str, Vectors],
    queries: Queries,
    pools: Sequence[Pool],
    options: EvalOptions,
    variants: Sequence[Variant] = (AS_IS,),
    scored_pools: Pools = MappingProxyType({}),
    indexes: Mapping[Space, FaissPool] = MappingProxyType({}),
) -> ScoreTable:
    """Scores every prediction, by every variant, in every pool that suits it; the true vectors as the oracle.

    Contain is as retrieved, before any variant. `scored_pools` has the pools as models score them, where they
    take density off. With `indexes`, the first candidates are those of an approximate index too.

    Raises:
        DataError: as `retrieve`.
    """
    table = ScoreTable(queries.documents)
    places = [(pool, context) for pool in pools for context in contexts_of(pool)]
    done, total = 0, len(places) * len(predicted)
    scored = partial(score, documents=queries.documents, bootstrap=options.bootstrap)
    for pool, context in places:
        table.sizes[pool.name, context] = pool.sizes(context)
        ranks = pool_ranks(queries.targets, pool, context, options.threads)
        cosines = truth_cosines(queries.targets, queries.targets)
        table.oracle[pool.name, context] = scored((ORACLE, pool.name, context), ranks, cosines)
        for model, vectors in predicted.items():
            seen = scored_pools.get((model, pool.name), pool)
            at = retrieve(model, vectors, queries, seen, context, options)
            cosines = truth_cosines(direction(vectors, queries.sequences.dim), queries.targets)
            table.hits.append(at.hits())
            for variant in (each for each in variants if each.suits(seen)):
                place, (ranks, told) = (variant.name(model), pool.name, context), variant.rank(at)
                table.scored[place] = scored(place, ranks, cosines, retrieved=at.ranks)
                table.gated.extend([told] if told is not None else [])
            if seen.space in indexes:
                table.approximate.append(found_nearby(at, indexes[seen.space]))
            done += 1
            options.progress("rank", done, total)
    return table


def records(
    table: ScoreTable, statuses: Mapping[str, SplitStatus], kinds: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The entries of `metrics.json`."""
    found = []
    for (model, pool, context), scored in table.scored.items():
        sizes = table.sizes[pool, context]
        as_oracle = oracle_metrics(scored.metrics, table.oracle[pool, context].metrics, chance(sizes))
        found.append(
            record(scored, sizes, table.documents)
            | {
                "kind": kinds[model],
                "equals_oracle": as_oracle,
                "split_status": statuses[model].status,
                "level": statuses[model].level,
            }
        )
    return found


def differences(
    table: ScoreTable, against: Sequence[str], bootstrap: Bootstrap, *, only: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Every model, or those named, less each of `against`, over the same queries, with intervals."""
    found = []
    for (model, pool, context), scored in table.scored.items():
        for other in against if only is None or model in only else ():
            if other != model:
                found.append(
                    difference(scored, table.scored[other, pool, context], table.documents, bootstrap)
                )
    return found


def by_document(table: ScoreTable, queries: Queries) -> pa.Table:
    """The metrics of every document by itself: one row per model, pool, context and document."""
    first = np.unique(queries.documents, return_index=True)[1]
    names = {int(queries.documents[row]): queries.names[row] for row in first}
    counts = np.bincount(queries.documents)
    rows: list[dict[str, Any]] = []
    for (model, pool, context), scored in table.scored.items():
        place = {"model": model, "pool": pool, "context": context}
        for document, metrics in document_metrics(scored.values, queries.documents).items():
            rows.append(
                {**place, "doc_id": names[document], "n_queries": int(counts[document])}
                | {name: finite(metrics.get(name)) for name in METRICS}
            )
    texts = [(name, pa.large_string()) for name in ("model", "pool", "context", "doc_id")]
    schema = pa.schema([*texts, ("n_queries", pa.int64()), *((name, pa.float64()) for name in METRICS)])
    return pa.Table.from_pylist(rows, schema=schema)
