"""A thing that might be said, and the evidence on disk that it is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lvmfast.evals.write import DETAILS_FILE, METRICS_FILE
from lvmfast.models.config import BASELINES

Standing = Literal["valid", "invalid", "pending"]

LEAKED, CLEAN = "LEAKED", "clean"
NEW_DOCUMENTS = ("cross-document", "cross-domain")
COPY_LAST = "copy-last"
SUMMARY_FILE, HISTORY_FILE, RUN_FILE = "summary.json", "history.json", "run.json"
IMPACT_FILE = "impact.json"


@dataclass(frozen=True)
class Claim:
    """One thing that might be said.

    Attributes:
        standing: whether the evidence supports it, forbids it, or is not there yet.
        text: the claim.
        why: what makes it so.
        files: the evidence.
        outside: it rests on clean data alone, so that it may be told to anyone.
    """

    standing: Standing
    text: str
    why: str
    files: tuple[str, ...]
    outside: bool = False


@dataclass(frozen=True)
class Claims:
    """Everything that can and cannot be said, and how to say it."""

    claims: tuple[Claim, ...]
    for_colleagues: str
    for_outside: str

    def of(self, standing: Standing) -> tuple[Claim, ...]:
        """The claims of that standing."""
        return tuple(claim for claim in self.claims if claim.standing == standing)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **{
                standing: [
                    {"claim": c.text, "why": c.why, "files": list(c.files), "outside": c.outside}
                    for c in self.of(standing)
                ]
                for standing in ("valid", "invalid", "pending")
            },
            "for_colleagues": self.for_colleagues,
            "for_outside": self.for_outside,
        }


@dataclass(frozen=True)
class EvaluationFiles:
    """What `eval` wrote."""

    folder: Path
    records: Sequence[Mapping[str, Any]]
    details: Mapping[str, Any]

    @property
    def file(self) -> str:
        """The file of the scores."""
        return str(self.folder / METRICS_FILE)

    @property
    def leaked(self) -> bool:
        """Whether any model saw the set in training."""
        return any(record["split_status"] == LEAKED for record in self.records)

    def judged(self, model: str) -> Mapping[str, Any] | None:
        """The record of a model in the pool that its gates were asked of."""
        return next((record for record in self.records if self._there(record, model=model)), None)

    def difference(self, model: str, other: str) -> Mapping[str, Any] | None:
        """R@5 of `model` less that of `other` in that pool, with its interval; None where it is unknown."""
        found = self.details["differences"]
        there = (each for each in found if self._there(each, model=model, against=other))
        return next((each["metrics"]["R@5"] for each in there), None)

    def _there(self, found: Mapping[str, Any], **names: str) -> bool:
        """Whether it is of those models, and of the pool and context that gates were asked of."""
        wanted = {**self.details["judged_on"], **names}
        return all(found[name] == value for name, value in wanted.items())

    @property
    def details_file(self) -> str:
        """The file of the differences."""
        return str(self.folder / DETAILS_FILE)

    @property
    def baselines(self) -> list[str]:
        """Those that stand in the table."""
        return [name for name in BASELINES if self.judged(name) is not None]

    def untrained(self, model: str) -> bool:
        """Whether a run's best epoch is 0: the model as it starts."""
        return bool(self.details["models"][model].get("epoch") == 0)

    def not_above(self, model: str) -> dict[str, list[str]]:
        """The baselines of the table that are not shown to be beaten, by what the intervals do show."""
        worse: list[str] = []
        unknown: list[str] = []
        for name in self.baselines:
            metric = self.difference(model, name)
            low, high = metric["interval"] if metric else (None, None)
            if high is not None and high < 0:
                worse.append(name)
            elif low is None or low <= 0:
                unknown.append(name)
        said = {"worse than": worse, "not shown to be better than": unknown}
        return {how: names for how, names in said.items() if names}
