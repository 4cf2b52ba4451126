"""Whether an evaluation set was seen in training: the scan that stands before every score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lvmfast.api import leakscan
from lvmfast.corpus import Dataset
from lvmfast.corpus.load import as_fingerprint
from lvmfast.corpus.paths import Expansion, given_paths
from lvmfast.errors import DataError
from lvmfast.evals.domain_level import Domains, domain_reason
from lvmfast.evals.given import NOTHING_GIVEN, Given
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.queries import Queries
from lvmfast.levels import LEVELS
from lvmfast.report.leak_report import LeakReport
from lvmfast.report.sentences import unchecked_rows, undecided_count
from lvmfast.shown import percent
from lvmfast.splits.fingerprint import fingerprint_identity

#: `unscanned`: there was no training set to scan against; `undecided`: a fingerprint leaves rows open.
Status = Literal["clean", "LEAKED", "undecided", "unscanned"]
WORST_FIRST: tuple[Status, ...] = ("LEAKED", "undecided", "unscanned", "clean")

#: What a set shares with training decides what a score on it is about.
Level = Literal["within-document", "cross-document", "cross-domain", "unknown"]


@dataclass(frozen=True)
class LevelRate:
    """What one level of the scan found."""

    status: str
    matched: int
    checked: int
    undecided: int = 0

    @property
    def rate(self) -> float:
        """matched / checked."""
        return self.matched / self.checked if self.checked else 0.0


@dataclass(frozen=True)
class SplitStatus:
    """What is known of an evaluation set's leaks into one training set."""

    status: Status
    train: str | None = None  #: what it was scanned against
    train_identity: str | None = None  #: BLAKE3 of the fingerprint
    levels: Mapping[str, LevelRate] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    other_domains: bool = False  #: every document's domain is known, and none is training's

    @property
    def level(self) -> Level:
        """Whether documents or domains are shared with training: by ids, not by a file's name."""
        by_ids = [found for name, found in self.levels.items() if LEVELS[name].of_documents]
        if not any(found.checked for found in by_ids):
            return "unknown"
        if any(found.matched for found in by_ids):
            return "within-document"
        return "cross-domain" if self.other_domains else "cross-document"

    @property
    def sentence(self) -> str:
        """The status for people."""
        against = f" against {self.train}" if self.train else ""
        reasons = f": {'; '.join(self.reasons)}" if self.reasons else ""
        return f"{self.status}{against}{reasons}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "status": self.status,
            "level": self.level,
            "train": self.train,
            "train_identity": self.train_identity,
            "reasons": list(self.reasons),
            "levels": {
                name: {
                    "status": found.status,
                    "matched": found.matched,
                    "checked": found.checked,
                    "rate": found.rate,
                    "undecided": found.undecided,
                }
                for name, found in self.levels.items()
            },
        }


def worst(*statuses: SplitStatus) -> SplitStatus:
    """The one that binds what may be said."""
    return min(statuses, key=lambda found: WORST_FIRST.index(found.status))


def scan_split(
    queries: Queries,
    train: Any,
    options: EvalOptions,
    given: Given = NOTHING_GIVEN,
    domains: Domains | None = None,
) -> SplitStatus:
    """Scans the queries against a training set: targets and ids, and the vectors of their windows.

    Args:
        queries: the evaluation set.
        train: the training set or its fingerprint; None where there is none to scan against.
        options: of the evaluation: those of the scan, field names by column, and who is told how far it is.
        given: the payload: texts for the queries, and files of it that leaked.
        domains: of documents on both sides, for the level cross-domain.

    Raises:
        DataError: nothing of it can be compared, or vectors are of another encoder.
    """
    reasons = []
    quarantined = (*queries.sequences.dataset.leaked, *given.quarantined)
    if quarantined:
        reasons.append(f"quarantined as leaked: {', '.join(dict.fromkeys(quarantined))}")
    levels: dict[str, LevelRate] = {}
    unchecked: list[str] = []
    name = identity = None
    if train is not None:
        name, identity = _named(train)
        report = leakscan(
            train,
            queries.sequences.dataset,
            eval_payload=given.texts,
            columns=options.columns,
            allow_leaked=True,  # it was allowed, or refused, when it was opened
            progress=options.progress,
            options=options.scan,
        )
        levels = _rates(report)
        unchecked = [said for finding in report.levels.values() if (said := unchecked_rows(finding))]
        if identity is not None:
            levels |= _windows_against(train, queries, options)
    # A row that holds its own answer is a fault of the set (and said), but was not thereby seen in training.
    matched = [name for name in LEVELS if name in levels and levels[name].matched]
    seen = [name for name in matched if LEVELS[name].two_sided]
    if seen:
        reasons.append("seen in training at " + ", ".join(f"{k} ({percent(levels[k].rate)})" for k in seen))
    open_ = [f"{k} ({levels[k].undecided:,} rows)" for k in levels if levels[k].undecided]
    if open_:
        reasons.append(f"the fingerprint does not decide {', '.join(open_)}")
    own = [name for name in matched if name not in seen]
    reasons += [f"{levels[name].matched:,} queries hold their own answer" for name in own]
    reasons += unchecked
    status: Status = "unscanned" if train is None else "clean"
    if open_:
        status = "undecided"
    if quarantined or seen:
        status = "LEAKED"
    if status == "unscanned":
        reasons.append("no training set or fingerprint was given to scan against")
    apart = False
    if domains is not None and train is None:
        reasons.append("domains say nothing without a training set to compare with")
    elif domains is not None:
        apart, found = domain_reason(domains, train, queries.sequences.dataset)
        reasons.append(found)
    return SplitStatus(status, name, identity, levels, tuple(reasons), apart)


def _named(train: Any) -> tuple[str, str | None]:
    found = as_fingerprint(train)
    if found is not None:
        return str(found.path), fingerprint_identity(str(found.path))
    if isinstance(train, Dataset):
        return train.files[0].name, None
    if isinstance(train, (list, tuple, Expansion)):
        return ", ".join(str(path) for path in given_paths(train)[:3]), None
    return (str(train) if isinstance(train, str) or hasattr(train, "__fspath__") else "<arrays>"), None


def _rates(report: LeakReport) -> dict[str, LevelRate]:
    rates = {}
    for name, found in report.levels.items():
        if found.status == "not_checkable" or found.judged is None:
            continue
        rates[str(name)] = LevelRate(
            found.status, found.judged.matched, found.judged.checked, undecided_count(found)
        )
    if not rates:
        raise DataError("the evaluation set shares no column with the training set: nothing was compared")
    return rates


def _windows_against(train: Any, queries: Queries, options: EvalOptions) -> dict[str, LevelRate]:
    """Vectors of the queries' windows among the targets of a fingerprint, which holds no windows itself.

    Rates count distinct or stored vectors of windows, not queries.
    """
    if (found := as_fingerprint(train)) is None or "vector" not in found.columns:
        return {}
    vectors = queries.context_vectors()
    if not len(vectors):
        return {}
    compared = {level.windows: name for name, level in LEVELS.items() if level.compares_vectors}
    of_targets, of_windows = compared[False], compared[True]
    only = replace(options.scan, levels=(of_targets,))
    report = leakscan(train, {"vector": vectors}, only, progress=options.progress)
    return {of_windows: _rates(report)[of_targets]}
