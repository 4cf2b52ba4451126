"""Every model in every pool, with the query's context in it and out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.evals.approximate import FaissPool
from lvmfast.evals.approximate import told as found_nearby
from lvmfast.evals.density import final_ranks
from lvmfast.evals.gated import DomainSource, gated_name, gatings, ranks_within, told
from lvmfast.evals.metrics import METRICS, document_metrics
from lvmfast.evals.pools import Pool
from lvmfast.evals.queries import Queries
from lvmfast.evals.reordering import Reordering, reordered_lists
from lvmfast.evals.request import Scores
from lvmfast.evals.retrieve import retrieve
from lvmfast.evals.scoring import (
    Bootstrap,
    Context,
    Scored,
    chance,
    difference,
    oracle_metrics,
    pool_ranks,
    record,
    score,
    truth_cosines,
)
from lvmfast.evals.split_status import SplitStatus
from lvmfast.leaks.progress import Progress

ORACLE = "oracle"
COPY_LAST = "copy-last"

Place = tuple[str, str, str]  #: model, pool, context


@dataclass(frozen=True)
class ScoreTable:
    """All scores, by model, pool and context, and the candidates that each query saw."""

    scored: Mapping[Place, Scored]
    oracle: Mapping[tuple[str, str], Scored]  #: the true vectors as queries, by pool and context
    sizes: Mapping[tuple[str, str], Rows]
    documents: npt.NDArray[Any]  #: (q,)
    gated: Sequence[Mapping[str, Any]] = ()  #: what a gate by domain takes and gives, by model and place
    approximate: Sequence[Mapping[str, Any]] = ()  #: what an approximate index finds, likewise


def contexts_of(pool: Pool) -> tuple[Context, ...]:
    """`in`, and `out` where it is known which rows are a query's context."""
    return ("in",) if pool.context is None else ("in", "out")


def score_all(
    predicted: Mapping[str, Vectors],
    queries: Queries,
    pools: Sequence[Pool],
    bootstrap: Bootstrap,
    threads: int,
    progress: Progress,
    *,
    reorderings: Sequence[Reordering] = (),
    densities: Mapping[str, Scores] | None = None,
    gate: DomainSource | None = None,
    indexes: Mapping[str, FaissPool] | None = None,
) -> ScoreTable:
    """Ranks and scores every prediction in every pool; the true vectors among them, as the oracle.

    With `reorderings` every model stands there once more for each of them, in the pools that have
    `densities`: its first candidates in that order. With a `gate` it does once more for each way to tell a
    query's domain, in the pools that are not of one document. Contain is as retrieved, before either.
    With `indexes`, by pool, the first candidates are those of an approximate index too.

    Raises:
        DataError: as `truth_ranks`.
    """
    scored: dict[Place, Scored] = {}
    oracle: dict[tuple[str, str], Scored] = {}
    sizes: dict[tuple[str, str], Rows] = {}
    everyone = {**predicted, ORACLE: queries.targets}
    cosines = {model: truth_cosines(vectors, queries.targets) for model, vectors in everyone.items()}
    densities = densities or {}
    gated: list[dict[str, Any]] = []
    approximate: list[dict[str, Any]] = []
    indexes = indexes or {}
    places = [(pool, context) for pool in pools for context in contexts_of(pool)]
    done, total = 0, len(places) * len(everyone)
    for pool, context in places:
        sizes[pool.name, context] = pool.sizes(context)
        for model, vectors in everyone.items():
            ranks = pool_ranks(vectors, pool, context, threads)
            found = score(model, ranks, cosines[model], pool, context, queries.documents, bootstrap)
            if model == ORACLE:
                oracle[pool.name, context] = found
            else:
                scored[model, pool.name, context] = found
                if pool.name in indexes or (reorderings and pool.name in densities):
                    first = retrieve(vectors, pool, context, threads=threads)
                for reordering in reorderings if pool.name in densities else ():
                    order = reordering.order(pool, densities[pool.name], threads)
                    name = reordering.name(model)
                    scored[name, pool.name, context] = score(
                        name,
                        final_ranks(reordered_lists(first, queries, order), pool.truth, ranks),
                        cosines[model],
                        pool,
                        context,
                        queries.documents,
                        bootstrap,
                        retrieved=ranks,
                    )
                if pool.name in indexes:
                    approximate.append(
                        found_nearby(model, pool, context, first, ranks, vectors, indexes[pool.name])
                    )
                if gate is not None and pool.documents is None:
                    for gating in gatings(gate, vectors, queries, pool):
                        name = gated_name(model, gating.by)
                        within = ranks_within(gating, vectors, pool, context, threads)
                        scored[name, pool.name, context] = score(
                            name,
                            within,
                            cosines[model],
                            pool,
                            context,
                            queries.documents,
                            bootstrap,
                            retrieved=ranks,
                        )
                        gated.append(told(model, pool, context, gating, ranks, within))
            done += 1
            progress("rank", done, total)
    return ScoreTable(scored, oracle, sizes, queries.documents, gated, approximate)


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
                | {name: _finite(metrics.get(name)) for name in METRICS}
            )
    texts = [(name, pa.large_string()) for name in ("model", "pool", "context", "doc_id")]
    schema = pa.schema([*texts, ("n_queries", pa.int64()), *((name, pa.float64()) for name in METRICS)])
    return pa.Table.from_pylist(rows, schema=schema)


def _finite(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value
