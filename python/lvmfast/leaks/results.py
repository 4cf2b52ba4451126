"""What a level found, of all rows or of a part of them: one type for whoever finds, keeps or sends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from lvmfast.corpus.sides import Side
from lvmfast.leaks.evidence import Evidence, EvidenceBuffer
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import Rows, Scores, SideTally, Tally

Key = TypeVar("Key")


@dataclass(frozen=True)
class NearestRows:
    """The nearest training row of every evaluation row of a scan that was compared."""

    eval_row: Rows  #: (n,) dataset rows, ascending
    cosine: Scores  #: (n,)
    train_row: Rows  #: (n,) the first dataset row with that cosine

    @classmethod
    def merged(cls, parts: Sequence[NearestRows]) -> NearestRows:
        """Those of all parts, by row."""
        row = np.concatenate([part.eval_row for part in parts])
        order = np.argsort(row)
        cosine = np.concatenate([part.cosine for part in parts])
        train_row = np.concatenate([part.train_row for part in parts])
        return cls(row[order], cosine[order], train_row[order])


@dataclass(frozen=True)
class Holders:
    """How many training rows hold each evaluation row that is held by any."""

    eval_row: Rows  #: (n,) dataset rows, ascending
    train_rows: Rows  #: (n,) how many

    @classmethod
    def of(cls, eval_row: Rows, train_rows: Rows) -> Holders:
        """Those of rows that may come again."""
        rows, place = np.unique(eval_row, return_inverse=True)
        return cls(rows, np.bincount(place, train_rows, len(rows)).astype(np.int64))

    @classmethod
    def merged(cls, parts: Sequence[Holders]) -> Holders:
        """Those of all parts, which look at other training rows each."""
        rows = np.concatenate([part.eval_row for part in parts])
        return cls.of(rows, np.concatenate([part.train_rows for part in parts]))


@dataclass(frozen=True)
class ItemsInTraining:
    """How much of each evaluation row stands in all training rows together."""

    tokens: Rows  #: (rows,)
    covered: Rows  #: (rows,) tokens in 8-grams that stand in training
    longest: Rows  #: (rows,) most tokens in a row of which every 8-gram does


@dataclass(frozen=True)
class Undecided:
    """Eval rows of which a fingerprint cannot say whether they match: nothing rules it out."""

    rows: Rows  #: ascending rows of the dataset
    bounds: Scores  #: no score of the row with a training row is above it

    def at_least(self, threshold: float) -> Undecided:
        """Those that a higher threshold leaves undecided."""
        keep = self.bounds >= threshold
        return Undecided(self.rows[keep], self.bounds[keep])


@dataclass(frozen=True)
class LevelResult:
    """What a level found; `matches` is cut to the evidence limit, nothing else is."""

    sides: Mapping[Side, Tally]
    matches: Evidence = field(default_factory=Evidence.empty)
    match_count: int = 0
    pairs: int = 0
    pairs_at: Mapping[float, int] = field(default_factory=dict)  #: pairs at or above each edge
    keys: Mapping[Side, int] | None = None  #: distinct keys (doc, chunk)
    padding: Mapping[Side, int] | None = None  #: zero vectors in windows, which are no rows of anything
    nearest: NearestRows | None = None  #: if asked for
    undecided: Undecided | None = None  #: of a scan against a fingerprint
    holders: Holders | None = None  #: where one evaluation row may stand in many training rows (overlap)
    beside: Mapping[str, LevelResult] = field(default_factory=dict)  #: by name, what decides nothing
    continued: int | None = None  #: training rows joined to the one before them, if asked for (overlap)
    rule: str | None = None  #: the published rule that decided, which names no training rows (overlap)
    items: ItemsInTraining | None = None  #: of every evaluation row (overlap)

    def relocated(self, starts: Mapping[Side, Rows]) -> LevelResult:
        """With rows of the dataset where rows had numbers, given the row at which each file starts.

        Within one set both rows of a match are rows of its only side.
        """
        matches = self.matches
        for side, of_side in starts.items():
            matches = matches.relocated(side, of_side)
        if "eval" not in starts:
            matches = matches.relocated("eval", starts["train"])
        sides = {side: tally.relocated(starts[side]) for side, tally in self.sides.items()}
        beside = {name: result.relocated(starts) for name, result in self.beside.items()}
        return replace(self, sides=sides, matches=matches, beside=beside)

    @classmethod
    def merged(cls, parts: Iterable[LevelResult], options: ScanOptions) -> LevelResult:
        """The parts of what a level found, none of which found what another did, as one."""
        merging = Merging(options)
        for part in parts:
            merging.add(part)
        return merging.result()


class Merging:
    """Adds results up, while they come."""

    def __init__(self, options: ScanOptions) -> None:
        """Nothing found yet."""
        self._buffer = EvidenceBuffer(options)
        self._sides: dict[Side, SideTally] = {}
        self._pairs = 0
        self._pairs_at: dict[float, int] = {}
        self._keys: dict[Side, int] = {}
        self._padding: dict[Side, int] = {}
        self._nearest: list[NearestRows] = []
        self._holders: list[Holders] = []
        self._options = options
        self._beside: dict[str, Merging] = {}

    def add(self, part: LevelResult) -> None:
        """Adds a part; the first one knows how many files there are."""
        for side, tally in part.sides.items():
            self._sides.setdefault(side, SideTally(tally.file_count)).add(tally)
        self._buffer.add(part.matches, part.match_count)
        self._pairs += part.pairs
        add_up(self._pairs_at, part.pairs_at)
        add_up(self._keys, part.keys or {})
        add_up(self._padding, part.padding or {})
        if part.nearest is not None:
            self._nearest.append(part.nearest)
        if part.holders is not None:
            self._holders = [Holders.merged([*self._holders, part.holders])]
        for name, result in part.beside.items():
            self._beside.setdefault(name, Merging(self._options)).add(result)

    @property
    def held(self) -> int:
        """Matches held for a report."""
        return self._buffer.held + sum(beside.held for beside in self._beside.values())

    def check(self) -> None:
        """Holds the matches against the memory limit.

        Raises:
            DataError: it has no room for so many.
        """
        self._buffer.check()

    def settle(self) -> None:
        """Rows in doubt that were added count as unchecked for good; none of them matches."""
        for tally in self._sides.values():
            tally.settle()

    def result(self) -> LevelResult:
        """All that was added."""
        return LevelResult(
            {side: tally.part() for side, tally in self._sides.items()},
            self._buffer.result(),
            self._buffer.total,
            self._pairs,
            dict(self._pairs_at),
            dict(self._keys) or None,
            dict(self._padding) or None,
            NearestRows.merged(self._nearest) if self._nearest else None,
            holders=self._holders[0] if self._holders else None,
            beside={name: beside.result() for name, beside in self._beside.items()},
        )


def add_up(sums: dict[Key, int], more: Mapping[Key, int]) -> None:
    """Adds `more` to `sums`."""
    for key, count in more.items():
        sums[key] = sums.get(key, 0) + count
