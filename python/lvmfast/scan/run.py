"""The scan: index the smaller side, stream the other past it, count and judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lvmfast.corpus.dataset import Dataset
from lvmfast.corpus.provenance import check_same_encoder
from lvmfast.corpus.sides import Side, other_side
from lvmfast.errors import DataError
from lvmfast.leaks import cost, memory
from lvmfast.leaks.cells import Cells
from lvmfast.leaks.cuts import numbers_of
from lvmfast.leaks.duplicates import group_rows, vector_duplicates
from lvmfast.leaks.findings import Findings, LevelFinding, SideInfo
from lvmfast.leaks.keyed import KeyedLevel
from lvmfast.leaks.named import named_values
from lvmfast.leaks.near import UNUSABLE
from lvmfast.leaks.options import LevelName as Level
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.slots import MISSING_COLUMN
from lvmfast.leaks.tally import SideTally
from lvmfast.levels import LEVELS
from lvmfast.levels.vector import VECTOR
from lvmfast.scan import estimates
from lvmfast.scan.beyond_memory import groups_per_block, scan_beyond_memory
from lvmfast.scan.checkable import checkable
from lvmfast.scan.context import ScanContext
from lvmfast.scan.in_memory import indexed_levels, scan_in_memory
from lvmfast.scan.judged import judged_findings
from lvmfast.scan.running import columns_read, level_finding, side_info


def scan(train: Dataset, eval: Dataset | None, context: ScanContext) -> Findings:
    """Compares every row of `train` with every row of `eval`, or of `train` with itself.

    What does not fit in memory goes by partitions on disk and by blocks; `context` is told so, and what a
    long comparison of vectors will take.

    Raises:
        DataError: a level asked for by name cannot be checked, a side has no rows, the vectors differ in
            dimension, the memory limit is too low for any way, or the comparison of vectors would take
            longer than the options allow.
    """
    levels, missing = checkable(train, eval, context.options)
    if any(LEVELS[level].cosine for level in levels):
        check_same_encoder(train.provenance, eval.provenance if eval else {})
    if context.executor.on_cluster and eval is None and VECTOR.name in levels:
        raise DataError(
            "vector: the engine ray finds repeated texts inside one set (--levels text), "
            "and no repeated vectors; the engine local does"
        )
    journal = context.journal
    if journal is not None:
        journal.open({"levels": list(levels), "missing": missing})
    if journal is not None and journal.part:
        assert eval is not None
        return _shard({"eval": eval, "train": train}, levels, context)
    found = _two_sides(train, eval, levels, context) if eval else _within(train, levels, context)
    return judged_findings(found, missing, context.options)


def _two_sides(train: Dataset, eval: Dataset, levels: Sequence[Level], context: ScanContext) -> Findings:
    # A search for nearest rows keeps the best of every indexed row, and it is eval's that are asked for.
    options = context.options
    smaller = eval.estimated_rows() <= train.estimated_rows()
    fixed = any(LEVELS[level].indexes == "eval" for level in levels)
    indexed: Side = "eval" if smaller or fixed or options.nearest else "train"
    either: Mapping[Side, Dataset] = {"train": train, "eval": eval}
    sides = {indexed: either[indexed], other_side(indexed): either[other_side(indexed)]}
    check_evidence(levels, sides, options)
    room, working = memory.bound(options), memory.working_bytes(options)
    need = working + estimates.index_bytes(levels, sides[indexed], sides[other_side(indexed)], options)
    fits = room is None or need <= room
    _weigh_time(levels, sides, context, reads_of(sides, levels, options, fits))
    if fits:
        found = scan_in_memory(sides, levels, context, None if room is None else room - working)
        if found is not None:
            return found
        context.announce("the index is larger than it seemed, and does not fit in memory")
    return scan_beyond_memory(levels, sides, context)


def _shard(sides: Mapping[Side, Dataset], levels: Sequence[Level], context: ScanContext) -> Findings:
    """Scans a share of the streamed side into the journal; the findings say no more than that."""
    options, journal = context.options, context.journal
    assert journal is not None
    indexed, streamed = sides
    check_evidence(levels, sides, options)
    room, working = memory.bound(options), memory.working_bytes(options)
    need = working + estimates.index_bytes(levels, sides[indexed], sides[streamed], options)
    memory.check(need, options.memory_limit, "the index of the evaluation side is held whole in every part")
    _weigh_time(levels, sides, context, 1)
    running = indexed_levels(sides, levels, context, None if room is None else room - working)
    if running is None:
        raise DataError(
            "the index of the evaluation side is larger than it seemed, and does not fit in memory"
        )
    with context.clock.phase("scan"):
        index = running.indexed()
        todo = journal.begin(index, sides[streamed])
        context.executor.stream(running, sides, todo, context, None)
    names = [file.name for file in sides[streamed].files]
    with context.clock.phase("evidence"):
        for cut in journal.cuts():
            running.fold(cut, numbers_of(len(names)))
            memory.check_matched(running.matched, running.nbytes, options, running.evidence)
        journal.close(index, named_values(running.named(), sides))
    files = sorted(journal.files)
    part = "{} of {}".format(*journal.share)
    reason = f"this is part {part}: `lvmfast merge` of all parts answers"
    rows = np.zeros(len(names), np.int64)
    for header in journal.headers:
        np.add.at(rows, header["files"], header["rows"])
    return Findings(
        {level: LevelFinding(level, "incomplete", reason=reason) for level in levels},
        {
            streamed: SideInfo(tuple(names[place] for place in files), rows[files]),
            indexed: side_info(sides[indexed], running.seen[indexed]),
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
    need = memory.working_bytes(options) + estimates.evidence_bytes(levels, list(sides.values()), options)
    memory.check(
        need,
        options.memory_limit,
        f"most of it for the texts of the evidence, of up to {options.max_pairs:,} matches a level "
        "(--max-pairs): lower that, or raise the limit",
    )


def reads_of(sides: Mapping[Side, Dataset], levels: Sequence[Level], options: ScanOptions, fits: bool) -> int:
    """How often the streamed side goes by the vectors of the indexed one."""
    indexed = next(iter(sides.values()))
    if fits or not any(LEVELS[level].compares_vectors for level in levels):
        return 1
    return -(-indexed.estimated_rows() // groups_per_block(indexed, levels, options))


def _weigh_time(
    levels: Sequence[Level], sides: Mapping[Side, Dataset], context: ScanContext, reads: int
) -> None:
    """Says how long the vectors will take, if that is long, and refuses what is longer than allowed."""
    if not any(LEVELS[level].compares_vectors for level in levels):
        return
    indexed, streamed = (list(sides.values()) * 2)[:2]
    pairs = cost.comparison_pairs(indexed, streamed, any(LEVELS[level].windows for level in levels))
    if reads == 1 and pairs * (indexed.dim or 0) < cost.WORTH_A_WORD:
        return
    of_vectors = cost.estimate(indexed, streamed, pairs, reads, context.options)
    if of_vectors is not None:
        cost.settle(of_vectors, context.options, context.announce)


def _within(train: Dataset, levels: Sequence[Level], context: ScanContext) -> Findings:
    options = context.options
    sides: dict[Side, Dataset] = {"train": train}
    check_evidence(levels, sides, options)
    _weigh_time(levels, sides, context, 1)
    room, working = memory.bound(options), memory.working_bytes(options)
    found: dict[Level, LevelFinding] = {}
    info: dict[Side, SideInfo] = {}
    for name in [name for name in levels if LEVELS[name].keys is not None]:
        by_keys = None
        fits = room is None or working + estimates.index_bytes_within([name], train, options) <= room
        if fits and not context.executor.on_cluster:
            by_keys = _keyed_in_memory(name, train, context, None if room is None else room - working)
        if by_keys is None:
            by_keys = scan_beyond_memory([name], sides, context)
        found |= by_keys.levels
        info |= by_keys.sides
    if VECTOR.name in levels:
        need = estimates.index_bytes_within([VECTOR.name], train, options)
        memory.check(working + need, options.memory_limit)
        seen = SideTally(len(train.files))
        with context.clock.phase("scan"), context.resumable():
            result = _vector_duplicates(train, seen, context)
        found[VECTOR.name] = level_finding(VECTOR.name, result, options.threshold)
        info["train"] = side_info(train, seen)
    return Findings(found, info)


def _keyed_in_memory(name: Level, train: Dataset, context: ScanContext, room: int | None) -> Findings | None:
    """The repeated rows of a keyed level; None where the index turns out to be larger than `room`."""
    seen = SideTally(len(train.files))
    duplicates = KeyedLevel(LEVELS[name], "train", {"train": len(train.files)}, context.options)
    with context.clock.phase("scan"):
        for batch in context.read(train, columns_read([name], "train", context.options), f"scan {name}"):
            duplicates.index(batch)
            seen.see(batch)
            if room is not None and duplicates.nbytes > room:
                return None
    finding = level_finding(name, duplicates.result(), context.options.threshold)
    return Findings({name: finding}, {"train": side_info(train, seen)})


def _vector_duplicates(train: Dataset, tally: SideTally, context: ScanContext) -> LevelResult:
    dim, options = train.dim or 0, context.options
    groups = group_rows(_cells(train, context, tally), options)
    result = vector_duplicates(
        lambda wanted: _cells(train, context),
        groups,
        dim,
        options,
        lambda done, of: context.progress(f"join {VECTOR.name}", done, of),
        memory.vectors_per_pass(train, options),
        context.journal,
    )
    for code, reason in UNUSABLE.items():
        tally.uncheck_rows((groups.codes == code).nonzero()[0], reason)
    return LevelResult.merged([LevelResult({"train": tally.part()}), result], options)


def _cells(dataset: Dataset, context: ScanContext, tally: SideTally | None = None) -> Iterator[Cells]:
    """The target vectors of `dataset`; counts its rows when given a tally."""
    for batch in context.read(dataset, VECTOR.needs, f"scan {VECTOR.name}"):
        if tally:
            tally.see(batch)
        if batch.targets is not None:
            yield Cells.of(batch.targets, batch.start)
        elif tally:
            tally.uncheck_all(batch, MISSING_COLUMN)
