"""Domain gating in an evaluation: what limiting candidates to the query's domain takes and gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lvmfast.corpus.dataset import Rows, Vectors
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
from lvmfast.evals.pools import DEPTH, Pool
from lvmfast.evals.queries import Queries
from lvmfast.evals.scoring import Context, excluded
from lvmfast.models.baselines import evenly_spaced

CLUSTERS = "clusters:"

#: What a gate may change.
TOLD = ("R@5", f"Contain@{DEPTH}")


class DomainSource(Protocol):
    """Domains from one source."""

    @property
    def told_by(self) -> tuple[By, ...]:
        """What may tell a query's domain; the first of them needs no truth."""
        ...

    def of_pool(self, pool: Pool) -> Rows:
        """(n,) domains of candidates, -1 where nothing is known."""
        ...

    def of_predictions(self, predicted: Vectors, queries: Queries, rows: Rows) -> Rows:
        """(len(rows),) domains of some queries, as told without the truth."""
        ...


@dataclass(frozen=True)
class Clusters:
    """Clusters of training chunks: the nearest centroid of a prediction tells."""

    centroids: Vectors
    told_by: tuple[By, ...] = ("prediction", "truth")

    def of_pool(self, pool: Pool) -> Rows:
        """The cluster of every candidate."""
        return assign_domains(pool.vectors, self.centroids)

    def of_predictions(self, predicted: Vectors, queries: Queries, rows: Rows) -> Rows:
        """The cluster of every prediction."""
        return assign_domains(predicted, self.centroids)


@dataclass(frozen=True)
class DomainTable:
    """Domains of documents: that of a query's window is known to whoever asks."""

    domains: Domains
    told_by: tuple[By, ...] = ("context",)

    def of_pool(self, pool: Pool) -> Rows:
        """The domain of every candidate's document."""
        if pool.keys is None:
            raise DataError(f"pool {pool.name}: its documents are not known, nor are their domains")
        return self.domains.numbers(pool.keys[:, :2])

    def of_predictions(self, predicted: Vectors, queries: Queries, rows: Rows) -> Rows:
        """The domain of every window's document."""
        if queries.keys is None:
            raise DataError(f"{queries.name}: its documents are not known, nor are their domains")
        found = self.domains.numbers(queries.keys[rows, :2])
        if unknown := int(np.count_nonzero(found < 0)):
            raise DataError(
                f"{self.domains.name}: expected a domain for every document of {queries.name}, "
                f"{unknown:,} of its {queries.n:,} rows have none"
            )
        return found


def open_source(source: str, train: Sequences | None, *, seed: int = 0) -> DomainSource:
    """The gate that `clusters:K`, or a parquet table with doc_id and domain, stands for.

    Raises:
        DataError: no number of clusters, or no training vectors to fit them to; an unreadable table.
    """
    if not source.startswith(CLUSTERS):
        return DomainTable(Domains(Path(source)))
    given = source.removeprefix(CLUSTERS)
    if not given.isdecimal() or int(given) < 2:
        raise DataError(
            f"gate by domain: expected {CLUSTERS}K with K from 2, or a parquet file, got {source!r}"
        )
    if train is None:
        raise DataError(
            f"gate by domain: {source} are fitted to training chunks: --train names the training set "
            "(a fingerprint holds no vectors)"
        )
    return Clusters(fit_domains(training_chunks(train), int(given), seed=seed))


def training_chunks(train: Sequences) -> Vectors:
    """Some chunks of a training set, at even distances, each once where its layout has them so."""
    if train.chunks is not None:
        rows = evenly_spaced(train.chunks, FITTED_ROWS)
        chunks = train.chunk_vectors
        assert chunks is not None
        return chunks[rows]
    return train.targets(evenly_spaced(train.n, FITTED_ROWS))


def gated_name(model: str, by: By) -> str:
    """The name of a model whose candidates were gated."""
    oracle = " (ORACLE)" if by == "truth" else ""
    return f"{model} + domain by {by}{oracle}"


def gatings(gate: DomainSource, predicted: Vectors, queries: Queries, pool: Pool) -> list[Gating]:
    """The domains of queries and candidates, by everything that may tell them."""
    of_row = gate.of_pool(pool)
    told = gate.of_predictions(predicted, queries, np.arange(queries.n))
    return [Gating(of_row[pool.truth] if by == "truth" else told, of_row, by) for by in gate.told_by]


def ranks_within(gating: Gating, predicted: Vectors, pool: Pool, context: Context, threads: int = 0) -> Rows:
    """(q,) ranks of the true rows among the candidates of the queries' domains."""
    everyone = np.arange(len(predicted))
    gone = excluded(pool, context, everyone, np.arange(len(pool.vectors)))
    return gated_ranks(predicted, pool.vectors, pool.truth, gating, exclude=gone, threads=threads)


def told(
    model: str, pool: Pool, context: Context, gating: Gating, before: Rows, after: Rows
) -> dict[str, Any]:
    """What the gate takes and gives: metrics without and with it, both in percent.

    Contain@50 with the gate is that of gated retrieval; the table's own is of what was retrieved before.
    """
    without, within = (retrieval_metrics(ranks) for ranks in (before, after))
    return {
        "model": model,
        "name": gated_name(model, gating.by),
        "pool": pool.name,
        "context": context,
        **gating_figures(gating, pool.truth),
        **{name: {"without": float(without[name]), "with": float(within[name])} for name in TOLD},
    }


def with_latency(
    found: Sequence[Mapping[str, Any]], latencies: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The same with the median latency without and with the gate, in ms; null where it was not timed."""

    def median(model: str) -> float | None:
        return latencies[model]["P50"] if model in latencies else None

    return [{**row, "P50": {"without": median(row["model"]), "with": median(row["name"])}} for row in found]
