"""Domain gating in an evaluation: what limiting candidates to the query's domain takes and gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.keys import Keys
from lvmfast.corpus.sequences import Sequences
from lvmfast.errors import DataError
from lvmfast.evals.domain_level import Domains
from lvmfast.evals.domains import (
    FITTED_ROWS,
    By,
    Gating,
    assign_domains,
    fit_domains,
    gated_ranks,
    gating_figures,
)
from lvmfast.evals.metrics import retrieval_metrics
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.pools import DEPTH, Pool
from lvmfast.evals.queries import Queries
from lvmfast.evals.retrieved import Retrieved
from lvmfast.evals.scoring import excluded
from lvmfast.evals.variants import Ranked, Variant
from lvmfast.evals.ways import Way, open_indexes
from lvmfast.models.baselines import evenly_spaced

CLUSTERS = "clusters:"

#: What a gate may change.
TOLD = ("R@5", f"Contain@{DEPTH}")


@dataclass(frozen=True)
class DomainSource:
    """Domains from one source."""

    told_by: tuple[By, ...]  #: what may tell a query's domain; the first of them needs no truth
    of_pool: Callable[[Pool], Rows]  #: (n,) domains of candidates, -1 where nothing is known
    of_predictions: Callable[[Vectors, Queries, Rows], Rows]  #: of the queries `rows`, told without the truth


def clusters(centroids: Vectors) -> DomainSource:
    """Clusters of training chunks: the nearest centroid of a prediction tells."""
    return DomainSource(
        ("prediction", "truth"),
        lambda pool: assign_domains(pool.vectors, centroids),
        lambda predicted, queries, rows: assign_domains(
            np.ascontiguousarray(predicted[:, : centroids.shape[1]]), centroids
        ),
    )


def domain_table(domains: Domains) -> DomainSource:
    """Domains of documents: that of a query's window is known to whoever asks."""

    def of_keys(name: str, keys: Keys | None) -> Rows:
        if keys is None:
            raise DataError(f"{name}: its documents are not known, nor are their domains")
        return domains.numbers(keys[:, :2])

    def of_predictions(predicted: Vectors, queries: Queries, rows: Rows) -> Rows:
        found = of_keys(queries.name, queries.keys)[rows]
        if unknown := int(np.count_nonzero(found < 0)):
            raise DataError(
                f"{domains.name}: expected a domain for every document of {queries.name}, "
                f"{unknown:,} of its {queries.n:,} rows have none"
            )
        return found

    return DomainSource(("context",), lambda pool: of_keys(f"pool {pool.name}", pool.keys), of_predictions)


def open_source(source: str, train: Sequences | None, *, seed: int = 0) -> DomainSource:
    """The gate that `clusters:K`, or a parquet table with doc_id and domain, stands for.

    Raises:
        DataError: no number of clusters, or no training vectors to fit them to; an unreadable table.
    """
    if not source.startswith(CLUSTERS):
        return domain_table(Domains(Path(source)))
    given = source.removeprefix(CLUSTERS)
    if not given.isdecimal() or int(given) < 2:
        raise DataError(
            f"gate by domain: expected {CLUSTERS}K with K from 2, or a parquet file, got {source!r}"
        )
    if train is None:
        raise DataError(
            f"gate by domain: {source} are fitted to training chunks: --train names the training set, "
            "with its windows (a fingerprint holds no vectors)"
        )
    return clusters(fit_domains(training_chunks(train), int(given), seed=seed))


def training_chunks(train: Sequences) -> Vectors:
    """Some chunks of a training set, at even distances, each once where its layout has them so."""
    if train.chunks is not None:
        rows = evenly_spaced(train.chunks, FITTED_ROWS)
        chunks = train.chunk_vectors
        assert chunks is not None
        return chunks[rows]
    return train.targets(evenly_spaced(train.n, FITTED_ROWS))


def gated(
    source: DomainSource, queries: Queries, pools: Sequence[Pool], options: EvalOptions
) -> list[Variant]:
    """Candidates of the query's domain alone: a variant for all that may tell the domain.

    Raises:
        DataError: the documents of a pool, or their domains, are not known.
    """
    of_rows = {pool.name: source.of_pool(pool) for pool in pools if pool.documents is None}

    def variant(by: By) -> Variant:
        kind, oracle = ("oracle", " (ORACLE)") if by == "truth" else ("gated", "")

        def rank(at: Retrieved) -> Ranked:
            of_row = of_rows[at.pool.name]
            if by == "truth":
                of_query = of_row[at.pool.truth]
            else:
                of_query = source.of_predictions(at.predicted, queries, np.arange(queries.n))
            gating = Gating(of_query, of_row, by)
            gone = excluded(at.pool, at.context, np.arange(queries.n), np.arange(len(of_row)))
            truth, threads = at.pool.truth, options.threads
            ranks = gated_ranks(at.predicted, at.pool.vectors, truth, gating, exclude=gone, threads=threads)
            return ranks, _told(at, found.name(at.model), gating, ranks)

        def way(pool: Pool, plain: Way) -> Way:
            return Way(
                open_indexes(pool, options, of_rows[pool.name]),
                domain=lambda predicted, rows: source.of_predictions(predicted, queries, rows),
            )

        found = Variant(rank, None if by == "truth" else way, f"domain by {by}{oracle}", kind)
        return found

    return [variant(by) for by in source.told_by]


def _told(at: Retrieved, name: str, gating: Gating, within: Rows) -> dict[str, Any]:
    """What the gate takes and gives: metrics without and with it, both in percent.

    Contain@50 with the gate is that of gated retrieval; the table's own is of what was retrieved before.
    """
    without, gated = (retrieval_metrics(ranks) for ranks in (at.ranks, within))
    return {
        "model": at.model,
        "name": name,
        "pool": at.pool.name,
        "context": at.context,
        **gating_figures(gating, at.pool.truth),
        **{metric: {"without": float(without[metric]), "with": float(gated[metric])} for metric in TOLD},
    }
