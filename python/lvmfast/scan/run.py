"""The scan: index the smaller side, stream the other past it, count and judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import numpy as np

from lvmfast.corpus.dataset import Dataset
from lvmfast.corpus.provenance import check_same_encoder
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.errors import DataError
from lvmfast.leaks import cost, memory
from lvmfast.leaks.cuts import numbers_of
from lvmfast.leaks.findings import Findings, LevelFinding, SideInfo
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.keyed import KeyedLevel
from lvmfast.leaks.named import named_values
from lvmfast.leaks.options import LevelName as Level
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.slots import MISSING_COLUMN
from lvmfast.leaks.tally import SideTally
from lvmfast.levels import LEVELS
from lvmfast.scan.checkable import checkable
from lvmfast.scan.context import ScanContext
from lvmfast.scan.executors import LOCAL
from lvmfast.scan.judged import judged_findings
from lvmfast.scan.plan import Given, Plan, Sides, Way, plan
from lvmfast.scan.running import (
    Comparison,
    RunningLevels,
    columns_read,
    findings_of,
    side_info,
)
from lvmfast.stores.folders import MemoryFolder

if TYPE_CHECKING:
    from lvmfast.leaks.cells import Cells


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
    sides: dict[Side, Dataset] = {"train": train} if eval is None else {"train": train, "eval": eval}
    planned = _planned(levels, sides, context)
    journal = context.journal
    if journal is not None:
        unchecked = {level: asdict(why) for level, why in missing.items()}
        journal.open({"levels": list(levels), "missing": unchecked})
    _weigh_time(planned, sides, context)
    found = carried_out(planned, sides, context)
    if found is None:
        if "streamed" in planned.ways.values():
            context.announce("the index is larger than it seemed, and does not fit in memory")
        found = carried_out(_planned(levels, sides, context, outgrown=True), sides, context)
        assert found is not None
    return found if found.part is not None else judged_findings(found, missing, context.options)


def _planned(
    levels: tuple[Level, ...], sides: Sides, context: ScanContext, *, outgrown: bool = False
) -> Plan:
    """The plan for both sides, or for train alone.

    Raises:
        DataError: it is refused.
    """
    options, journal = context.options, context.journal
    shard = journal is not None and journal.part
    given = Given(levels, options, memory.bound(options), shard, context.executor.on_cluster, outgrown)
    planned = plan(sides, given)
    if planned.refused is not None:
        raise DataError(planned.refused)
    return planned


def _weigh_time(planned: Plan, sides: Sides, context: ScanContext) -> None:
    """Says how long the vectors will take, if that is long, and refuses what is longer than allowed."""
    indexed, streamed = sides[planned.sides[0]], sides[planned.sides[-1]]
    if planned.reads == 1 and planned.pairs * (indexed.dim or 0) < cost.WORTH_A_WORD:
        return
    of_vectors = cost.estimate(indexed, streamed, planned.pairs, planned.reads, context.options)
    if of_vectors is not None:
        cost.settle(of_vectors, context.options, context.announce)


def carried_out(planned: Plan, sides: Sides, context: ScanContext) -> Findings | None:
    """What the steps of a plan find; None where an index turns out to be larger than the plan's room."""
    ordered = {side: sides[side] for side in planned.sides}
    found = Findings({}, {})
    for way, levels in planned.steps:
        step = STEPS[way](levels, ordered, planned, context)
        if step is None:
            return None
        found = Findings({**found.levels, **step.levels}, {**found.sides, **step.sides}, step.part)
    return found


def _streamed(levels: Sequence[Level], sides: Sides, planned: Plan, context: ScanContext) -> Findings | None:
    """The findings of `levels`; None where the index turns out to be larger than the plan's room."""
    streamed = planned.sides[-1]
    journal = context.journal or Journal(MemoryFolder(), recorded=False)
    context = replace(context, journal=journal)
    running = _running(levels, sides, planned, context)
    if running is None:
        return None
    with context.clock.phase("scan"):
        todo = journal.begin(running.indexed(), sides[streamed], running.blocks)
        if not context.executor.stream(running, sides, todo, planned, context):
            return None
        starts = journal.starts()
        for cut in journal.cuts():
            running.fold(cut, starts)
            memory.check_matched(running.matched, running.nbytes, context.options, running.evidence)
    with context.clock.phase("count"):
        info = {side: side_info(sides[side], running.seen[side]) for side in SIDES}
        return Findings(running.findings(), info)


def _held(levels: Sequence[Level], sides: Sides, planned: Plan, context: ScanContext) -> Findings | None:
    """As `_streamed`, beside levels that find another way."""
    if context.executor.on_cluster:
        context.announce(f"{', '.join(levels)}: on this machine alone")
        context = replace(context, journal=None, executor=LOCAL)
    return _streamed(levels, sides, planned, context)


