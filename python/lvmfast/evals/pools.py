"""Pools: the rows among which a query's true next chunk is looked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.finite import finite_rows
from lvmfast.corpus.keys import Keys
from lvmfast.errors import DataError
from lvmfast.evals.density import KnownDensities
from lvmfast.evals.metrics import CONTAINS
from lvmfast.evals.payload import VectorPayload, truth_rows
from lvmfast.evals.queries import PRECEDING, Queries
from lvmfast.evals.vectors import pair_scores
from lvmfast.shown import percent

PoolName = Literal["eval", "corpus", "same-doc"]
POOLS: tuple[PoolName, ...] = ("eval", "corpus", "same-doc")

#: The name of a pool, and the densities behind its vectors.
Space = tuple[str, tuple[int, ...]]

#: How deep rankings are kept, and what a pool has to hold to be ranked that deep.
DEPTH = max(CONTAINS)

#: A window's vector and the pool's vector under the same key are the same one from this cosine on.
SAME_VECTOR = 0.999
#: Of the window's keys that the pool has, at least this share must hold the window's vectors.
AGREEMENT = 0.99


@dataclass(frozen=True)
class Pool:
    """n candidates, and for each of q queries the true one and those that are its own context."""

    name: PoolName
    vectors: Vectors  #: (n, dim)
    keys: Keys | None  #: (n, 4)
    truth: Rows  #: (q,) row of the true candidate
    context: Rows | None  #: (q, length) rows of the query's own window, -1 for none; None: unknown
    documents: tuple[Rows, Rows] | None  #: of queries (q,) and candidates (n,), where one sees its own alone
    notes: tuple[str, ...] = ()
    neighbours: tuple[int, ...] = ()  #: densities that stand behind the vectors, where they are augmented

    @cached_property
    def densities(self) -> KnownDensities:
        """Those of its rows, for all that take density off."""
        return KnownDensities(self.vectors)

    @property
    def space(self) -> Space:
        """Which vectors it has."""
        return self.name, self.neighbours

    def groups(self) -> Iterator[tuple[Rows, Rows]]:
        """Queries and the candidates that they see: all and all, or document by document."""
        if self.documents is None:
            yield np.arange(len(self.truth)), np.arange(len(self.vectors))
            return
        of_query, of_row = self.documents
        by_row = np.argsort(of_row, kind="stable")
        ordered = of_row[by_row]
        for document in np.unique(of_query):
            low, high = np.searchsorted(ordered, (document, document + 1))
            yield np.flatnonzero(of_query == document), np.sort(by_row[low:high])

    def sizes(self, context: str) -> Rows:
        """(q,) candidates that each query sees, with its context `in` the pool or `out` of it."""
        sizes = np.zeros(len(self.truth), np.int64)
        for queries, rows in self.groups():
            sizes[queries] = len(rows)
        if context == "out" and self.context is not None:
            for query, rows in enumerate(self.context):
                sizes[query] -= len(np.unique(rows[rows >= 0]))
        return sizes


def build_pool(name: PoolName, queries: Queries, payload: VectorPayload | None) -> Pool:
    """The pool of that name.

    `eval` holds the targets of the evaluation set, one of each key; `corpus` every vector of the payload;
    `same-doc` those of the query's own document (of the payload, or without one of the targets).

    Raises:
        DataError: it needs a payload, keys do not fit, it is too small to be ranked, or its vectors are of
            another encoder or dimension.
    """
    if name == "corpus" and payload is None:
        raise DataError("pool corpus: expected --payload with vectors by (doc_id, chunk_id)")
    keys: Keys | None
    if payload is not None and name != "eval":
        vectors, keys = payload.vectors, payload.keys
        truth = truth_rows(queries.sequences.dataset, queries.sequences.dim, queries.keys, payload)
    else:
        vectors, keys, truth = _targets(queries)
    documents = None
    if name == "same-doc":
        if keys is None or queries.keys is None:
            raise DataError(f"{queries.name}: pool same-doc needs doc_id and chunk_id of every row")
        documents = _documents(queries.keys, keys)
    context, notes = _context_rows(queries, keys, vectors, truth)
    finite = finite_rows(vectors)
    if (odd := np.flatnonzero(~finite[truth])).size:
        raise DataError(
            f"pool {name}: the vector that query {odd[0]} is to find, row {truth[odd[0]]} of the pool, has "
            f"values that are NaN or infinite (such queries: {odd.size:,} of {len(truth):,}); embed it again"
        )
    if lost := int(np.count_nonzero(~finite)):
        rows = "1 row that is" if lost == 1 else f"{lost:,} rows that are"
        notes += (f"pool {name}: {rows} NaN or infinite, which nothing finds",)
    pool = Pool(name, vectors, keys, truth, context, documents, notes)
    if name != "same-doc" and len(vectors) <= DEPTH:
        raise DataError(
            f"{queries.name}: pool {name}: {len(vectors)} candidates, expected more than {DEPTH}: "
            f"Contain@{DEPTH} would be 100% for anything"
        )
    return pool


def _targets(queries: Queries) -> tuple[Vectors, Keys | None, Rows]:
    """The targets, one of each key: a second row of the same key would tie with the first."""
    if queries.keys is None:
        return queries.targets, None, np.arange(queries.n)
    table = _core.KeyTable(4, 0)
    truth = table.insert(queries.keys)
    first = np.unique(truth, return_index=True)[1]
    differs = np.flatnonzero((queries.targets != queries.targets[first[truth]]).any(axis=1))
    if len(differs):
        row, other = int(differs[0]), int(first[truth[differs[0]]])
        raise DataError(
            f"{queries.name}: rows {other} and {row} have the same (doc_id, chunk_id) and different vectors"
        )
    return np.ascontiguousarray(queries.targets[first]), queries.keys[first], truth


def _documents(of_queries: Keys, of_rows: Keys) -> tuple[Rows, Rows]:
    table = _core.KeyTable(2, 0)
    rows = table.insert(np.ascontiguousarray(of_rows[:, :2]))
    return table.find(np.ascontiguousarray(of_queries[:, :2])), rows


def _context_rows(
    queries: Queries, keys: Keys | None, vectors: Vectors, truth: Rows
) -> tuple[Rows | None, tuple[str, ...]]:
    """Pool rows (q, length) of each window, by key; None, and why, where nobody can say which they are."""
    if keys is None or queries.context_keys is None:
        return None, ("the keys of the windows are not known: the query's context cannot be taken out",)
    table = _core.KeyTable(4, 0)
    table.insert(keys)
    wanted = queries.context_keys
    rows = table.find(np.ascontiguousarray(wanted.reshape(-1, 4))).reshape(wanted.shape[:2])
    notes: list[str] = []
    if queries.context_from == PRECEDING:
        agreement = _agreement(queries, rows, vectors)
        if agreement < AGREEMENT:
            return None, (
                f"the windows are not the chunks before their targets ({percent(agreement)} of the vectors "
                "agree), and the file does not say which they are: the query's context cannot be taken out",
            )
    own = rows == truth[:, None]
    if own.any():
        notes.append(f"{int(own.any(axis=1).sum())} queries hold their own target; it stays in the pool")
    return np.where(own, -1, rows), tuple(notes)


def _agreement(queries: Queries, rows: Rows, vectors: Vectors) -> float:
    """The share of windows' vectors that the pool has under the keys taken to be theirs; 1 of none."""
    query, place = np.nonzero(rows >= 0)
    same = 0
    for start in range(0, len(query), 1 << 14):
        part = slice(start, start + (1 << 14))
        which, where = np.unique(query[part], return_inverse=True)
        window = queries.sequences.contexts(which)[where, place[part]]
        scores = pair_scores(window, np.arange(len(window)), vectors, rows[query[part], place[part]])
        padding = ~window.any(axis=1)
        same += int(np.count_nonzero((scores >= SAME_VECTOR) | padding))
    return same / len(query) if len(query) else 1.0
