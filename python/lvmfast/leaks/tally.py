"""Counting: which rows of a side were seen, could not be checked, or matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Batch
from lvmfast.leaks.cuts import located

Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

NO_ROWS: Rows = np.empty(0, np.int64)


@dataclass(frozen=True)
class FileCount:
    """The rows of one file at one level."""

    rows: int
    checked: int
    matched: int


@dataclass(frozen=True)
class SideCount:
    """The rows of one side at one level."""

    file_rows: Rows  #: rows of each file
    faulty: Mapping[str, Rows]  #: reason -> rows of each file that cannot be checked
    doubtful: Mapping[str, Rows]  #: reason -> dataset rows that are checked only if they match
    matched_rows: Rows  #: ascending rows of the dataset
    best: Scores  #: the highest score of each matched row
    set_aside: Rows = field(default_factory=lambda: NO_ROWS)  #: those of them that a review does not count

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self.file_rows.sum())

    @property
    def unchecked(self) -> Mapping[str, int]:
        """reason -> rows that were not checked, no zeros."""
        counts = {reason: int(by_file.sum()) for reason, by_file in self.unchecked_by_file().items()}
        return {reason: n for reason, n in sorted(counts.items()) if n}

    @property
    def checked(self) -> int:
        """Rows that were compared."""
        return self.rows - sum(self.unchecked.values())

    @property
    def counted_rows(self) -> Rows:
        """The matched rows that count, ascending: all but those that a review set aside."""
        if not len(self.set_aside):
            return self.matched_rows
        return np.setdiff1d(self.matched_rows, self.set_aside, assume_unique=True)

    @property
    def matched(self) -> int:
        """Rows with at least one match that counts."""
        return len(self.matched_rows) - len(self.set_aside)

    @property
    def rate(self) -> float | None:
        """matched / checked; None when nothing was checked."""
        return self.matched / self.checked if self.checked else None

    @property
    def files(self) -> tuple[FileCount, ...]:
        """The counts by file."""
        unchecked = sum(self.unchecked_by_file().values(), np.zeros_like(self.file_rows))
        matched = count_by_file(self.counted_rows, starts_of(self.file_rows))
        return tuple(
            FileCount(int(n), int(n - u), int(m))
            for n, u, m in zip(self.file_rows, unchecked, matched, strict=True)
        )

    def at_least(self, threshold: float) -> SideCount:
        """The count of the same rows at a higher threshold."""
        keep = self.best >= threshold
        rows = self.matched_rows[keep]
        aside = self.set_aside[np.isin(self.set_aside, rows, assume_unique=True)]
        return replace(self, matched_rows=rows, best=self.best[keep], set_aside=aside)

    def unchecked_by_file(self) -> dict[str, Rows]:
        """reason -> rows of each file that were not checked."""
        by_file = dict(self.faulty)
        for reason, rows in self.doubtful.items():
            left = rows[~np.isin(rows, self.matched_rows, assume_unique=True)]
            counts = count_by_file(left, starts_of(self.file_rows))
            by_file[reason] = by_file.get(reason, np.zeros_like(counts)) + counts
        return by_file


def starts_of(file_rows: Rows) -> Rows:
    """The dataset row at which each file starts."""
    return np.cumsum(file_rows) - file_rows


def together(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The parts as one array, which takes their place in the list."""
    if len(parts) > 1:
        parts[:] = [np.concatenate(parts)]
    return parts[0]


def first_rows(rows: Rows, slots: Rows, slot_count: int) -> Rows:
    """The lowest of the ascending `rows` in each slot, -1 for a slot without any."""
    first = np.full(slot_count, -1, np.int64)
    first[slots[::-1]] = rows[::-1]  # the last assignment stays, and it is that of the lowest row
    return first


def count_by_file(rows: Rows, file_starts: Rows) -> Rows:
    """How many of `rows` lie in each file, given the dataset row at which each file starts."""
    # An empty file shares its start with the next one, which side="right" then picks.
    files = np.searchsorted(file_starts, rows, side="right") - 1
    return np.bincount(files, minlength=len(file_starts)).astype(np.int64)


@dataclass(frozen=True)
class Tally:
    """The rows of one side, or some of them, at one level, as they are saved and added up."""

    file_count: int  #: files of the dataset; 0 where none was counted here
    files: Rows  #: places of those that rows came from
    rows: Rows  #: rows of each of them
    faulty: Mapping[str, Rows]  #: reason -> rows of each of them that cannot be checked
    doubtful: Mapping[str, Rows]  #: reason -> rows that are checked only if they match
    matched: Rows  #: a row may come again
    best: Scores  #: the score of each of them

    @classmethod
    def of_matches(cls, matched: Rows, best: Scores, doubtful: Mapping[str, Rows] | None = None) -> Tally:
        """Matched rows that were counted elsewhere."""
        return cls(0, NO_ROWS, NO_ROWS, {}, doubtful or {}, matched, best)

    def rows_alone(self) -> Tally:
        """The rows that went by, and nothing of what was found."""
        return Tally(self.file_count, self.files, self.rows, {}, {}, NO_ROWS, np.empty(0))

    def relocated(self, starts: Rows) -> Tally:
        """With rows of the dataset where rows had numbers, given the row at which each file starts."""
        doubtful = {reason: located(rows, starts) for reason, rows in self.doubtful.items()}
        return replace(self, doubtful=doubtful, matched=located(self.matched, starts))

    def count(self) -> SideCount:
        """What the rows come to."""
        return SideTally.of(self).count()


