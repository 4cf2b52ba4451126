"""What is asked of a pool and what it answers: the vocabulary of exact search, wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError
from lvmfast.evals.exclusion import Excluded, excluded_pairs
from lvmfast.evals.vectors import float_rows, usable_queries

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TopK:
    """What a search found, best first; of equal scores the smaller row comes first."""

    scores: Scores  #: (q, k) cosines
    rows: Rows  #: (q, k) rows of the pool
    left_out: int = 0  #: pool rows without a direction (zero, NaN, infinite), which no query retrieves


class OpenPool(Protocol):
    """Rows that are ready to be searched, query after query."""

    def top_k(self, queries: Vectors, k: int, *, exclude: Excluded = None) -> TopK:
        """The k best rows of each of (q, d) queries, as the function `top_k` gives them."""
        ...

    @property
    def size(self) -> int:
        """Rows in all."""
        ...


@dataclass(frozen=True)
class Request:
    """Queries that were checked against a pool, and the rows that are not there for them."""

    queries: Vectors
    k: int
    pool_rows: int
    directed: npt.NDArray[np.bool_]  #: (q,) queries that are not zero
    offsets: Rows  #: (q + 1,)
    excluded: Rows  #: those of query i from offsets[i] to offsets[i + 1], ascending

    @classmethod
    def of(
        cls, queries: Vectors, pool: tuple[int, ...], k: int, exclude: Excluded, threads: int = 0
    ) -> Request:
        """Checks what was asked of a pool of this shape."""
        queries = float_rows("queries", queries)
        if queries.shape[1] != pool[1]:
            raise DataError(f"queries: expected {pool[1]} components as in the pool, got {queries.shape[1]}")
        if not 1 <= k <= pool[0]:
            raise DataError(f"k: expected 1 to {pool[0]}, the rows of the pool, got {k}")
        of_query, rows = excluded_pairs(exclude, len(queries), pool[0])
        offsets = np.searchsorted(of_query, np.arange(len(queries) + 1)).astype(np.int64)
        directed = usable_queries(queries, threads)
        return cls(queries, k, pool[0], directed, offsets, np.ascontiguousarray(rows))

    def part(self, start: int, stop: int) -> Request:
        """The queries from `start` to `stop`."""
        offsets = self.offsets[start : stop + 1]
        return Request(
            self.queries[start:stop],
            self.k,
            self.pool_rows,
            self.directed[start:stop],
            offsets - offsets[0],
            self.excluded[offsets[0] : offsets[-1]],
        )

    def excluded_of(self, query: int) -> Rows:
        """The rows that are not there for a query."""
        return self.excluded[self.offsets[query] : self.offsets[query + 1]]

    def finished(self, scores: Scores, rows: Rows, usable: npt.NDArray[np.bool_]) -> TopK:
        """The answer, with what a zero query retrieves; `usable` says which rows of the pool take part.

        Raises:
            DataError: a query has fewer than k rows.
        """
        first: Rows | None = None
        for query in np.flatnonzero(~self.directed).tolist():
            most = self.k + len(self.excluded_of(query))
            if first is None or len(first) < most:
                first = np.flatnonzero(usable)[:most]
            there = np.setdiff1d(first[:most], self.excluded_of(query))[: self.k]
            rows[query, : len(there)], scores[query, : len(there)] = there, 0.0
        short = np.flatnonzero(rows[:, -1] < 0)
        if len(short):
            query = int(short[0])
            there = np.count_nonzero(usable) - np.count_nonzero(usable[self.excluded_of(query)])
            raise DataError(f"k: query {query} has {there} rows to retrieve from, fewer than k = {self.k}")
        return TopK(scores, rows, int(np.count_nonzero(~usable)))
