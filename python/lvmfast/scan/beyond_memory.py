"""Scans whose index does not fit in memory: keyed levels by partitions on disk, vectors by blocks.

The findings are those of a scan in memory. The two kinds of levels take turns, each with all the memory.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lvmfast.corpus.dataset import Column, Dataset
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.durable import scratch_folder
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from lvmfast.leaks.findings import Findings, LevelFinding, SideInfo
from lvmfast.leaks.options import LevelName as Level
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.partitioned import PartitionedLevel
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.tally import SideTally, Tally
from lvmfast.leaks.trees import from_arrays, to_arrays
from lvmfast.levels import LEVELS
from lvmfast.scan.blocked import BlockedVectors
from lvmfast.scan.context import ScanContext
from lvmfast.scan.in_memory import scan_in_memory
from lvmfast.scan.running import columns_read, level_finding, side_info

#: The least that a partition, or a block of vectors, is given.
LEAST_BUDGET = 32 << 20

#: What a journal keeps of the keyed levels.
KEYED = "keyed"


@dataclass(frozen=True)
class KeyedLevels:
    """What the keyed levels found that are done, as a journal keeps it."""

    seen: Mapping[Side, Tally]
    levels: Mapping[Level, LevelResult]


def scan_beyond_memory(
    levels: Sequence[Level], sides: Mapping[Side, Dataset], context: ScanContext
) -> Findings:
    """The findings of `levels` over two sides, the indexed one first, or over ``train`` alone.

    The journal keeps the findings of keyed levels as they are there, and those of vectors block by block.

    Raises:
        DataError: there is no room on disk, or not even for one partition or block in memory.
    """
    keyed = [level for level in levels if LEVELS[level].keys is not None]
    compared = [level for level in levels if LEVELS[level].compares_vectors]
    held = [level for level in levels if level not in (*keyed, *compared)]
    found: dict[Level, LevelResult] = {}
    findings: dict[Level, LevelFinding] = {}
    seen: dict[Side, SideTally] = {}
    info: Mapping[Side, SideInfo] = {}
    if held:  # what they index is small, and no other way would hold less
        streamed = scan_in_memory(sides, held, replace(context, journal=None), None)
        assert streamed is not None
        findings, info = dict(streamed.levels), streamed.sides
    with context.clock.phase("scan"), context.resumable():
        if keyed:
            found, seen = _by_keys(keyed, sides, context)
        if compared and context.executor.on_cluster:
            context.announce(f"{', '.join(compared)}: block by block on this machine alone")
        if compared:
            by_blocks, seen = _by_blocks(compared, sides, context)
            found |= by_blocks
    findings |= {
        level: level_finding(level, result, context.options.threshold) for level, result in found.items()
    }
    if seen:
        info = {side: side_info(sides[side], seen[side]) for side in SIDES if side in sides}
    return Findings(findings, info)


def _by_keys(
    levels: Sequence[Level], sides: Mapping[Side, Dataset], context: ScanContext
) -> tuple[dict[Level, LevelResult], dict[Side, SideTally]]:
    """What the keyed `levels` found, those that the journal knows not again, and the rows that went by."""
    found: dict[Level, LevelResult] = {}
    seen: dict[Side, SideTally] = {}
    journal = context.journal
    if journal is not None and (state := journal.state(KEYED)) is not None:
        kept = from_arrays(KeyedLevels, state)
        seen = {side: SideTally.of(tally) for side, tally in kept.seen.items()}
        found = dict(kept.levels)
    left = [level for level in levels if level not in found]
    if not left:
        return found, seen
    with closing(context.executor.shuffle(left, sides, context)) as results:
        for level, result in zip(left, results, strict=True):
            found[level] = result
            rows = {side: tally.rows_alone() for side, tally in result.sides.items()}
            seen = {side: SideTally.of(tally) for side, tally in rows.items()}
            if journal is not None:
                state = to_arrays(KeyedLevels(rows, found))
                journal.keep(KEYED, state, f"done at {', '.join(found)}", seldom=True)
    return found, seen


def _by_blocks(
    levels: Sequence[Level], sides: Mapping[Side, Dataset], context: ScanContext
) -> tuple[dict[Level, LevelResult], dict[Side, SideTally]]:
    """What the cosine `levels` found, and the rows that went by."""
    indexed = next(iter(sides))
    dataset = sides[indexed]
    running = BlockedVectors(
        levels,
        indexed,
        {side: len(sides[side].files) for side in SIDES},
        dataset.dim or 0,
        dataset.context_length,
        context.options,
        groups_per_block(dataset, levels, context.options),
        lambda side, columns, phase: context.read(sides[side], columns, phase),
        context.journal,
    )
    return running.results(), running.seen


def by_partitions(
    levels: Sequence[Level], sides: Mapping[Side, Dataset], context: ScanContext
) -> Generator[LevelResult, None, None]:
    """What each of the keyed `levels` finds, by partitions on disk; the indexed side stands first in `sides`.

    Raises:
        DataError: there is no room on disk, or not even for one partition in memory.
    """
    options = context.options
    room = budget(options)
    rows = {side: dataset.estimated_rows() for side, dataset in sides.items()}
    files = {side: len(dataset.files) for side, dataset in sides.items()}
    on_disk = {level: _record_bytes(level) * sum(rows.values()) for level in levels}
    parent = Path(options.scratch or tempfile.gettempdir())
    _check_disk(parent, sum(on_disk.values()))
    with _scratch(parent) as folder:
        running = [
            PartitionedLevel(LEVELS[level], tuple(sides), files, rows, options, folder, room)
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


def _record_bytes(level: Level) -> int:
    keys = LEVELS[level].keys
    assert keys is not None
    return keys.record_bytes


def _check_disk(parent: Path, need: int) -> None:
    try:
        free = shutil.disk_usage(parent if parent.exists() else parent.parent).free
    except OSError as error:
        raise DataError(f"{parent}: no folder for partitions: {error.strerror}") from error
    if need > free:
        raise DataError(
            f"{parent}: partitions of the scan need about {gigabytes(need)}, and {gigabytes(free)} are "
            "free; --out on another disk, or TMPDIR, moves them"
        )


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder(parent))
        except OSError as error:
            raise DataError(f"{parent}: no folder for partitions: {error.strerror}") from error
        yield folder


def gigabytes(size: int) -> str:
    """A size as it is said."""
    return f"{size / 1e9:.1f} GB" if size >= 10**8 else f"{size / 1e6:.1f} MB"


def groups_per_block(indexed: Dataset, levels: Sequence[Level], options: ScanOptions) -> int:
    """Distinct vectors of the indexed side that fit in memory at a time.

    Raises:
        DataError: the bookkeeping of all its vectors alone does not fit.
    """
    cells = 1 + ((indexed.context_length or 0) if any(LEVELS[level].windows for level in levels) else 0)
    held = indexed.estimated_rows() * cells * memory.GROUP_BYTES
    return max(1, budget(options, held) // memory.indexed_bytes(indexed.dim or 0, options))


def budget(options: ScanOptions, held: int = 0) -> int:
    """Bytes that a partition or a block may hold beside `held` others.

    Raises:
        DataError: that is too little to work with.
    """
    room = memory.bound(options)
    need = memory.working_bytes(options) + held
    memory.check(need + LEAST_BUDGET, options.memory_limit, "raise the limit, or lower --max-pairs")
    return LEAST_BUDGET if room is None else room - need
