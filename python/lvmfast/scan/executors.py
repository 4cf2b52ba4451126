"""The work of a scan in this process, on its disk."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from itertools import groupby, pairwise

from lvmfast.leaks import memory
from lvmfast.leaks.cuts import Span
from lvmfast.leaks.options import LevelName as Level
from lvmfast.leaks.results import LevelResult
from lvmfast.scan.context import ScanContext
from lvmfast.scan.on_threads import Asked, taken
from lvmfast.scan.plan import Plan, Sides
from lvmfast.scan.running import RunningLevels, block_phase


class Local:
    """See `context.Executor`."""

    on_cluster = False

    def stream(
        self, running: RunningLevels, sides: Sides, todo: Sequence[Span], planned: Plan, context: ScanContext
    ) -> bool:
        """As `Executor.stream`, with `running`."""
        journal, side = context.journal, running.streamed
        assert journal is not None
        dataset, done = sides[side], journal.rows_done
        total = dataset.rows if journal.share[1] == 1 else None
        pending: list[Span] = []
        followed = dict(pairwise(todo))
        with context.resumable():
            for block, of_block in groupby(todo, lambda span: span.block):
                running.turn(block)
                columns = running.comparison.columns(side, block)
                asked = Asked(
                    dataset, columns, memory.block_rows(dataset, columns, context.options), planned.room
                )
                phase, done = block_phase(side, block, running.blocks), done if block == 0 else 0
                context.progress(phase, done, total)
                with closing(taken(running, list(of_block), asked)) as going:
                    for rows, span in going:
                        if running.nbytes > planned.room:
                            return False
                        if not journal.recorded:  # all of it stays in memory
                            memory.check_matched(
                                running.matched, running.nbytes, context.options, running.evidence
                            )
                        done += rows
                        context.progress(phase, done, total)
                        if span is None:
                            continue
                        pending.append(span)
                        following = followed.get(span)
                        if following is None or journal.due(span, following):
                            journal.add(pending, running.cut(), last=following is None)
                            pending = []
        return True

    def shuffle(
        self, levels: Sequence[Level], sides: Sides, budget: int, context: ScanContext
    ) -> Generator[LevelResult, None, None]:
        """As `Executor.shuffle`, by partitions on disk.

        Raises:
            DataError: there is no room on disk.
        """
        from lvmfast.scan.beyond_memory import by_partitions

        return by_partitions(levels, sides, budget, context)


LOCAL = Local()
