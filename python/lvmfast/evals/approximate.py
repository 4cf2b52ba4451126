"""An approximate FAISS index beside the exact search: what it misses, and what it saves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError, missing_extra
from lvmfast.evals.metrics import retrieval_metrics
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.pools import DEPTH, Pool, Space
from lvmfast.evals.ranks import unit_rows
from lvmfast.evals.request import TopK
from lvmfast.evals.retrieved import Retrieved

#: What an approximate index may change.
TOLD = ("R@5", f"Contain@{DEPTH}")


class FaissPool:
    """A pool behind a FAISS index of normalised rows: inner products are cosines in float32."""

    def __init__(self, factory: str, vectors: Vectors, threads: int = 0) -> None:
        """Builds the index that a string of FAISS's index factory names, and trains it on the rows.

        Raises:
            DataError: faiss is not installed, knows no such index, or has too few rows to train it.
        """
        try:
            import faiss
        except ImportError as error:
            raise missing_extra("an approximate index", "faiss", error) from error
        if threads > 0:
            faiss.omp_set_num_threads(threads)
        # A row without a direction is at cosine 0 of everything here, and is in no exact ranking.
        rows = np.nan_to_num(unit_rows(vectors))
        try:
            self._index = faiss.index_factory(rows.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
            self._index.train(rows)
            self._index.add(rows)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise DataError(f"approximate index {factory!r} over {len(rows):,} rows: {reason}") from error

    @property
    def size(self) -> int:
        """Rows in all."""
        return int(self._index.ntotal)

    def top_k(self, queries: Vectors, k: int, *, exclude: Rows | None = None) -> TopK:
        """At most k rows that the index finds of each of (q, d) queries; -1 and NaN behind the last one."""
        more = 0 if exclude is None else exclude.shape[1]
        scores, rows = self._index.search(np.nan_to_num(unit_rows(queries)), min(k + more, self.size))
        gone = rows < 0
        if exclude is not None:
            gone |= (rows[:, :, None] == exclude[:, None, :]).any(axis=2)
        order = np.argsort(gone, axis=1, kind="stable")[:, :k]
        scores = np.where(gone, np.nan, scores.astype(np.float64))
        return TopK(
            np.take_along_axis(scores, order, axis=1),
            np.take_along_axis(np.where(gone, -1, rows), order, axis=1).astype(np.int64),
        )


def open_faiss(pools: Iterable[Pool], options: EvalOptions) -> dict[Space, FaissPool]:
    """The index that is asked for, one for all pools of the same vectors; none of a pool of one document.

    Raises:
        DataError: as `FaissPool`.
    """
    if options.approximate is None:
        return {}
    wanted = {pool.space: pool for pool in pools if pool.documents is None}
    return {
        space: FaissPool(options.approximate, pool.vectors, options.threads) for space, pool in wanted.items()
    }


def told(at: Retrieved, index: FaissPool) -> dict[str, Any]:
    """Recall of the exact first candidates, and metrics of exact and of approximate retrieval, in percent."""
    exact, truth = at.first.rows, at.pool.truth[:, None]
    found = index.top_k(at.predicted, DEPTH, exclude=None if at.context == "in" else at.pool.context)
    wanted = exact >= 0
    met = (exact[:, :, None] == found.rows[:, None, :]).any(axis=2) & wanted
    there = found.rows == truth
    own = np.where(there, found.scores, 0.0).sum(axis=1)
    # Ties count against the model, as they do in the exact ranks.
    behind = np.count_nonzero(found.scores >= own[:, None], axis=1)
    within = np.where(there.any(axis=1), np.maximum(behind, 1), len(at.pool.vectors) + 1)
    without, approximate = (retrieval_metrics(each) for each in (at.ranks, within))
    return {
        "model": at.model,
        "pool": at.pool.name,
        "context": at.context,
        "recall": float(met.sum() / max(1, wanted.sum())),
        **{name: {"exact": float(without[name]), "index": float(approximate[name])} for name in TOLD},
    }
