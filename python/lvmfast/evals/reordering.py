"""Putting a model's first candidates in another order, for the rows of the table that show what it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.provenance import check_same_encoder
from lvmfast.corpus.sequences import Sequences
from lvmfast.errors import DataError
from lvmfast.evals.density import NEIGHBOURS, final_ranks, rerank_by_density
from lvmfast.evals.fit import trained_hash
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.pools import DEPTH, Pool
from lvmfast.evals.predictors import Predictor, open_train, training_files
from lvmfast.evals.queries import Queries
from lvmfast.evals.request import Scores, TopK
from lvmfast.evals.rerank import load_reranker
from lvmfast.evals.retrieved import Retrieved
from lvmfast.evals.variants import Ranked, Variant
from lvmfast.evals.ways import Order

#: Queries whose windows are in memory together.
BATCH = 512


@dataclass(frozen=True)
class Reordering:
    """A way to order candidates of the pools `eval` and `corpus`."""

    label: str  #: behind a model's name
    order: Callable[[Pool, Scores, int], Order]  #: of a pool, its rows' densities and threads
    fitted_to: str | None = None  #: BLAKE3 of the chunks it was fitted to; None where nothing was fitted
    neighbours: tuple[
        int, ...
    ] = ()  #: densities that the models take off by themselves whose lists it orders


def by_density(weight: float) -> Reordering:
    """By cosine less `weight` times the density of the candidate.

    Raises:
        DataError: a weight below 0 or above 10.
    """
    if not 0 <= weight <= 10:
        raise DataError(f"density: expected a weight from 0 to 10, got {weight}")
    return Reordering(
        f"density {weight:g}",
        lambda pool, densities, threads: lambda found, windows: rerank_by_density(found, densities, weight),
    )


def by_reranker(path: str, queries: Queries, depth: int, *, allow_leaked: bool = False) -> Reordering:
    """By a reranker that `lvmfast rerank fit` made, for lists of `depth`.

    Raises:
        DataError: it is unreadable, of other windows, vectors, lists or encoder, or was fitted to a
            quarantined file, and that was not allowed.
    """
    reranker = load_reranker(Path(path))
    stated = (reranker.length, reranker.stated.get("dim"), reranker.depth)
    given = (queries.sequences.length, queries.sequences.dim, depth)
    if stated != given:
        raise DataError(
            f"{path}: expected a reranker for windows of {given[0]} vectors of {given[1]} values and lists "
            f"of {given[2]}, got {stated[0]}, {stated[1]} and {stated[2]}"
        )
    check_same_encoder({path: reranker.stated.get("provenance", {})}, queries.provenance)
    if reranker.stated.get("leak_status") != "clean" and not allow_leaked:
        raise DataError(f"{path}: fitted to a quarantined file: --allow-leaked uses it in spite of this")

    def order(pool: Pool, densities: Scores, threads: int) -> Order:
        def reranked(found: TopK, windows: Vectors) -> TopK:
            if (found.rows < 0).any():
                raise DataError(f"rerank: a query sees fewer than the {depth} candidates of a list")
            return reranker.rerank(found, windows, pool.vectors, densities, threads)

        return reranked

    neighbours = tuple(reranker.stated.get("neighbours", ()))
    return Reordering("rerank", order, str(reranker.stated.get("train_hash")), neighbours)


def open_reorderings(options: EvalOptions, queries: Queries) -> list[Reordering]:
    """Those that are asked for.

    Raises:
        DataError: as `by_density` and `by_reranker`.
    """
    found = [] if options.density is None else [by_density(options.density)]
    if options.rerank is not None:
        found.append(by_reranker(options.rerank, queries, DEPTH, allow_leaked=options.allow_leaked))
    return found


def with_fitted_to(
    options: EvalOptions, reorderings: Sequence[Reordering], runs: Sequence[Predictor]
) -> EvalOptions:
    """The options; as `train`, where none is named, the files of a run that a reranker was fitted to.

    Raises:
        DataError: these files are broken.
    """
    if options.train is not None:
        return options
    for fitted in (each for each in reorderings if each.fitted_to is not None):
        for files in (found for run in runs if (found := training_files(run.run)) is not None):
            train = open_train(files, options.columns)
            if train is not None and not fitted_elsewhere(fitted, train, options.threads):
                return replace(options, train=files)
    return options


def reordered(
    reorderings: Sequence[Reordering],
    queries: Queries,
    train: Sequences | None,
    pools: Sequence[Pool],
    options: EvalOptions,
) -> list[Variant]:
    """The first candidates in another order: a variant for each, over densities that are made once."""
    threads = options.threads
    densities = {
        pool.name: pool.densities.of((NEIGHBOURS,), threads=threads)[:, 0]
        for pool in pools
        if reorderings and pool.documents is None
    }

    plain_pools = {pool.name: pool for pool in pools}

    def variant(by: Reordering) -> Variant:
        def order(pool: Pool) -> Order:
            return by.order(plain_pools[pool.name], densities[pool.name], threads)

        def rank(at: Retrieved) -> Ranked:
            lists = _reordered_lists(at.first, queries, order(at.pool))
            return final_ranks(lists, at.pool.truth, at.ranks), None

        return Variant(
            rank,
            lambda pool, plain: replace(plain, order=order(pool)),
            by.label,
            "reranked",
            neighbours=by.neighbours,
            elsewhere=fitted_elsewhere(by, train, threads),
        )

    return [variant(by) for by in reorderings]


def _reordered_lists(found: TopK, queries: Queries, order: Order) -> TopK:
    """All queries' lists in that order."""
    parts = []
    for start in range(0, queries.n, BATCH):
        rows: Rows = np.arange(start, min(queries.n, start + BATCH))
        part = TopK(found.scores[rows], found.rows[rows], found.left_out)
        parts.append(order(part, queries.sequences.contexts(rows)))
    scores, places = (np.concatenate([getattr(part, name) for part in parts]) for name in ("scores", "rows"))
    return TopK(scores, places, found.left_out)


def fitted_elsewhere(reordering: Reordering, train: Sequences | None, threads: int = 0) -> bool:
    """Whether it was fitted to chunks that are not those of the training set that was scanned."""
    if reordering.fitted_to is None:
        return False
    return train is None or trained_hash(train, threads) != reordering.fitted_to
