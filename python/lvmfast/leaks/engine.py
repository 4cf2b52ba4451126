"""The scan on one machine: index the smaller side, stream the other past it, count and judge."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from lvmfast.corpus.dataset import Batch, Column, Dataset
from lvmfast.corpus.provenance import check_same_encoder
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from lvmfast.leaks.checkable import checkable, no_rows, nothing_checkable
from lvmfast.leaks.duplicates import group_rows, vector_duplicates
from lvmfast.leaks.findings import Findings, LevelFinding, SideInfo, judge
from lvmfast.leaks.keyed import MISSING_COLUMN, KeyedLevel, KeyedResult, TextDuplicates
from lvmfast.leaks.levels import (
    COSINE_LEVELS,
    LEVELS,
    Level,
    Side,
    columns_of,
    other_side,
)
from lvmfast.leaks.near import UNUSABLE, Cells, Codes, IndexedVectors
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import SideTally
from lvmfast.leaks.vectors import ContextLevel, CosineResult, OracleLevel, VectorLevel


class Progress(Protocol):
    """Told how far a scan is."""

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        """`done` of `total` rows (None: not known) of `phase` are through."""


def silent(phase: str, done: int, total: int | None) -> None:
    """Shows nothing."""


@dataclass
class Clock:
    """Seconds spent in each phase of a scan."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def scan(
    train: Dataset, eval: Dataset | None, options: ScanOptions, progress: Progress, clock: Clock
) -> Findings:
    """Compares every row of `train` with every row of `eval`, or of `train` with itself.

    Raises:
        DataError: a level asked for by name cannot be checked, a side has no rows, the vectors differ in
            dimension, or the memory limit is too low.
    """
    levels, missing = checkable(train, eval, options)
    if any(level in COSINE_LEVELS for level in levels):
        check_same_encoder(train.provenance, eval.provenance if eval else {})
    found = (
        _two_sides(train, eval, levels, options, progress, clock)
        if eval
        else _within(train, levels, options, progress, clock)
    )
    return judged_findings(found, missing, options)


def judged_findings(found: Findings, missing: Mapping[Level, str], options: ScanOptions) -> Findings:
    """What was found with a status for every level, those that could not run included.

    Raises:
        DataError: a side turned out to have no rows, or a level asked for by name no row to check.
    """
    for side, info in found.sides.items():
        if info.rows == 0:
            raise no_rows(side, info.names)
    judged: dict[Level, LevelFinding] = {}
    for level in LEVELS:
        if level in missing:
            judged[level] = LevelFinding(level, "not_checkable", reason=missing[level])
        elif level in found.levels:
            judged[level] = judge(found.levels[level], options.allow)
            if options.levels and judged[level].status == "not_checkable":
                raise DataError(f"level {level}: {judged[level].reason}")
    if all(finding.status == "not_checkable" for finding in judged.values()):
        raise nothing_checkable({level: finding.reason for level, finding in judged.items()})
    return Findings(judged, found.sides)


def _two_sides(
    train: Dataset,
    eval: Dataset,
    levels: Sequence[Level],
    options: ScanOptions,
    progress: Progress,
    clock: Clock,
) -> Findings:
    sides: Mapping[Side, Dataset] = {"train": train, "eval": eval}
    # A search for nearest rows keeps the best of every indexed row, and it is eval's that are asked for.
    smaller = eval.estimated_rows() <= train.estimated_rows()
    indexed: Side = "eval" if smaller or options.nearest else "train"
    streamed: Side = other_side(indexed)
    index_bytes = memory.index_bytes(levels, sides[indexed], sides[streamed], options)
    memory.check(memory.working_bytes(options) + index_bytes, options.memory_limit)
    files: Mapping[Side, int] = {side: len(dataset.files) for side, dataset in sides.items()}
    running = _Levels(levels, indexed, sides, files, options)
    for side, phase in ((indexed, "index"), (streamed, "scan")):
        with clock.phase(phase):
            columns = columns_read(levels, side, options)
            for batch in read(sides[side], columns, f"{phase} {side}", options, progress):
                running.take(side, batch)
        if side == indexed:
            running.close_index()
            if options.memory_limit is not None:
                # The estimate guessed how long texts are; now the index is there to be weighed.
                memory.check(memory.working_bytes(options) + running.nbytes, options.memory_limit)
    with clock.phase("count"):
        return Findings(
            running.findings(),
            {side: side_info(dataset, running.seen[side]) for side, dataset in sides.items()},
        )


def columns_read(levels: Sequence[Level], side: Side, options: ScanOptions) -> tuple[Column, ...]:
    """The columns of one side that `levels` need."""
    read_by = [level for level in levels if level != "oracle" or side == "eval"]
    columns = columns_of(read_by)
    if options.max_df is not None and "text" in levels and "doc_id" not in columns:
        columns = ("doc_id", *columns)
    return columns


def read(
    dataset: Dataset, columns: Sequence[Column], phase: str, options: ScanOptions, progress: Progress
) -> Iterator[Batch]:
    """Streams `dataset`, telling `progress` after each batch that was dealt with."""
    total, done = dataset.rows, 0
    progress(phase, 0, total)
    for batch in dataset.batches(columns, memory.block_rows(dataset, columns, options)):
        yield batch
        done += batch.rows
        progress(phase, done, total)


def side_info(dataset: Dataset, seen: SideTally) -> SideInfo:
    """The files of a side, with the rows that went by."""
    return SideInfo(tuple(file.name for file in dataset.files), seen.count().file_rows)


