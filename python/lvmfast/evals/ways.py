"""The way of one query through a pool, opened before the query comes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.pools import DEPTH, Pool
from lvmfast.evals.request import TopK
from lvmfast.evals.search import open_pool

#: Retrieved lists and their windows (q, length, d), to the lists in another order.
Order = Callable[[TopK, Vectors], TopK]


@dataclass(frozen=True)
class Index:
    """The rows of one domain, opened to be searched."""

    pool: Any
    rows: Rows | None = None  #: of the whole pool, ascending; None for all

    def top_k(self, predicted: Vectors, exclude: Rows | None) -> TopK:
        """The first candidates of (1, d), without the (1, e) excluded rows of the whole pool."""
        if self.rows is None or exclude is None:
            gone = exclude
        else:
            places = np.searchsorted(self.rows, exclude).clip(0, len(self.rows) - 1)
            gone = np.where((exclude >= 0) & (self.rows[places] == exclude), places, -1)
        there = self.pool.size - (0 if gone is None else int(np.count_nonzero(gone[0] >= 0)))
        if there < 1:
            return TopK(np.empty((1, 0)), np.empty((1, 0), np.int64))
        found: TopK = self.pool.top_k(predicted, min(DEPTH, there), exclude=gone)
        return found


@dataclass(frozen=True)
class Way:
    """What is searched, how its domain is told, and in which order the first candidates are put."""

    indexes: Mapping[int, Index]  #: by domain
    domain: Callable[[Vectors, Rows], Rows] | None = None  #: of predictions for some queries; None: all are 0
    order: Order | None = None


def open_indexes(pool: Pool, options: EvalOptions, of_row: Rows | None = None) -> dict[int, Index]:
    """The whole pool as domain 0, or the rows of each of the (n,) domains `of_row`; -1 is in none."""
    if of_row is None:
        return {0: Index(open_pool(pool.vectors, threads=options.threads, device=options.device))}
    found = {}
    for domain in np.unique(of_row[of_row >= 0]).tolist():
        rows = np.flatnonzero(of_row == domain)
        part = np.ascontiguousarray(pool.vectors[rows])
        found[domain] = Index(open_pool(part, threads=options.threads, device=options.device), rows)
    return found
