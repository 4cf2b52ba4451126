"""Levels whose index does not fit in memory: keyed levels by partitions on disk, vectors by blocks.

The findings are those of a scan in memory. The two kinds of levels take turns, each with all the memory.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lvmfast.corpus.dataset import Column
from lvmfast.corpus.sides import Side
from lvmfast.durable import scratch_folder
from lvmfast.errors import DataError
from lvmfast.leaks.findings import Findings
from lvmfast.leaks.options import LevelName as Level
from lvmfast.leaks.partitioned import PartitionedLevel
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.tally import Tally
from lvmfast.leaks.trees import from_arrays, to_arrays
from lvmfast.levels import LEVELS
from lvmfast.scan.blocked import BlockedVectors
from lvmfast.scan.context import ScanContext
from lvmfast.scan.plan import Plan, Sides
from lvmfast.scan.running import Comparison, columns_read, findings_of

#: What a journal keeps of the keyed levels.
KEYED = "keyed"


@dataclass(frozen=True)
class KeyedLevels:
    """What the keyed levels found that are done, as a journal keeps it."""

    seen: Mapping[Side, Tally]
    levels: Mapping[Level, LevelResult]


def by_keys(levels: Sequence[Level], sides: Sides, planned: Plan, context: ScanContext) -> Findings:
    """The findings of keyed `levels` by partitions; the journal keeps those of each as they are there.

    Raises:
        DataError: there is no room on disk.
    """
    done, journal = KeyedLevels({}, {}), context.journal
    with context.clock.phase("scan"), context.resumable():
        if journal is not None and (state := journal.state(KEYED)) is not None:
            done = from_arrays(KeyedLevels, state)
        left = [level for level in levels if level not in done.levels]
        if left:
            with closing(context.executor.shuffle(left, sides, planned.budget, context)) as results:
                for level, result in zip(left, results, strict=True):
                    seen = {side: tally.rows_alone() for side, tally in result.sides.items()}
                    done = KeyedLevels(seen, {**done.levels, level: result})
                    if journal is not None:
                        told = f"done at {', '.join(done.levels)}"
                        journal.keep(KEYED, to_arrays(done), told, seldom=True)
    return findings_of(done.levels, done.seen, sides, context.options.threshold)


def by_blocks(levels: Sequence[Level], sides: Sides, planned: Plan, context: ScanContext) -> Findings:
    """The findings of `levels` that compare vectors; the journal keeps what was found up to each block."""
    with context.clock.phase("scan"), context.resumable():
        if context.executor.on_cluster:
            context.announce(f"{', '.join(levels)}: block by block on this machine alone")
        running = BlockedVectors(
            Comparison.of(sides, levels, context.options),
            sides[planned.sides[0]].context_length,
            planned.groups,
            lambda side, columns, phase: context.read(sides[side], columns, phase),
            context.journal,
        )
        found = running.results()
    return findings_of(found, running.seen, sides, context.options.threshold)


def by_partitions(
    levels: Sequence[Level], sides: Sides, budget: int, context: ScanContext
) -> Generator[LevelResult, None, None]:
    """What each of the keyed `levels` finds, by partitions on disk that take `budget` bytes in memory.

    The indexed side stands first in `sides`.

    Raises:
        DataError: there is no room on disk.
    """
    options = context.options
    rows = {side: dataset.estimated_rows() for side, dataset in sides.items()}
    files = {side: len(dataset.files) for side, dataset in sides.items()}
    on_disk = {
        level: keys.record_bytes * sum(rows.values()) for level in levels if (keys := LEVELS[level].keys)
    }
    parent = Path(options.scratch or tempfile.gettempdir())
    with _scratch(parent, sum(on_disk.values())) as folder:
        running = [
            PartitionedLevel(LEVELS[level], tuple(sides), files, rows, options, folder, budget)
            for level in levels
        ]
        for level in running:
            context.announce(
                f"{level.level}: by {level.partitions} partitions on disk, "
                f"about {gigabytes(on_disk[level.level])} under {folder}"
            )
        for side in sides:
            for batch in context.read(sides[side], columns_read(levels, side, options), f"part {side}"):
                for level in running:
                    level.take(side, batch)
        again: tuple[Column, ...] = ("text",) if options.max_df is None else ("doc_id", "text")
        while running:
            yield running.pop(0).result(
                lambda side, wanted: context.read(sides[side], again, f"read {side} again", wanted),
                context.progress,
            )


@contextmanager
def _scratch(parent: Path, need: int) -> Iterator[Path]:
    """A folder for `need` bytes of partitions."""
    with ExitStack() as stack:
        try:
            free = shutil.disk_usage(parent if parent.exists() else parent.parent).free
            if need > free:
                raise DataError(
                    f"{parent}: partitions of the scan need about {gigabytes(need)}, and {gigabytes(free)} "
                    "are free; --out on another disk, or TMPDIR, moves them"
                )
            folder = stack.enter_context(scratch_folder(parent))
        except OSError as error:
            raise DataError(f"{parent}: no folder for partitions: {error.strerror}") from error
        yield folder


def gigabytes(size: int) -> str:
    """A size as it is said."""
    return f"{size / 1e9:.1f} GB" if size >= 10**8 else f"{size / 1e6:.1f} MB"
