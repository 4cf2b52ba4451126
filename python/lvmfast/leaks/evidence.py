"""Evidence: the matches of a level, kept up to a bound, the highest scores first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.budget import fixed_bytes
from lvmfast.corpus.plain import distinct
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.errors import DataError
from lvmfast.leaks.cuts import located
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores

NO_POSITION = -1
NO_ROW = -1


@dataclass(frozen=True)
class Evidence:
    """Matches in parallel arrays: a shared key, or a pair of groups, named by its first rows."""

    train_row: Rows  #: -1 at the level oracle
    train_position: Rows  #: place in the context window, -1 for a target
    eval_row: Rows
    eval_position: Rows
    score: Scores
    train_count: Rows  #: rows behind the train side of the match
    eval_count: Rows
    pairs: Rows  #: row pairs that the match stands for
    details: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)  #: what a level adds, by name

    def __len__(self) -> int:
        """Matches."""
        return len(self.score)

    @classmethod
    def empty(cls) -> Evidence:
        """No match."""
        none = np.empty(0, np.int64)
        return cls(none, none, none, none, np.empty(0, np.float64), none, none, none)

    def relocated(self, side: Side, starts: Rows) -> Evidence:
        """With dataset rows on a side where rows had numbers."""
        if side == "train":
            return replace(self, train_row=located(self.train_row, starts))
        return replace(self, eval_row=located(self.eval_row, starts))

    def take(self, index: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Evidence:
        """The matches at `index`."""
        details = {name: array[index] for name, array in self.details.items()}
        columns = {name: getattr(self, name)[index] for name in _COLUMNS}
        return Evidence(**columns, details=details)

    @classmethod
    def concat(cls, parts: Sequence[Evidence]) -> Evidence:
        """The matches of all parts, in order."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.empty()
        details = {name: np.concatenate([part.details[name] for part in parts]) for name in parts[0].details}
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
        return cls(**columns, details=details)

    def counted(self, train_count: Rows, eval_count: Rows) -> Evidence:
        """The same matches with the sizes of their groups."""
        return replace(self, train_count=train_count, eval_count=eval_count, pairs=train_count * eval_count)

    def _by_rows(self) -> tuple[Rows, ...]:
        return (self.eval_position, self.eval_row, self.train_position, self.train_row)

    def sorted(self) -> Evidence:
        """By train row, train position, eval row, eval position."""
        return self.take(np.lexsort(self._by_rows()))

    def best(self, limit: int) -> Evidence:
        """The `limit` matches of highest score, ties to the lowest rows, in no order."""
        if len(self) <= limit:
            return self
        floor = np.partition(self.score, len(self) - limit)[len(self) - limit]
        above = np.flatnonzero(self.score > floor)
        tied = np.flatnonzero(self.score == floor)
        order = np.lexsort(self.take(tied)._by_rows())
        return self.take(np.concatenate([above, tied[order[: limit - len(above)]]]))


_COLUMNS = tuple(f.name for f in fields(Evidence) if f.name != "details")


@dataclass(frozen=True)
class Named:
    """Rows whose ids and texts a report may give."""

    evidence: Mapping[Side, Rows]  #: that matches name
    matched: Rows  #: of the indexed side, with a match

    @classmethod
    def of(cls, parts: Sequence[Named]) -> Named:
        """Those of all parts, ascending."""
        evidence: dict[Side, Rows] = {
            side: distinct(np.concatenate([NO_ROWS, *(part.evidence[side] for part in parts)]))
            for side in SIDES
        }
        return cls(evidence, distinct(np.concatenate([NO_ROWS, *(part.matched for part in parts)])))


#: A match while it is kept and, which takes more, in the tables of a report and their page.
EVIDENCE_BYTES = 800


def check_evidence_held(matches: int, beside: int, options: ScanOptions) -> None:
    """Holds what matches need, of which nobody knows how many there will be, against a limit.

    Raises:
        DataError: with `beside` bytes they need more.
    """
    if options.memory_limit is None:
        return
    need = fixed_bytes(options.memory_limit) + beside + matches * EVIDENCE_BYTES
    if need > options.memory_limit:
        raise DataError(
            f"the scan has found {matches:,} matches so far and needs {need / 2**30:.2f} GiB with them, "
            f"over the {options.memory_limit / 2**30:.2f} GiB of --memory-limit: lower --max-pairs "
            f"({options.max_pairs:,}), or raise the limit"
        )


class EvidenceBuffer:
    """Collects matches in bounded memory; what falls out is the lowest scores, whatever the block size."""

    def __init__(self, options: ScanOptions) -> None:
        """Keeps at most `max_pairs` matches in the end, and twice as many plus a block on the way."""
        self._limit, self._options = options.max_pairs, options
        self._kept = Evidence.empty()
        self._new: list[Evidence] = []
        self._pending = 0
        self._floor = -np.inf  #: scores below it cannot be kept any more
        self.total = 0  #: matches that were added

    def add(self, matches: Evidence, found: int | None = None) -> None:
        """Adds a block of matches; `found` is how many there were, where some were left out already."""
        self.total += len(matches) if found is None else found
        hopeful = matches.take(matches.score >= self._floor)
        self._pending += len(hopeful)
        self._new.append(hopeful)
        if self._pending > self._limit:
            self._prune()

    def check(self) -> None:
        """Holds the matches against the memory limit.

        Raises:
            DataError: it has no room for so many.
        """
        check_evidence_held(self.held, 0, self._options)

    @property
    def held(self) -> int:
        """Matches that a report would have by now."""
        return min(self._limit, len(self._kept) + self._pending)

    def _prune(self) -> None:
        self._kept = Evidence.concat([self._kept, *self._new]).best(self._limit)
        self._new, self._pending = [], 0
        if len(self._kept) == self._limit:
            self._floor = self._kept.score.min()

    def result(self) -> Evidence:
        """The kept matches, sorted by rows."""
        self._prune()
        return self._kept.sorted()
