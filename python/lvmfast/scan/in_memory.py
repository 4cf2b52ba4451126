"""Scans of two sides whose index fits in memory: one side is indexed, the other streams past once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lvmfast.corpus.dataset import Dataset
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.leaks import memory
from lvmfast.leaks.findings import Findings
from lvmfast.leaks.options import LevelName as Level
from lvmfast.scan.context import ScanContext
from lvmfast.scan.running import Comparison, RunningLevels, side_info


def scan_in_memory(
    sides: Mapping[Side, Dataset], levels: Sequence[Level], context: ScanContext, room: int | None
) -> Findings | None:
    """The findings, the indexed side first; None where the index turns out to be larger than `room`."""
    _, streamed = sides
    journal = context.journal
    running = indexed_levels(sides, levels, context, room)
    if running is None:
        return None
    with context.clock.phase("scan"):
        if journal is not None:
            todo = journal.begin(running.indexed(), sides[streamed])
            if not context.executor.stream(running, sides, todo, context, room):
                return None
            starts = journal.starts()
            for cut in journal.cuts():
                running.fold(cut, starts)
                memory.check_matched(running.matched, running.nbytes, context.options, running.evidence)
        else:
            columns = running.comparison.columns(streamed)
            for batch in context.read(sides[streamed], columns, f"scan {streamed}"):
                running.take(streamed, batch)
                if room is not None and running.nbytes > room:
                    return None
                memory.check_matched(running.matched, running.nbytes, context.options, running.evidence)
    with context.clock.phase("count"):
        return Findings(
            running.findings(),
            {side: side_info(sides[side], running.seen[side]) for side in SIDES},
        )


def indexed_levels(
    sides: Mapping[Side, Dataset], levels: Sequence[Level], context: ScanContext, room: int | None
) -> RunningLevels | None:
    """The levels with their indexed side, the first of `sides`; None where it is larger than `room`."""
    comparison = Comparison.of(sides, levels, context.options)
    running = RunningLevels(comparison, cuts=context.journal is not None)
    indexed = comparison.indexed
    with context.clock.phase("index"):
        for batch in context.read(sides[indexed], comparison.columns(indexed), f"index {indexed}"):
            running.take(indexed, batch)
            # The estimate guessed how long texts are, and how many rows a file of lines has.
            if room is not None and running.nbytes > room:
                return None
        running.close_index()
    return running