class SideTally:
    """Gathers the counts of one side while its batches go by in order."""

    def __init__(self, files: int) -> None:
        """Nothing seen yet of a dataset of `files` files."""
        self._file_rows = np.zeros(files, np.int64)
        self._faulty: dict[str, Rows] = {}
        #: Files that rows came from: there may be a million others, which a cut is not to look at.
        self._seen: set[int] = set()
        self.forget()

    @classmethod
    def of(cls, part: Tally) -> SideTally:
        """A tally that gathered `part`."""
        tally = cls(part.file_count)
        tally.add(part)
        return tally

    @property
    def files(self) -> int:
        """Files of the dataset."""
        return len(self._file_rows)

    def forget(self) -> None:
        """Begins anew."""
        files = self._files_seen()
        for by_file in (self._file_rows, *self._faulty.values()):
            by_file[files] = 0
        self._seen.clear()
        self._doubtful: dict[str, list[Rows]] = {}
        self._matched: list[Rows] = []
        self._best: list[Scores] = []

    def _files_seen(self) -> Rows:
        return np.array(sorted(self._seen), np.int64)

    def see(self, batch: Batch) -> None:
        """Counts the rows of `batch`."""
        self._seen.add(batch.file)
        self._file_rows[batch.file] += batch.rows

    def uncheck(self, batch: Batch, codes: npt.NDArray[np.integer], reasons: Mapping[int, str]) -> None:
        """Counts the rows of `batch` whose code has a reason."""
        self._seen.add(batch.file)
        for code, reason in reasons.items():
            self._reason(reason)[batch.file] += np.count_nonzero(codes == code)

    def uncheck_all(self, batch: Batch, reason: str) -> None:
        """Counts every row of `batch` as unchecked."""
        self._seen.add(batch.file)
        self._reason(reason)[batch.file] += batch.rows

    def uncheck_rows(self, rows: Rows, reason: str) -> None:
        """Counts `rows` of the dataset, all of them seen before."""
        self._reason(reason)[:] += count_by_file(rows, starts_of(self._file_rows))

    def doubt(self, batch: Batch, codes: npt.NDArray[np.integer], reasons: Mapping[int, str]) -> None:
        """The rows of `batch` whose code has a reason count as unchecked unless they match."""
        for code, reason in reasons.items():
            rows = np.flatnonzero(codes == code)
            if len(rows):
                self._doubtful.setdefault(reason, []).append(batch.start + rows)

    def match(self, rows: Rows, best: Scores | float = 1.0) -> None:
        """Counts `rows` of the dataset as matched, at one score or one each; a row may come again."""
        if len(rows):
            self._matched.append(rows)
            self._best.append(np.broadcast_to(np.asarray(best, np.float64), rows.shape))

    def part(self) -> Tally:
        """What was gathered; it stays."""
        files = self._files_seen()
        files = files[self._file_rows[files] > 0]
        return Tally(
            self.files,
            files,
            self._file_rows[files],
            {reason: by_file[files] for reason, by_file in self._faulty.items()},
            {reason: together(parts) for reason, parts in self._doubtful.items()},
            *self._matches(),
        )

    def add(self, part: Tally) -> None:
        """Adds what was gathered elsewhere, by rows of the dataset."""
        self._seen.update(part.files.tolist())
        self._file_rows[part.files] += part.rows
        for reason, counts in part.faulty.items():
            self._reason(reason)[part.files] += counts
        for reason, rows in part.doubtful.items():
            self._doubtful.setdefault(reason, []).append(rows)
        self.match(part.matched, part.best)

    def settle(self) -> None:
        """Rows in doubt count as unchecked for good; none of them matches."""
        for reason, parts in self._doubtful.items():
            self.uncheck_rows(together(parts), reason)
        self._doubtful = {}

    def count(self) -> SideCount:
        """What was gathered."""
        doubtful = {reason: together(rows) for reason, rows in self._doubtful.items()}
        return SideCount(self._file_rows, self._faulty, doubtful, *self._matches())

    def _matches(self) -> tuple[Rows, Scores]:
        if not self._matched:
            return NO_ROWS, np.empty(0, np.float64)
        # There may be as many as the side has rows: what was gathered is held once, and not sorted in vain.
        rows, best = together(self._matched), together(self._best)
        if (rows[1:] > rows[:-1]).all():
            return rows, best
        order = np.argsort(rows, kind="stable")
        rows, best = rows[order], best[order]
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        return rows[starts], np.maximum.reduceat(best, starts)

    def _reason(self, reason: str) -> Rows:
        if reason not in self._faulty:
            self._faulty[reason] = np.zeros_like(self._file_rows)
        return self._faulty[reason]
