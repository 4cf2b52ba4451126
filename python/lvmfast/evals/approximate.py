"""An approximate FAISS index beside the exact search: what it misses, and what it saves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError, missing_extra
from lvmfast.evals.metrics import retrieval_metrics
from lvmfast.evals.pools import DEPTH, Pool
from lvmfast.evals.ranks import unit_rows
from lvmfast.evals.request import TopK
from lvmfast.evals.scoring import Context

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


def told(
    model: str, pool: Pool, context: Context, exact: TopK, ranks: Rows, predicted: Vectors, index: FaissPool
) -> dict[str, Any]:
    """Recall of the exact first candidates, and metrics of exact and of approximate retrieval, in percent.

    Args:
        model: its name.
        pool: where it was looked for.
        context: whether the query's own window was in the pool.
        exact: (q, DEPTH) candidates of the exact search.
        ranks: (q,) exact ranks of the true rows.
        predicted: (q, d) the queries.
        index: of the pool's rows.
    """
    found = index.top_k(predicted, DEPTH, exclude=None if context == "in" else pool.context)
    wanted = exact.rows >= 0
    met = (exact.rows[:, :, None] == found.rows[:, None, :]).any(axis=2) & wanted
    at = found.rows == pool.truth[:, None]
    own = np.where(at, found.scores, 0.0).sum(axis=1)
    # Ties count against the model, as they do in the exact ranks.
    behind = np.count_nonzero(found.scores >= own[:, None], axis=1)
    within = np.where(at.any(axis=1), np.maximum(behind, 1), len(pool.vectors) + 1)
    without, approximate = (retrieval_metrics(each) for each in (ranks, within))
    return {
        "model": model,
        "pool": pool.name,
        "context": context,
        "recall": float(met.sum() / max(1, wanted.sum())),
        **{name: {"exact": float(without[name]), "index": float(approximate[name])} for name in TOLD},
    }


def with_latency(
    found: Sequence[Mapping[str, Any]],
    exact: Mapping[str, Mapping[str, Any]],
    index: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The same with the median latency of both in ms; null in pools that were not timed."""

    def median(timed: Mapping[str, Mapping[str, Any]], row: Mapping[str, Any]) -> float | None:
        seen = timed.get(row["model"])
        return seen["P50"] if seen is not None and seen["pool"] == row["pool"] else None

    return [{**row, "P50": {"exact": median(exact, row), "index": median(index, row)}} for row in found]