def _running(
    levels: Sequence[Level], sides: Sides, planned: Plan, context: ScanContext
) -> RunningLevels | None:
    """The levels with their indexed side; None where it is larger than the plan's room."""
    comparison = Comparison.of(sides, levels, context.options)
    running = RunningLevels(comparison)
    indexed = comparison.indexed
    with context.clock.phase("index"):
        for batch in context.read(sides[indexed], comparison.columns(indexed), f"index {indexed}"):
            running.take(indexed, batch)
            # The estimate guessed how long texts are, and how many rows a file of lines has.
            if running.nbytes > planned.room:
                return None
        running.close_index(planned.parted_room)
    if running.blocks > 1:
        named = ", ".join(level for level in levels if LEVELS[level].in_blocks)
        context.announce(
            f"{named}: the index of the {indexed} side does not fit in memory whole: "
            f"the other side goes by it in {running.blocks} blocks, and is read as often"
        )
    return running


def _shard(levels: Sequence[Level], sides: Sides, planned: Plan, context: ScanContext) -> Findings | None:
    """Scans a share of the streamed side into the journal; the findings say no more than that."""
    options, journal = context.options, context.journal
    assert journal is not None
    indexed, streamed = planned.sides
    running = _running(levels, sides, planned, context)
    if running is None:
        return None
    with context.clock.phase("scan"):
        index = running.indexed()
        todo = journal.begin(index, sides[streamed], running.blocks)
        context.executor.stream(running, sides, todo, replace(planned, room=memory.ENDLESS), context)
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


def _indexed(levels: Sequence[Level], sides: Sides, planned: Plan, context: ScanContext) -> Findings | None:
    """The repeated rows of keyed levels, one after the other."""
    train, found = sides["train"], {}
    for name in levels:
        seen = SideTally(len(train.files))
        duplicates = KeyedLevel(LEVELS[name], "train", {"train": len(train.files)}, context.options)
        with context.clock.phase("scan"):
            for batch in context.read(train, columns_read([name], "train", context.options), f"scan {name}"):
                duplicates.index(batch)
                seen.see(batch)
                if duplicates.nbytes > planned.room:
                    return None
        found[name] = duplicates.result()
    return findings_of(found, {"train": seen}, sides, context.options.threshold)


def _passes(levels: Sequence[Level], sides: Sides, planned: Plan, context: ScanContext) -> Findings:
    """The near-duplicate vectors of one set."""
    # Here and not above, as all that most scans do not need: they start without it.
    from lvmfast.leaks.duplicates import group_rows, vector_duplicates
    from lvmfast.leaks.near import UNUSABLE

    train, options, (name,) = sides["train"], context.options, levels
    tally = SideTally(len(train.files))
    with context.clock.phase("scan"), context.resumable():
        groups = group_rows(_cells(train, name, context, tally), options)
        result = vector_duplicates(
            lambda wanted: _cells(train, name, context),
            groups,
            train.dim or 0,
            options,
            lambda done, of: context.progress(f"join {name}", done, of),
            planned.groups,
            context.journal,
        )
        for code, reason in UNUSABLE.items():
            tally.uncheck_rows((groups.codes == code).nonzero()[0], reason)
        found = LevelResult.merged([LevelResult({"train": tally.part()}), result], options)
    return findings_of({name: found}, {"train": tally}, sides, options.threshold)


def _cells(
    dataset: Dataset, level: Level, context: ScanContext, tally: SideTally | None = None
) -> Iterator[Cells]:
    """The target vectors of `dataset`; counts its rows when given a tally."""
    from lvmfast.leaks.cells import Cells

    for batch in context.read(dataset, LEVELS[level].needs, f"scan {level}"):
        if tally:
            tally.see(batch)
        if batch.targets is not None:
            yield Cells.of(batch.targets, batch.start)
        elif tally:
            tally.uncheck_all(batch, MISSING_COLUMN)


def _partitions(
    levels: Sequence[Level], sides: Sides, planned: Plan, context: ScanContext
) -> Findings | None:
    from lvmfast.scan.beyond_memory import by_keys

    return by_keys(levels, sides, planned, context)


def _blocks(levels: Sequence[Level], sides: Sides, planned: Plan, context: ScanContext) -> Findings | None:
    from lvmfast.scan.beyond_memory import by_blocks

    return by_blocks(levels, sides, planned, context)


#: What goes a way; None where the index turns out to be larger than the plan's room.
Step = Callable[[Sequence[Level], Sides, Plan, ScanContext], Findings | None]

STEPS: Mapping[Way, Step] = {
    "streamed": _streamed,
    "shard": _shard,
    "indexed": _indexed,
    "held": _held,
    "partitions": _partitions,
    "blocks": _blocks,
    "passes": _passes,
}
