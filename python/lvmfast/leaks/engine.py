"""The scan on one machine: index the smaller side, stream the other past it, count and judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from lvmfast.corpus.dataset import Batch, Column, Dataset
from lvmfast.corpus.provenance import check_same_encoder
from lvmfast.errors import DataError
from lvmfast.leaks import cost, memory
from lvmfast.leaks.cells import Cells
from lvmfast.leaks.checkable import checkable, no_rows, nothing_checkable
from lvmfast.leaks.cost import Announce, say_nothing
from lvmfast.leaks.cuts import numbers_of
from lvmfast.leaks.duplicates import group_rows, vector_duplicates
from lvmfast.leaks.findings import Findings, LevelFinding, SideInfo, judge
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.keyed import MISSING_COLUMN, TextDuplicates
from lvmfast.leaks.large import Parter, groups_per_block, scan_beyond_memory
from lvmfast.leaks.levels import (
    COSINE_LEVELS,
    LEVELS,
    SIDES,
    Level,
    Side,
    columns_of,
    other_side,
)
from lvmfast.leaks.named import named_values
from lvmfast.leaks.near import UNUSABLE
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Clock, Progress, read
from lvmfast.leaks.running import RunningLevels, cosine_finding, keyed_finding
from lvmfast.leaks.streaming import Streamed, Streamer, record, resumable
from lvmfast.leaks.tally import Rows, SideTally
from lvmfast.leaks.vectors import CosineResult


def scan(
    train: Dataset,
    eval: Dataset | None,
    options: ScanOptions,
    progress: Progress,
    clock: Clock,
    announce: Announce = say_nothing,
    journal: Journal | None = None,
    engine: Engine | None = None,
) -> Findings:
    """Compares every row of `train` with every row of `eval`, or of `train` with itself.

    What does not fit in memory goes by partitions on disk and by blocks; `announce` is told so, and what a
    long comparison of vectors will take.

    Raises:
        DataError: a level asked for by name cannot be checked, a side has no rows, the vectors differ in
            dimension, the memory limit is too low for any way, or the comparison of vectors would take
            longer than the options allow.
    """
    engine = engine or Engine(record)
    levels, missing = checkable(train, eval, options)
    if any(level in COSINE_LEVELS for level in levels):
        check_same_encoder(train.provenance, eval.provenance if eval else {})
    if engine.part is not None and eval is None and "vector" in levels:
        raise DataError(
            "vector: the engine ray finds repeated texts inside one set (--levels text), "
            "and no repeated vectors; the engine local does"
        )
    if journal is not None:
        journal.open({"levels": list(levels), "missing": missing})
    if journal is not None and journal.part:
        assert eval is not None
        return _part(train, eval, levels, options, progress, clock, announce, journal, engine)
    found = (
        _two_sides(train, eval, levels, options, progress, clock, announce, journal, engine)
        if eval
        else _within(train, levels, options, progress, clock, announce, journal, engine)
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
    announce: Announce,
    journal: Journal | None,
    engine: Engine,
) -> Findings:
    # A search for nearest rows keeps the best of every indexed row, and it is eval's that are asked for.
    smaller = eval.estimated_rows() <= train.estimated_rows()
    indexed: Side = "eval" if smaller or options.nearest else "train"
    either: Mapping[Side, Dataset] = {"train": train, "eval": eval}
    sides = {indexed: either[indexed], other_side(indexed): either[other_side(indexed)]}
    check_evidence(levels, sides, options)
    room, working = memory.bound(options), memory.working_bytes(options)
    need = working + memory.index_bytes(levels, sides[indexed], sides[other_side(indexed)], options)
    fits = room is None or need <= room
    _weigh_time(levels, sides, options, announce, reads_of(sides, levels, options, fits))
    if fits:
        left = None if room is None else room - working
        found = _in_memory(sides, levels, options, progress, clock, left, journal, engine)
        if found is not None:
            return found
        announce("the index is larger than it seemed, and does not fit in memory")
    return _beyond_memory(sides, levels, options, progress, clock, announce, journal, engine)


def _part(
    train: Dataset,
    eval: Dataset,
    levels: Sequence[Level],
    options: ScanOptions,
    progress: Progress,
    clock: Clock,
    announce: Announce,
    journal: Journal,
    engine: Engine,
) -> Findings:
    """Scans a share of `train` into `journal`; the findings say no more than that."""
    sides: Mapping[Side, Dataset] = {"eval": eval, "train": train}
    check_evidence(levels, sides, options)
    room, working = memory.bound(options), memory.working_bytes(options)
    need = working + memory.index_bytes(levels, eval, train, options)
    memory.check(need, options.memory_limit, "the index of the evaluation side is held whole in every part")
    _weigh_time(levels, sides, options, announce, 1)
    left = None if room is None else room - working
    running = indexed_levels(sides, levels, options, progress, clock, left, cuts=True)
    if running is None:
        raise DataError(
            "the index of the evaluation side is larger than it seemed, and does not fit in memory"
        )
    with clock.phase("scan"):
        index = running.indexed()
        todo = journal.begin(index, train)
        streamed = _streamed(levels, sides, options)
        engine.stream(running, sides, streamed, todo, journal, options, progress, None)
    with clock.phase("evidence"):
        for cut in journal.cuts():
            running.fold(cut, numbers_of(len(train.files)))
            memory.check_matched(running.matched, running.nbytes, options, running.evidence)
        journal.close(index, named_values(running.named(), sides))
    share, shares = journal.share
    files = sorted(journal.files)
    part = f"{share} of {shares}"
    reason = f"this is part {part}: `lvmfast merge` of all parts answers"
    rows = np.zeros(len(train.files), np.int64)
    for header in journal.headers:
        np.add.at(rows, header["files"], header["rows"])
    return Findings(
        {level: LevelFinding(level, "incomplete", reason=reason) for level in levels},
        {
            "train": SideInfo(tuple(train.files[place].name for place in files), rows[files]),
            "eval": side_info(eval, running.seen["eval"]),
        },
        part=part,
    )


def check_evidence(levels: Sequence[Level], sides: Mapping[Side, Dataset], options: ScanOptions) -> None:
    """Holds what the evidence may need at the end against the limit, if the user set one.

    Of what the system has, nobody asked to be sure: there are seldom as many matches as there may be.

    Raises:
        DataError: it is more.
    """
    if options.memory_limit is None:
        return
    need = memory.working_bytes(options) + memory.evidence_bytes(levels, list(sides.values()), options)
    memory.check(
        need,
        options.memory_limit,
        f"most of it for the texts of the evidence, of up to {options.max_pairs:,} matches a level "
        "(--max-pairs): lower that, or raise the limit",
    )


def reads_of(sides: Mapping[Side, Dataset], levels: Sequence[Level], options: ScanOptions, fits: bool) -> int:
    """How often the streamed side goes by the vectors of the indexed one."""
    indexed = next(iter(sides.values()))
    if fits or not {"vector", "context"} & set(levels):
        return 1
    return -(-indexed.estimated_rows() // groups_per_block(indexed, levels, options))


def _weigh_time(
    levels: Sequence[Level],
    sides: Mapping[Side, Dataset],
    options: ScanOptions,
    announce: Announce,
    reads: int,
) -> None:
    """Says how long the vectors will take, if that is long, and refuses what is longer than allowed."""
    if not {"vector", "context"} & set(levels):
        return
    indexed, streamed = (list(sides.values()) * 2)[:2]
    pairs = cost.comparison_pairs(indexed, streamed, "context" in levels)
    if reads == 1 and pairs * (indexed.dim or 0) < cost.WORTH_A_WORD:
        return
    of_vectors = cost.estimate(indexed, streamed, pairs, reads, options)
    if of_vectors is not None:
        cost.settle(of_vectors, options, announce)


def _in_memory(
    sides: Mapping[Side, Dataset],
    levels: Sequence[Level],
    options: ScanOptions,
    progress: Progress,
    clock: Clock,
    room: int | None,
    journal: Journal | None,
    engine: Engine,
) -> Findings | None:
    """The findings, the indexed side first; None where the index turns out to be larger than `room`."""
    _, streamed = sides
    running = indexed_levels(sides, levels, options, progress, clock, room, cuts=journal is not None)
    if running is None:
        return None
    with clock.phase("scan"):
        columns = columns_read(levels, streamed, options)
        if journal is not None:
            todo = journal.begin(running.indexed(), sides[streamed])
            what = _streamed(levels, sides, options)
            if not engine.stream(running, sides, what, todo, journal, options, progress, room):
                return None
            starts = journal.starts()
            for cut in journal.cuts():
                running.fold(cut, starts)
                memory.check_matched(running.matched, running.nbytes, options, running.evidence)
        else:
            for batch in read(sides[streamed], columns, f"scan {streamed}", options, progress):
                running.take(streamed, batch)
                if room is not None and running.nbytes > room:
                    return None
                memory.check_matched(running.matched, running.nbytes, options, running.evidence)
    with clock.phase("count"):
        return Findings(
            running.findings(),
            {side: side_info(sides[side], running.seen[side]) for side in SIDES},
        )


def _streamed(levels: Sequence[Level], sides: Mapping[Side, Dataset], options: ScanOptions) -> Streamed:
    indexed, streamed = sides
    of_indexed, of_streamed = (columns_read(levels, side, options) for side in (indexed, streamed))
    return Streamed(tuple(levels), indexed, sides[indexed].dim or 1, of_indexed, of_streamed)


def indexed_levels(
    sides: Mapping[Side, Dataset],
    levels: Sequence[Level],
    options: ScanOptions,
    progress: Progress,
    clock: Clock,
    room: int | None,
    *,
    cuts: bool,
) -> RunningLevels | None:
    """The levels with their indexed side, the first of `sides`; None where it is larger than `room`."""
    indexed, _ = sides
    files: Mapping[Side, int] = {side: len(sides[side].files) for side in SIDES}
    running = RunningLevels(levels, indexed, sides[indexed].dim or 1, files, options, cuts=cuts)
    with clock.phase("index"):
        columns = columns_read(levels, indexed, options)
        for batch in read(sides[indexed], columns, f"index {indexed}", options, progress):
            running.take(indexed, batch)
            # The estimate guessed how long texts are, and how many rows a file of lines has.
            if room is not None and running.nbytes > room:
                return None
        running.close_index()
    return running


@dataclass(frozen=True)
class Engine:
    """Who does the work of a scan."""

    stream: Streamer
    part: Parter | None = None  #: None: this process, on its disk


def _beyond_memory(
    sides: Mapping[Side, Dataset],
    levels: Sequence[Level],
    options: ScanOptions,
    progress: Progress,
    clock: Clock,
    announce: Announce,
    journal: Journal | None,
    engine: Engine,
) -> Findings:
    """The findings by partitions and blocks, the indexed side first."""

    def stream(side: Side, columns: Sequence[Column], phase: str, wanted: Rows | None) -> Iterator[Batch]:
        if options.max_df is not None and "text" in columns and "doc_id" not in columns:
            columns = ("doc_id", *columns)
        return read(sides[side], columns, phase, options, progress, wanted)

    with clock.phase("scan"), resumable(journal) if journal is not None else nullcontext():
        found = scan_beyond_memory(sides, levels, options, stream, progress, announce, journal, engine.part)
    findings = {level: keyed_finding(level, result) for level, result in found.keyed.items()}
    for level, of_vectors in found.cosine.items():
        findings[level] = cosine_finding(level, of_vectors, options.threshold)
    info = {side: side_info(sides[side], found.seen[side]) for side in SIDES if side in sides}
    return Findings(findings, info)


def columns_read(levels: Sequence[Level], side: Side, options: ScanOptions) -> tuple[Column, ...]:
    """The columns of one side that `levels` need."""
    read_by = [level for level in levels if level != "oracle" or side == "eval"]
    columns = columns_of(read_by)
    if options.max_df is not None and "text" in levels and "doc_id" not in columns:
        columns = ("doc_id", *columns)
    return columns


def side_info(dataset: Dataset, seen: SideTally) -> SideInfo:
    """The files of a side, with the rows that went by."""
    return SideInfo(tuple(file.name for file in dataset.files), seen.count().file_rows)


def _within(
    train: Dataset,
    levels: Sequence[Level],
    options: ScanOptions,
    progress: Progress,
    clock: Clock,
    announce: Announce,
    journal: Journal | None,
    engine: Engine,
) -> Findings:
    sides: dict[Side, Dataset] = {"train": train}
    check_evidence(levels, sides, options)
    _weigh_time(levels, sides, options, announce, 1)
    room, working = memory.bound(options), memory.working_bytes(options)
    found: dict[Level, LevelFinding] = {}
    info: dict[Side, SideInfo] = {}
    if "text" in levels:
        of_text = None
        fits = room is None or working + memory.index_bytes_within(["text"], train, options) <= room
        if fits and engine.part is None:
            of_text = _text_in_memory(
                train, options, progress, clock, None if room is None else room - working
            )
        if of_text is None:
            of_text = _beyond_memory(sides, ["text"], options, progress, clock, announce, journal, engine)
        found |= of_text.levels
        info |= of_text.sides
    if "vector" in levels:
        memory.check(working + memory.index_bytes_within(["vector"], train, options), options.memory_limit)
        seen = SideTally(len(train.files))
        with clock.phase("scan"), resumable(journal) if journal is not None else nullcontext():
            result = _vector_duplicates(train, seen, options, progress, journal)
        found["vector"] = cosine_finding("vector", result, options.threshold)
        info["train"] = side_info(train, seen)
    return Findings(found, info)


def _text_in_memory(
    train: Dataset, options: ScanOptions, progress: Progress, clock: Clock, room: int | None
) -> Findings | None:
    """The repeated texts; None where the index turns out to be larger than `room`."""
    seen = SideTally(len(train.files))
    duplicates = TextDuplicates(len(train.files), options)
    columns = columns_read(["text"], "train", options)
    with clock.phase("scan"):
        for batch in read(train, columns, "scan text", options, progress):
            duplicates.index(batch)
            seen.see(batch)
            if room is not None and duplicates.nbytes > room:
                return None
    finding = keyed_finding("text", duplicates.result())
    return Findings({"text": finding}, {"train": side_info(train, seen)})


def _vector_duplicates(
    train: Dataset, tally: SideTally, options: ScanOptions, progress: Progress, journal: Journal | None
) -> CosineResult:
    dim = train.dim or 0
    groups = group_rows(_cells(train, options, progress, tally), dim, options)
    result = vector_duplicates(
        lambda wanted: _cells(train, options, progress),
        groups,
        dim,
        options,
        lambda done, of: progress("join vector", done, of),
        memory.vectors_per_pass(train, options),
        journal,
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
        if batch.targets is not None:
            yield Cells.of(batch.targets, batch.start)
        elif tally:
            tally.uncheck_all(batch, MISSING_COLUMN)
