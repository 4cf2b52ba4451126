"""What a scan found, level by level: plain data, rendered elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.sides import Side
from lvmfast.leaks.evidence import Evidence
from lvmfast.leaks.options import LevelName
from lvmfast.leaks.results import Holders, ItemsInTraining, NearestRows, Undecided
from lvmfast.leaks.tally import Rows, SideCount, starts_of

Status = Literal["clean", "leak", "allowed", "not_checkable", "incomplete", "reviewed"]
Outcome = Literal["clean", "allowed", "leak", "incomplete", "part"]
#: An outcome that decisions of people had a part in says so.
Verdict = Literal[
    "clean",
    "allowed",
    "leak",
    "incomplete",
    "part",
    "clean, reviewed",
    "allowed, reviewed",
    "leak, reviewed",
    "incomplete, reviewed",
]
_REVIEWED: Mapping[Outcome, Verdict] = {
    "clean": "clean, reviewed",
    "allowed": "allowed, reviewed",
    "leak": "leak, reviewed",
    "incomplete": "incomplete, reviewed",
}
#: What people decide of a match.
DECISIONS = ("real", "boilerplate", "unsure")
BOILERPLATE = DECISIONS.index("boilerplate")


def outcome_of(verdict: str) -> str:
    """A verdict without whether it was reviewed."""
    return verdict.partition(",")[0]


@dataclass(frozen=True)
class Lacking:
    """Why a level cannot be checked."""

    reason: str  #: names the files
    columns: str = ""  #: the same in two or three words, where it is columns that are lacking: ``no ids``


@dataclass(frozen=True)
class Review:
    """What people decided of the matches of a level."""

    decided: npt.NDArray[np.int8]  #: (matches,) the place in `DECISIONS`, -1 where nothing was decided
    pairs: int = 0  #: row pairs that do not count
    stays: str | None = None  #: why rows with nothing but boilerplate count all the same, where any do

    @property
    def boilerplate(self) -> npt.NDArray[np.bool_]:
        """(matches,): whether each does not count."""
        found: npt.NDArray[np.bool_] = self.decided == BOILERPLATE
        return found

    @property
    def counts(self) -> Mapping[str, int]:
        """Matches by what was decided of them."""
        return {name: int((self.decided == place).sum()) for place, name in enumerate(DECISIONS)}


@dataclass(frozen=True)
class LevelFinding:
    """One level of one scan. Inside a single split only the side ``train`` is there."""

    level: LevelName
    status: Status
    reason: str | None = None  #: why the level is not checkable
    lacks: str | None = None  #: which columns it has not, in words, where that is why
    threshold: float | None = None
    pairs: int = 0  #: matching (train row, eval row) pairs, with multiplicity
    sides: Mapping[Side, SideCount] = field(default_factory=dict)
    keys: Mapping[Side, int] | None = None  #: distinct keys per side (doc, chunk)
    shared_keys: int | None = None
    pairs_at: Mapping[float, int] = field(default_factory=dict)  #: pairs at or above each edge
    padding: Mapping[Side, int] | None = None  #: zero vectors inside windows (context, oracle)
    nearest: NearestRows | None = None  #: of every eval row that was compared (vector, if asked for)
    matches: Evidence = field(default_factory=Evidence.empty)
    undecided: Undecided | None = None  #: of a scan against a fingerprint (vector)
    holders: Holders | None = None  #: training rows that hold each evaluation row (overlap)
    beside: Mapping[str, LevelFinding] = field(default_factory=dict)  #: by name, what decides nothing
    continued: int | None = None  #: training rows joined to the one before them, if asked for (overlap)
    rule: str | None = None  #: the published rule that decided, which names no training rows (overlap)
    items: ItemsInTraining | None = None  #: of every evaluation row (overlap)
    match_count: int = 0  #: matches found; more than ``len(matches)`` when the evidence was cut
    review: Review | None = None  #: where decisions were given

    @property
    def judged(self) -> SideCount | None:
        """The side whose rate decides: eval, or train inside one split."""
        return self.sides.get("eval", self.sides.get("train"))

    def matched(self, side: Side) -> int | None:
        """Rows of a side that match; None where nothing says which they are."""
        if side not in self.sides or (side == "train" and self.rule is not None):
            return None
        return self.sides[side].matched

    def rate(self, side: Side) -> float | None:
        """matched / checked; None where either is not known, or nothing was checked."""
        return None if self.matched(side) is None else self.sides[side].rate

    def set_aside(self, side: Side) -> int:
        """Matched rows of a side that do not count, because a review set them aside."""
        return len(self.sides[side].set_aside) if side in self.sides else 0

    @property
    def cut(self) -> bool:
        """Whether evidence was left out (the lowest scores, by `max_pairs`)."""
        return len(self.matches) < self.match_count


@dataclass(frozen=True)
class SideInfo:
    """The files of one side and their rows."""

    names: tuple[str, ...]
    file_rows: Rows

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return int(self.file_rows.sum())

    @property
    def file_starts(self) -> Rows:
        """The dataset row at which each file starts."""
        return starts_of(self.file_rows)


def named_files(names: Sequence[str]) -> str:
    """The first of the files, and how many more there are: a split can have thousands."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"


@dataclass(frozen=True)
class Findings:
    """Everything that a scan found."""

    levels: Mapping[LevelName, LevelFinding]
    sides: Mapping[Side, SideInfo]
    part: str | None = None  #: which part of a scan this is, and of how many
    strange: int | None = None  #: decisions that are of no match of this scan, where any were given

    @property
    def outcome(self) -> Outcome:
        """``part`` of a part, else the worst: ``leak``, ``incomplete``, ``allowed``, ``clean``."""
        if self.part is not None:
            return "part"
        statuses = {finding.status for finding in self.levels.values()}
        worst_first: tuple[Outcome, ...] = ("leak", "incomplete", "allowed")
        for outcome in worst_first:
            if outcome in statuses:
                return outcome
        return "clean"

    @property
    def decided(self) -> int:
        """Matches that people decided on."""
        return sum(sum(f.review.counts.values()) for f in self.levels.values() if f.review is not None)

    @property
    def verdict(self) -> Verdict:
        """The outcome, and whether it was reviewed: whether a decision was of any of the matches."""
        return _REVIEWED[self.outcome] if self.decided else self.outcome


def judge(finding: LevelFinding, allow: Mapping[LevelName, float]) -> LevelFinding:
    """The finding with the status that its counts and the tolerated rates give it."""
    for side, count in finding.sides.items():
        if count.checked == 0:
            why = ", ".join(f"{n} {reason}" for reason, n in count.unchecked.items())
            reason = f"no row of {side} can be checked ({why})"
            return LevelFinding(finding.level, "not_checkable", reason=reason, sides=finding.sides)
    undecided = 0 if finding.undecided is None else len(finding.undecided.rows)
    matched = any(count.matched for count in finding.sides.values())
    if not (matched or undecided):
        aside = any(len(count.set_aside) for count in finding.sides.values())
        return replace(finding, status="reviewed" if aside else "clean")
    judged, tolerated = finding.judged, allow.get(finding.level)
    assert judged is not None

    def within(rows: int) -> bool:
        return tolerated is not None and rows / judged.checked <= tolerated

    if within(judged.matched + undecided):
        return replace(finding, status="allowed")
    # More than is tolerated may match; whether the rows that do match are too many is another question.
    return replace(finding, status="leak" if matched and not within(judged.matched) else "incomplete")