class _Levels:
    """The running levels of a two-sided scan, and the vectors that some of them share."""

    def __init__(
        self,
        levels: Sequence[Level],
        indexed: Side,
        sides: Mapping[Side, Dataset],
        files: Mapping[Side, int],
        options: ScanOptions,
    ) -> None:
        self._indexed = indexed
        self.seen = {side: SideTally(n) for side, n in files.items()}
        dim = sides[indexed].dim or 0
        compares = "vector" in levels or "context" in levels
        self._targets = IndexedVectors(dim, options) if compares else None
        self._windows = IndexedVectors(dim, options) if "context" in levels else None
        self._keyed = [
            KeyedLevel(level, indexed, files, options)
            for level in levels
            if level in ("doc", "chunk", "text")
        ]
        self._vector = (
            VectorLevel(indexed, self._targets, files, options)
            if self._targets and "vector" in levels
            else None
        )
        self._context = (
            ContextLevel(indexed, self._targets, self._windows, files, options)
            if self._targets and self._windows
            else None
        )
        self._oracle = OracleLevel(files["eval"], options) if "oracle" in levels else None
        self._threshold = options.threshold

    def take(self, side: Side, batch: Batch) -> None:
        """Gives a batch to every level."""
        self.seen[side].see(batch)
        if side == self._indexed:
            self._index(batch)
        else:
            for keyed in self._keyed:
                keyed.stream(batch)
            for level in (self._vector, self._context):
                if level:
                    level.stream(batch)
        if self._oracle and side == "eval":
            self._oracle.check(batch)

    def _index(self, batch: Batch) -> None:
        for keyed in self._keyed:
            keyed.index(batch)
        codes: Codes | None = None
        if self._targets and batch.vector is not None:
            codes = self._targets.add(Cells(batch.vector, batch.start))
        for level in (self._vector, self._context):
            if level:
                level.index(batch, codes)

    @property
    def nbytes(self) -> int:
        """Bytes held by the indexes."""
        vectors = [v for v in (self._targets, self._windows) if v]
        return sum(level.nbytes for level in self._keyed) + sum(v.nbytes for v in vectors)

    def close_index(self) -> None:
        """To be called between the two sides."""
        for vectors in (self._targets, self._windows):
            if vectors:
                vectors.close()

    def findings(self) -> dict[Level, LevelFinding]:
        """The findings, not yet judged."""
        found: dict[Level, LevelFinding] = {}
        for keyed in self._keyed:
            found[keyed.level] = keyed_finding(keyed.level, keyed.result())
        for name in COSINE_LEVELS:
            level = {"vector": self._vector, "context": self._context, "oracle": self._oracle}[name]
            if level:
                found[name] = cosine_finding(name, level.result(), self._threshold)
        return found


def keyed_finding(level: Level, result: KeyedResult) -> LevelFinding:
    """The finding of a keyed level, not yet judged."""
    return LevelFinding(
        level,
        "clean",
        pairs=result.pairs,
        sides={side: tally.count() for side, tally in result.tally.items()},
        keys=result.keys,
        shared_keys=result.shared_keys if result.keys else None,
        matches=result.matches,
        match_count=result.match_count,
    )


def cosine_finding(level: Level, result: CosineResult, threshold: float) -> LevelFinding:
    """The finding of a cosine level, not yet judged."""
    return LevelFinding(
        level,
        "clean",
        threshold=threshold,
        pairs=result.pairs,
        sides={side: tally.count() for side, tally in result.tally.items()},
        pairs_at=result.pairs_at,
        padding=result.padding,
        nearest=result.nearest,
        matches=result.matches,
        match_count=result.match_count,
    )


def _within(
    train: Dataset, levels: Sequence[Level], options: ScanOptions, progress: Progress, clock: Clock
) -> Findings:
    index_bytes = memory.index_bytes_within(levels, train, options)
    memory.check(memory.working_bytes(options) + index_bytes, options.memory_limit)
    found: dict[Level, LevelFinding] = {}
    seen = SideTally(len(train.files))
    if "text" in levels:
        duplicates = TextDuplicates(len(train.files), options)
        with clock.phase("scan"):
            for batch in read(
                train, columns_read(["text"], "train", options), "scan text", options, progress
            ):
                duplicates.index(batch)
                seen.see(batch)
        found["text"] = keyed_finding("text", duplicates.result())
    if "vector" in levels:
        seen = SideTally(len(train.files))
        with clock.phase("scan"):
            result = _vector_duplicates(train, seen, options, progress)
        found["vector"] = cosine_finding("vector", result, options.threshold)
    return Findings(found, {"train": side_info(train, seen)})


def _vector_duplicates(
    train: Dataset, tally: SideTally, options: ScanOptions, progress: Progress
) -> CosineResult:
    dim = train.dim or 0
    groups = group_rows(_cells(train, options, progress, tally), dim, options)
    result = vector_duplicates(
        lambda: _cells(train, options, progress),
        groups,
        dim,
        options,
        lambda done, of: progress("join vector", done, of),
    )
    for code, reason in UNUSABLE.items():
        tally.uncheck_rows((groups.codes == code).nonzero()[0], reason)
    tally.match(*result.matched)
    return CosineResult({"train": tally}, result.matches, result.match_count, result.pairs, result.pairs_at)


def _cells(
    dataset: Dataset, options: ScanOptions, progress: Progress, tally: SideTally | None = None
) -> Iterator[Cells]:
    """The target vectors of `dataset`; counts its rows when given a tally."""
    for batch in read(dataset, ("vector",), "scan vector", options, progress):
        if tally:
            tally.see(batch)
        if batch.vector is not None:
            yield Cells(batch.vector, batch.start)
        elif tally:
            tally.uncheck_all(batch, MISSING_COLUMN)
