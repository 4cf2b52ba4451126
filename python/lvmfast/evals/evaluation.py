"""What an evaluation found, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lvmfast.evals.split_status import SplitStatus, worst

STAMP = "LEAKED"


@dataclass(frozen=True)
class Evaluation:
    """What `lvmfast eval` found.

    Attributes:
        records: one per model, pool and context, as in `metrics.json`.
        details: all else that `evaluation.json` says: models, split status, audits, gates.
        hits: the first rows that every query retrieved (`hits.parquet`).
        documents: the metrics of every document by itself (`documents.parquet`).
        statuses: what the scan said, by model.
    """

    records: Sequence[Mapping[str, Any]]
    details: Mapping[str, Any]
    hits: pa.Table
    documents: pa.Table
    statuses: Mapping[str, SplitStatus]

    @property
    def exit_code(self) -> int:
        """0 passed, 1 a gate failed, 3 not decided."""
        return int(self.details["exit_code"])

    @property
    def status(self) -> SplitStatus:
        """The worst status of any model's split: what binds the whole page."""
        return worst(*self.statuses.values())

    def find(self, model: str, pool: str = "eval", context: str = "out") -> Mapping[str, Any]:
        """The record of one model in one pool.

        Raises:
            KeyError: there is none.
        """
        for record in self.records:
            if (record["model"], record["pool"], record["context"]) == (model, pool, context):
                return record
        raise KeyError(f"{model}, pool {pool}, context {context}")
