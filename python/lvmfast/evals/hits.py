"""Hits made elsewhere: a line of JSON per query, scored against the truth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus.dataset import Column, Dataset, Rows, Vectors
from lvmfast.corpus.failures import reading
from lvmfast.corpus.guises import MOST_BYTES, PLAIN_TEXT, begins_as
from lvmfast.corpus.load import load_split
from lvmfast.errors import DataError
from lvmfast.evals.bootstrap import RESAMPLES, Interval
from lvmfast.evals.given import audit_vectors
from lvmfast.evals.metrics import METRICS, hit_counts, query_values, retrieval_metrics
from lvmfast.evals.payload import batch_keys, load_vector_payload
from lvmfast.evals.scoring import Bootstrap, intervals
from lvmfast.parse import parse_json
from lvmfast.shown import percent

ROWS = ("hit_indices", "retrieved_indices")
SCORES = ("hit_scores", "scores")


@dataclass(frozen=True)
class Hits:
    """Retrieved rows of each query, best first."""

    name: str
    query: Rows  #: (q,) query numbers, as they stand there
    line: Rows  #: (q,) lines, from 1
    rows: tuple[Rows, ...]
    scores: tuple[npt.NDArray[np.float64] | None, ...]
    truth: Rows | None  #: (q,) from the field `truth_idx`

    @property
    def depth(self) -> int:
        """Rows that every query has."""
        return min(len(rows) for rows in self.rows)


@dataclass(frozen=True)
class Truth:
    """What the queries of an evaluation set are after."""

    row: Rows  #: (n,) the true row of each query
    documents: npt.NDArray[Any]  #: (n,) the article of each
    pool_rows: int
    leaked: tuple[str, ...]  #: files that are quarantined


@dataclass(frozen=True)
class HitScores:
    """The metrics of some hits; None where the lists are too short to tell."""

    queries: int
    depth: int
    metrics: dict[str, float | None]
    intervals: dict[str, Interval]
    counts: dict[str, int]
    clusters: int  #: articles, or queries where no article is known
    by_article: bool
    notes: tuple[str, ...]
    leaked: tuple[str, ...]


def load_hits(path: str | Path) -> Hits:
    """Reads hits: `query_idx`, `hit_indices` or `retrieved_indices`, `hit_scores` or `scores` (optional), and
    `truth_idx` (optional).

    Raises:
        DataError: no JSON, a field that is missing or of another kind, a row twice in one list, scores that
            are NaN, ascend, or are more or fewer than the rows, a query twice, or truths for some alone.
    """
    name = str(path)
    queries, lines, rows, scores, truths = [], [], [], [], []
    for number, record in _records(name):
        where = f"{name}: line {number}"
        queries.append(_integer(where, record, "query_idx"))
        lines.append(number)
        rows.append(_row_list(where, record))
        scores.append(_score_list(where, record, len(rows[-1])))
        truths.append(_integer(where, record, "truth_idx") if "truth_idx" in record else None)
    if not queries:
        raise DataError(f"{name}: expected a line per query, got none")
    seen: dict[int, int] = {}
    for query, number in zip(queries, lines, strict=True):
        if query in seen:
            raise DataError(f"{name}: line {number}: query_idx {query} is already in line {seen[query]}")
        seen[query] = number
    told = [truth for truth in truths if truth is not None]
    if told and len(told) < len(truths):
        raise DataError(f"{name}: truth_idx: {len(told)} of {len(truths)} lines have it")
    truth = np.array(told, np.int64) if told else None
    return Hits(name, np.array(queries), np.array(lines), tuple(rows), tuple(scores), truth)


def load_truth(path: str | Path, payload: str | Path | None = None, *, allow_leaked: bool = False) -> Truth:
    """The true row of every query of an evaluation set, which are numbered in the order of its rows.

    Args:
        path: the evaluation set, with `truth_keys` or doc_id and chunk_id. Without a payload, hits name
            its own rows: the true row of query i is row i.
        payload: what hits name the rows of; a query's true row is the one with its keys.
        allow_leaked: read files that are quarantined.

    Raises:
        DataError: a file cannot be read or has no keys, a key that is null, stands in the payload twice, or
            not at all; both have vectors, and those of the payload are other ones under the same keys.
    """
    dataset = load_split(str(path), allow_leaked=allow_leaked)
    keys = _keys(dataset)
    _, documents = np.unique(keys[:, :2], axis=0, return_inverse=True)
    if payload is None:
        return Truth(np.arange(len(keys)), documents.reshape(-1), len(keys), tuple(dataset.leaked))
    other = load_split(str(payload), allow_leaked=allow_leaked)
    pool = _keys(other)
    table = _core.KeyTable(4, 0)
    slots = table.insert(pool)
    twice = np.flatnonzero(slots != np.arange(len(slots)))
    if len(twice):
        raise DataError(
            f"{payload}: row {twice[0]}: its (doc_id, chunk_id) is already in row {slots[twice[0]]}"
        )
    row = table.find(keys)
    missing = np.flatnonzero(row < 0)
    if len(missing):
        share = percent(1 - len(missing) / len(row))
        raise DataError(
            f"{payload}: holds {len(row) - len(missing)} of the {len(row)} keys of {path} ({share}); "
            f"the first that it lacks is that of query {missing[0]}"
        )
    if "vector" in dataset.columns and "vector" in other.columns:
        audit_vectors(dataset, _targets(dataset), keys, load_vector_payload(other))
    leaked = (*dataset.leaked, *other.leaked)
    return Truth(row, documents.reshape(-1), len(pool), leaked)


def score_hits(
    hits: Hits, truth: Truth | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> HitScores:
    """Metrics of hits, with intervals over articles, or over queries where no article is known.

    A true row's rank counts every hit that scores as much: ties are against the model. One that is not among
    the hits counts as not found; metrics deeper than the shortest list cannot be told and are None.

    Raises:
        DataError: no truth, queries that are missing or unknown, or hits that name rows that do not exist.
    """
    if truth is None and hits.truth is None:
        raise DataError(
            f"{hits.name}: truth_idx: expected it in every line, or an evaluation set to score against"
        )
    order = np.argsort(hits.query)
    if truth is not None:
        _check_against(hits, truth)
        goal, clusters = truth.row[hits.query], truth.documents[hits.query]
        if hits.truth is not None and (goal != hits.truth).any():
            i = int(np.flatnonzero(goal != hits.truth)[0])
            raise DataError(
                f"{hits.name}: line {hits.line[i]}: truth_idx: expected {goal[i]}, the row that the keys of "
                f"query {hits.query[i]} name, got {hits.truth[i]}"
            )
    else:
        assert hits.truth is not None
        goal, clusters = hits.truth, hits.query
    found = np.zeros(len(hits.query), np.int64)
    for i, (rows, scores) in enumerate(zip(hits.rows, hits.scores, strict=True)):
        place = np.flatnonzero(rows == goal[i])
        if len(place):
            own = int(place[0])
            found[i] = own + 1 if scores is None else np.count_nonzero(scores >= scores[own])
    missed = np.iinfo(np.int32).max
    ranks = np.where(found > 0, found, missed)[order]
    clusters = clusters[order]
    values = query_values(ranks)
    values["MRR"] = np.where(ranks == missed, 0.0, values["MRR"])
    metrics: dict[str, float | None] = dict(retrieval_metrics(ranks))
    metrics["MRR"] = float(values["MRR"].mean())
    deep = [name for name in metrics if "@" in name and _depth_of(name) > hits.depth]
    metrics |= dict.fromkeys(deep)
    known = [name for name in METRICS if metrics.get(name) is not None]
    notes = []
    if deep:
        notes.append(f"the shortest list has {hits.depth} rows: {', '.join(deep)} cannot be told")
    if any(found == 0):
        notes.append(f"{np.count_nonzero(found == 0)} true rows are not among the hits; in MRR they count 0")
    if truth is None:
        notes.append(
            "no articles are known: intervals are over queries, and too narrow where queries are alike"
        )
    counts = {name: count for name, count in hit_counts(ranks).items() if name not in deep}
    leaked = () if truth is None else truth.leaked
    return HitScores(
        len(ranks),
        hits.depth,
        metrics,
        intervals(values, known, clusters, Bootstrap(resamples, seed)),
        counts,
        len(np.unique(clusters)),
        truth is not None,
        tuple(notes),
        leaked,
    )


def _depth_of(name: str) -> int:
    return 50 if name == "Eff@5" else int(name.rpartition("@")[2])


def _check_against(hits: Hits, truth: Truth) -> None:
    unknown = np.flatnonzero((hits.query < 0) | (hits.query >= len(truth.row)))
    if len(unknown):
        i = int(unknown[0])
        raise DataError(
            f"{hits.name}: line {hits.line[i]}: query_idx: expected 0 to {len(truth.row) - 1}, "
            f"got {hits.query[i]}"
        )
    missing = np.setdiff1d(np.arange(len(truth.row)), hits.query)
    if len(missing):
        raise DataError(
            f"{hits.name}: {len(missing)} of {len(truth.row)} queries have no line; the first is {missing[0]}"
        )
    for i, rows in enumerate(hits.rows):
        if len(rows) and int(rows.max()) >= truth.pool_rows:
            raise DataError(
                f"{hits.name}: line {hits.line[i]}: row {rows.max()} does not exist: the pool has "
                f"{truth.pool_rows}"
            )


def _keys(dataset: Dataset) -> npt.NDArray[np.uint64]:
    """(n, 4) keys of document and chunk."""
    for file in dataset.files:
        for column in ("doc_id", "chunk_id"):
            if column not in file.fields:
                raise DataError(
                    f"{file.name}: {column}: expected truth_keys, or doc_id and chunk_id, got none"
                )
    columns: tuple[Column, ...] = ("doc_id", "chunk_id")
    parts = [batch_keys(dataset, batch) for batch in dataset.batches(columns, 1 << 16)]
    return np.ascontiguousarray(np.concatenate([np.empty((0, 4), np.uint64), *parts]))


def _targets(dataset: Dataset) -> Vectors:
    """(n, dim) the vectors of a dataset."""
    columns: tuple[Column, ...] = ("vector",)
    found = [batch.vector.copy() for batch in dataset.batches(columns, 1 << 13) if batch.vector is not None]
    return np.concatenate(found) if found else np.empty((0, dataset.dim or 0), np.float32)


def _records(name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, with their line numbers.

    Raises:
        DataError: it is none, or a line is broken.
    """
    with reading(name), open(name, "rb") as file:
        seen = begins_as(file.read(MOST_BYTES))
        if seen not in (None, PLAIN_TEXT):
            raise DataError(
                f"{name}: expected JSON lines (.jsonl), an object per query; the file begins as {seen}"
            )
    with reading(name), open(name, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            record = parse_json(f"{name}: line {number}", line)
            if not isinstance(record, dict):
                raise DataError(f"{name}: line {number}: expected an object, got {type(record).__name__}")
            yield number, record


def _field(where: str, record: dict[str, Any], names: tuple[str, ...]) -> Any:
    there = [name for name in names if name in record]
    if len(there) > 1:
        raise DataError(f"{where}: expected {' or '.join(names)}, got both")
    return record[there[0]] if there else None


def _integer(where: str, record: dict[str, Any], name: str) -> int:
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise DataError(f"{where}: {name}: expected an integer from 0, got {value!r}")
    return value


def _row_list(where: str, record: dict[str, Any]) -> Rows:
    value = _field(where, record, ROWS)
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: {' or '.join(ROWS)}: expected a list of rows, got {value!r}")
    for row in value:
        if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < 2**63:
            raise DataError(f"{where}: expected rows, integers from 0, got {row!r}")
    rows = np.array(value, np.int64)
    names, counts = np.unique(rows, return_counts=True)
    if len(names) < len(rows):
        raise DataError(f"{where}: row {names[counts > 1][0]} is in the list {counts.max()} times")
    return rows


def _score_list(where: str, record: dict[str, Any], rows: int) -> npt.NDArray[np.float64] | None:
    value = _field(where, record, SCORES)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != rows:
        found = len(value) if isinstance(value, list) else repr(value)
        raise DataError(f"{where}: {' or '.join(SCORES)}: expected {rows} numbers, one per row, got {found}")
    for score in value:
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise DataError(f"{where}: expected finite scores, got {score!r}")
    scores = np.array(value, np.float64)
    if (np.diff(scores) > 0).any():
        place = int(np.flatnonzero(np.diff(scores) > 0)[0])
        raise DataError(
            f"{where}: scores must not ascend: {scores[place]} comes before {scores[place + 1]} "
            "(are they distances?)"
        )
    return scores
