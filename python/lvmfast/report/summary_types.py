"""The types of `summary.json`, for who reads a summary in Python; a test holds them to its schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from lvmfast.corpus.sides import Side
from lvmfast.leaks.findings import Status, Verdict
from lvmfast.leaks.options import LevelName


class Evidence(TypedDict):
    """Matches of a level: found in all, and kept in `matches.parquet`."""

    found: int
    kept: int


class _LevelOfAll(TypedDict):
    status: Status
    reason: str | None
    threshold: float | None
    pairs: int
    train_rows_checked: int | None
    train_rows_unchecked: int | None
    train_rows_matched: int | None
    train_rate: float | None
    eval_rows_checked: int | None
    eval_rows_unchecked: int | None
    eval_rows_matched: int | None
    eval_rate: float | None
    unchecked: Mapping[Side, Mapping[str, int]]
    evidence: Evidence


class LevelSummary(_LevelOfAll, total=False):
    """What a scan found at a level; the keys of some levels alone may be absent (docs/output.md)."""

    lacks: str
    train_keys: int
    eval_keys: int
    shared_keys: int
    histogram: Sequence[Mapping[str, float]]
    short: Mapping[str, int]
    rules: Mapping[str, int]
    rule: str
    answered: Mapping[str, int]
    passage_alone: Mapping[str, int]
    answer_alone: Mapping[str, int]
    joined_rows: int
    eval_rows_undecided: int
    padding: Mapping[Side, int]
    nearest: Mapping[str, Any]
    review: Mapping[str, Any]


class FileSummary(TypedDict):
    """Rows of an input file, and by level how many were checked and matched."""

    side: Side
    file: str
    rows: int
    levels: Mapping[LevelName, Mapping[str, Any]]


class _SummaryReviewed(TypedDict, total=False):
    """What a summary says where decisions were given."""

    review: Mapping[str, int]


class Summary(_SummaryReviewed):
    """What `summary.json` says. It is a plain dict of JSON values (docs/summary.schema.json)."""

    schema_version: int
    verdict: Verdict
    exit_code: int
    sentence: str
    stamp: str | None
    leaked_inputs: Sequence[str]
    levels: Mapping[LevelName, LevelSummary]
    documents: Mapping[str, Any] | None
    files: Sequence[FileSummary]
    inputs: Mapping[str, Mapping[str, Any]]
    options: Mapping[str, Any]
    environment: Mapping[str, Any]
    timings: Mapping[str, float]
