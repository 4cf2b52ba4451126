"""Counting: which rows of a side were seen, could not be checked, or matched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Batch

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

    rows: int
    unchecked: Mapping[str, int]  #: reason -> rows, no zeros
    matched_rows: Rows  #: ascending rows of the dataset
    best: Scores  #: the highest score of each matched row
    files: tuple[FileCount, ...]

    @property
    def checked(self) -> int:
        """Rows that were compared."""
        return self.rows - sum(self.unchecked.values())

    @property
    def matched(self) -> int:
        """Rows with at least one match."""
        return len(self.matched_rows)

    @property
    def rate(self) -> float | None:
        """matched / checked; None when nothing was checked."""
        return self.matched / self.checked if self.checked else None

    def at_least(self, threshold: float, file_starts: Rows) -> SideCount:
        """The count of the same rows at a higher threshold."""
        keep = self.best >= threshold
        rows = self.matched_rows[keep]
        matched = count_by_file(rows, file_starts)
        files = tuple(
            FileCount(f.rows, f.checked, int(m)) for f, m in zip(self.files, matched, strict=True)
        )
        return SideCount(self.rows, self.unchecked, rows, self.best[keep], files)


def count_by_file(rows: Rows, file_starts: Rows) -> Rows:
    """How many of `rows` lie in each file, given the dataset row at which each file starts."""
    # An empty file shares its start with the next one, which side="right" then picks.
    files = np.searchsorted(file_starts, rows, side="right") - 1
    return np.bincount(files, minlength=len(file_starts)).astype(np.int64)


class SideTally:
    """Gathers the counts of one side while its batches go by in order."""

    def __init__(self, files: int) -> None:
        """Nothing seen yet of a dataset of `files` files."""
        self._file_rows = np.zeros(files, np.int64)
        self._unchecked: dict[str, Rows] = {}
        self._matched: list[Rows] = []
        self._best: list[Scores] = []

    @property
    def rows(self) -> int:
        """Rows seen so far."""
        return int(self._file_rows.sum())

    @property
    def file_starts(self) -> Rows:
        """The dataset row at which each file starts (files not yet seen start at the end)."""
        ends = np.cumsum(self._file_rows)
        return ends - self._file_rows

    def see(self, batch: Batch) -> None:
        """Counts the rows of `batch`."""
        self._file_rows[batch.file] += batch.rows

    def uncheck(self, batch: Batch, codes: npt.NDArray[np.integer], reasons: Mapping[int, str]) -> None:
        """Counts the rows of `batch` whose code has a reason."""
        for code, reason in reasons.items():
            count = int(np.count_nonzero(codes == code))
            if count:
                self._reason(reason)[batch.file] += count

    def uncheck_all(self, batch: Batch, reason: str) -> None:
        """Counts every row of `batch` as unchecked."""
        self._reason(reason)[batch.file] += batch.rows

    def uncheck_rows(self, rows: Rows, reason: str) -> None:
        """Counts `rows` of the dataset, all of them seen before."""
        if len(rows):
            self._reason(reason)[:] += count_by_file(rows, self.file_starts)

    def match(self, rows: Rows, best: Scores) -> None:
        """Counts `rows` of the dataset as matched; a row may come more than once."""
        if len(rows):
            self._matched.append(rows)
            self._best.append(best)

    def matched(self) -> tuple[Rows, Scores]:
        """The matched rows, each once and ascending, with their best scores."""
        if not self._matched:
            return NO_ROWS, np.empty(0, np.float64)
        rows, best = np.concatenate(self._matched), np.concatenate(self._best)
        order = np.argsort(rows, kind="stable")
        rows, best = rows[order], best[order]
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        return rows[starts], np.maximum.reduceat(best, starts)

    def count(self) -> SideCount:
        """What was gathered."""
        rows, best = self.matched()
        matched = count_by_file(rows, self.file_starts)
        unchecked = sum(self._unchecked.values(), np.zeros_like(self._file_rows))
        files = tuple(
            FileCount(int(n), int(n - u), int(m))
            for n, u, m in zip(self._file_rows, unchecked, matched, strict=True)
        )
        totals = {reason: int(counts.sum()) for reason, counts in sorted(self._unchecked.items())}
        return SideCount(self.rows, totals, rows, best, files)

    def _reason(self, reason: str) -> Rows:
        return self._unchecked.setdefault(reason, np.zeros_like(self._file_rows))
