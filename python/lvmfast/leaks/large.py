"""Scans whose index does not fit in memory: keyed levels by partitions on disk, vectors by blocks.

The findings are those of a scan in memory. The two kinds of levels take turns, each with all the memory.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lvmfast.corpus.dataset import Batch, Column, Dataset, Rows
from lvmfast.durable import scratch_folder
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from lvmfast.leaks.blocked import BlockedVectors
from lvmfast.leaks.cost import Announce
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.keyed import KeyedResult
from lvmfast.leaks.levels import COSINE_LEVELS, SIDES, Level, Side, columns_of
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.partitioned import PartitionedLevel
from lvmfast.leaks.tally import SideTally
from lvmfast.leaks.vectors import CosineResult, OracleLevel

#: The least that a partition, or a block of vectors, is given.
LEAST_BUDGET = 32 << 20
#: Bytes on disk per row: its key, its number, and what the format adds.
RECORD_BYTES = {"doc": 26, "chunk": 42, "text": 26}

#: What a journal keeps of the keyed levels.
KEYED = "keyed"

#: Streams the columns of a side under the name of a phase; of some rows alone, where they are given.
Reader = Callable[[Side, Sequence[Column], str, Rows | None], Iterator[Batch]]
#: Told of a phase: (name, units done, of how many).
Told = Callable[[str, int, int | None], None]


class Parter(Protocol):
    """Finds what keyed levels find where this process does not part the rows itself."""

    def __call__(
        self, levels: Sequence[Level], sides: Mapping[Side, Dataset], options: ScanOptions, told: Told
    ) -> Iterator[KeyedResult]:
        """The findings of each level, in order.

        Args:
            levels: doc, chunk, text: some of them.
            sides: the indexed side first, or ``train`` alone.
            options: of the scan.
            told: of phases.
        """
        ...


@dataclass
class LargeScan:
    """What the levels found, and the rows that went by."""

    keyed: dict[Level, KeyedResult] = field(default_factory=dict)
    cosine: dict[Level, CosineResult] = field(default_factory=dict)
    seen: dict[Side, SideTally] = field(default_factory=dict)


def scratch_parent(options: ScanOptions) -> Path:
    """The folder under which partitions are put."""
    return Path(options.scratch or tempfile.gettempdir())


def budget(options: ScanOptions, held: int = 0) -> int:
    """Bytes that a partition or a block may hold beside `held` others.

    Raises:
        DataError: that is too little to work with.
    """
    room = memory.bound(options)
    need = memory.working_bytes(options) + held
    memory.check(need + LEAST_BUDGET, options.memory_limit, "raise the limit, or lower --max-pairs")
    return LEAST_BUDGET if room is None else room - need


def partitioned_levels(
    sides: Mapping[Side, Dataset],
    levels: Sequence[Level],
    options: ScanOptions,
    read: Reader,
    told: Told,
    announce: Announce,
    found: LargeScan,
    kept: Callable[[Level], None] = lambda level: None,
) -> None:
    """Puts the findings of the keyed `levels` into `found`; the indexed side stands first in `sides`.

    `kept` is told of every level when its findings are there.

    Raises:
        DataError: there is no room on disk, or not even for one partition in memory.
    """
    room = budget(options)
    rows = {side: dataset.estimated_rows() for side, dataset in sides.items()}
    parent = scratch_parent(options)
    on_disk = sum(RECORD_BYTES[level] for level in levels) * sum(rows.values())
    try:
        free = shutil.disk_usage(parent if parent.exists() else parent.parent).free
    except OSError as error:
        raise DataError(f"{parent}: no folder for partitions: {error.strerror}") from error
    if on_disk > free:
        raise DataError(
            f"{parent}: partitions of the scan need about {gigabytes(on_disk)}, and {gigabytes(free)} are "
            "free; --out on another disk, or TMPDIR, moves them"
        )
    with _scratch(parent) as folder:
        files = {side: len(dataset.files) for side, dataset in sides.items()}
        running = [
            PartitionedLevel(level, tuple(sides), files, rows, options, folder, room) for level in levels
        ]
        for level in running:
            announce(
                f"{level.level}: by {level.partitions} partitions on disk, "
                f"about {gigabytes(RECORD_BYTES[level.level] * sum(rows.values()))} under {folder}"
            )
        columns = columns_of(levels)
        found.seen = {side: SideTally(n) for side, n in files.items()}
        for side in sides:
            for batch in read(side, columns, f"part {side}", None):
                found.seen[side].see(batch)
                for level in running:
                    level.take(side, batch)
        again: tuple[Column, ...] = ("text",) if options.max_df is None else ("doc_id", "text")
        while running:
            level = running.pop(0)
            found.keyed[level.level] = level.result(
                lambda side, wanted: read(side, again, f"read {side} again", wanted), told
            )
            kept(level.level)


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
    cells = 1 + ((indexed.context_length or 0) if "context" in levels else 0)
    held = indexed.estimated_rows() * cells * memory.GROUP_BYTES
    return max(1, budget(options, held) // memory.indexed_bytes(indexed.dim or 0, options))


def blocked_levels(
    sides: Mapping[Side, Dataset],
    levels: Sequence[Level],
    options: ScanOptions,
    read: Reader,
    found: LargeScan,
    journal: Journal | None = None,
) -> None:
    """Puts the findings of the cosine `levels` into `found`; the indexed side stands first in `sides`."""
    indexed = next(iter(sides))
    dataset = sides[indexed]
    files = {side: len(sides[side].files) for side in SIDES}
    if levels == ["oracle"]:
        oracle = OracleLevel(files["eval"], options)
        for batch in read("eval", columns_of(levels), "scan eval", None):
            oracle.check(batch)
        found.cosine["oracle"] = oracle.result()
        return
    running = BlockedVectors(
        levels,
        indexed,
        files,
        dataset.dim or 0,
        dataset.context_length,
        options,
        groups_per_block(dataset, levels, options),
        lambda side, columns, phase: read(side, columns, phase, None),
        journal,
    )
    found.cosine = running.results()
    found.seen = running.seen


def scan_beyond_memory(
    sides: Mapping[Side, Dataset],
    levels: Sequence[Level],
    options: ScanOptions,
    read: Reader,
    told: Told,
    announce: Announce,
    journal: Journal | None = None,
    part: Parter | None = None,
) -> LargeScan:
    """The findings of `levels` over two sides, the indexed one first, or over ``train`` alone.

    A `journal` keeps the findings of keyed levels as they are there, and those of vectors block by block;
    `part` takes the place of partitions on the disk of this machine.

    Raises:
        DataError: there is no room on disk, or not even for one partition or block in memory.
    """
    found = LargeScan()
    keyed = [level for level in levels if level not in COSINE_LEVELS]
    cosine = [level for level in levels if level in COSINE_LEVELS]
    files = {side: len(dataset.files) for side, dataset in sides.items()}
    if journal is not None and keyed and (state := journal.state(KEYED)) is not None:
        found.seen = {side: SideTally.resumed(files[side], of) for side, of in state["seen"].items()}
        found.keyed = {level: KeyedResult.resumed(files, of) for level, of in state["levels"].items()}

    def keep(level: Level) -> None:
        if journal is not None:
            seen = {side: tally.state() for side, tally in found.seen.items()}
            of_levels = {name: result.state() for name, result in found.keyed.items()}
            how_far = f"done at {', '.join(found.keyed)}"
            journal.keep(KEYED, {"seen": seen, "levels": of_levels}, how_far, seldom=True)

    left = [level for level in keyed if level not in found.keyed]
    if left and part is not None:
        announce(f"{', '.join(left)}: parted on the cluster")
        for level, result in zip(left, part(left, sides, options, told), strict=True):
            found.keyed[level] = result
            found.seen = {side: tally.rows_alone() for side, tally in result.tally.items()}
            keep(level)
    elif left:
        partitioned_levels(sides, left, options, read, told, announce, found, keep)
    if cosine:
        if part is not None:
            announce(f"{', '.join(cosine)}: block by block on this machine alone")
        blocked_levels(sides, cosine, options, read, found, journal)
    return found
