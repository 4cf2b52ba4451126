"""The levels vector and context where the indexed side does not fit in memory: a block of it at a time.

Equal vectors are grouped first, over the whole side; a block holds the first vectors of consecutive groups,
and the other side streams past each. The join of one block is a whole answer for its groups: every row of the
streamed side goes by, so that side's groups, their names and their sizes come out the same in every block.
What the blocks yield adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Batch, Column
from lvmfast.corpus.sides import Side, other_side
from lvmfast.corpus.vector_column import VectorColumn
from lvmfast.leaks.cells import Cells, Codes
from lvmfast.leaks.devices import near_index
from lvmfast.leaks.duplicates import Groups, first_vectors, group_rows
from lvmfast.leaks.evidence import NO_POSITION
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.near import NearJoin
from lvmfast.leaks.nearest import of_rows
from lvmfast.leaks.options import LevelName as Level
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult, NearestRows
from lvmfast.leaks.tally import Rows, Scores, SideTally, Tally
from lvmfast.leaks.trees import from_arrays, to_arrays
from lvmfast.leaks.vectors import see_vectors, see_windows
from lvmfast.levels import LEVELS, columns_of
from lvmfast.scan.running import Comparison

#: Streams a side: (side, columns, what for).
Read = Callable[[Side, Sequence[Column], str], Iterable[Batch]]
#: What is indexed: the targets of a side, or the vectors of its windows.
Kind = Literal["targets", "windows"]
#: What a journal keeps of the blocks.
BLOCKS = "blocks"


class BlockVectors:
    """The groups [start, stop) of one side, for `NearJoin`: what `IndexedVectors` is for a whole side."""

    def __init__(
        self,
        cells: Iterable[Cells],
        groups: Groups,
        dim: int,
        length: int | None,
        start: int,
        stop: int,
        options: ScanOptions,
    ) -> None:
        """Indexes the first vector of each group.

        Args:
            cells: of the indexed side, numbered through all its rows.
            groups: of all these cells.
            dim: of the vectors.
            length: cells per row; None for targets.
            start: the first group.
            stop: the group after the last.
            options: of the scan.
        """
        self.near = near_index(dim, options)
        self.number: Rows | None = None
        for vectors, _ in first_vectors(lambda wanted: cells, groups, start, stop):
            self.near.add(vectors)
        self._groups, self._start, self._stop, self._length = groups, start, stop, length or 1
        self.size = groups.size[start:stop]
        first = groups.first[start:stop]
        self.first_row = first // self._length
        self.first_position = np.full(len(first), NO_POSITION, np.int64) if length is None else first % length

    def _cells(self) -> tuple[Rows, Rows]:
        """The cells of these groups, and the place of the group of each."""
        group = self._groups.group
        cell = np.flatnonzero((group >= self._start) & (group < self._stop))
        return cell, group[cell] - self._start

    def rows_of(self, best_of_group: Scores) -> tuple[Rows, Scores]:
        """The row of every vector whose group has a score (not NaN), with that score."""
        cell, place = self._cells()
        best = best_of_group[place]
        hit = ~np.isnan(best)
        return cell[hit] // self._length, best[hit]

    def nearest(self) -> NearestRows:
        """The nearest streamed row of every row of these groups, of targets."""
        row, place = self._cells()
        found = of_rows(*self.near.nearest(), place)
        known = np.flatnonzero(found.train_row >= 0)
        return NearestRows(row[known], found.cosine[known], found.train_row[known])


@dataclass(frozen=True)
class BlocksPart:
    """What the blocks found so far, as it is saved; the indexed side is read again in any case."""

    kind: str  #: of the next block
    start: int  #: its first group
    found: Mapping[Level, LevelResult]  #: by the joins
    seen: Tally  #: the streamed side
    tally: Mapping[Level, Tally]  #: of the streamed side
    padding: int  #: of the streamed side


class BlockedVectors:
    """The cosine levels over two sides, a block of the indexed side at a time."""

    def __init__(
        self,
        comparison: Comparison,
        length: int | None,
        groups_per_block: int,
        read: Read,
        journal: Journal | None = None,
    ) -> None:
        """Nothing read yet.

        Args:
            comparison: at some of vector and context; the indexed side is read in blocks.
            length: vectors per context window.
            groups_per_block: distinct vectors in memory at a time.
            read: streams a side, as often as is asked.
            journal: keeps what was found after each block; blocks that it knows are not repeated.
        """
        levels, files = comparison.levels, comparison.files
        self._indexed, self._streamed = comparison.indexed, other_side(comparison.indexed)
        self._dim, self._length, self._options = comparison.dim, length, comparison.options
        self._per_block, self._read, self._journal = groups_per_block, read, journal
        self._columns = columns_of(levels)
        self._windows = {level for level in levels if LEVELS[level].windows}
        self._tally: dict[Level, dict[Side, SideTally]] = {
            level: {side: SideTally(n) for side, n in files.items()} for level in levels
        }
        self._padding: dict[Side, int] = dict.fromkeys(files, 0)
        #: rows of each side, as they went by
        self.seen = {side: SideTally(n) for side, n in files.items()}

    def results(self) -> dict[Level, LevelResult]:
        """What was found."""
        kinds: tuple[Kind, ...] = ("targets", "windows") if self._windows else ("targets",)
        groups = {kind: self._group(kind, first=kind == "targets") for kind in kinds}
        found = {level: LevelResult({}) for level in self._tally}
        kept = None if self._journal is None else self._journal.state(BLOCKS)
        at, begin = 0, 0
        if kept is not None:
            part = from_arrays(BlocksPart, kept)
            at, begin = kinds.index(part.kind), part.start
            self._resume(part, found)
        blocks = [
            (kind, start)
            for kind in kinds[at:]
            for start in range(
                begin if kind == kinds[at] else 0, max(1, len(groups[kind].first)), self._per_block
            )
        ]
        before = {kind: sum(len(groups[k].first) for k in kinds[:place]) for place, kind in enumerate(kinds)}
        in_all = sum(len(of_kind.first) for of_kind in groups.values())
        for place, (kind, start) in enumerate(blocks):
            which = f"block {place + 1} of {len(blocks)}"
            stop = min(start + self._per_block, len(groups[kind].first))
            cells = self._cells(kind, f"index {self._indexed}, {which}")
            length = self._length if kind == "windows" else None
            vectors = BlockVectors(cells, groups[kind], self._dim, length, start, stop, self._options)
            phase = f"scan {self._streamed}, {which}"
            for level, part_ in self._stream(kind, vectors, phase, first=place == 0 and kept is None).items():
                found[level] = LevelResult.merged([found[level], part_], self._options)
            del vectors
            if self._journal is not None and place + 1 < len(blocks):
                following, start = blocks[place + 1]
                done = before[following] + start
                state = to_arrays(self._part(following, start, found))
                self._journal.keep(BLOCKS, state, f"{done:,} of {in_all:,} distinct vectors are compared")
        for level, tallies in self._tally.items():
            padding = self._padding if level in self._windows else None
            seen = LevelResult({side: tally.part() for side, tally in tallies.items()}, padding=padding)
            found[level] = LevelResult.merged([seen, found[level]], self._options)
        return found

    def _part(self, kind: str, start: int, found: Mapping[Level, LevelResult]) -> BlocksPart:
        side = self._streamed
        return BlocksPart(
            kind,
            start,
            found,
            self.seen[side].part(),
            {level: tally[side].part() for level, tally in self._tally.items()},
            self._padding[side],
        )

    def _resume(self, part: BlocksPart, found: dict[Level, LevelResult]) -> None:
        side = self._streamed
        found.update(part.found)
        self.seen[side].add(part.seen)
        for level, tally in part.tally.items():
            self._tally[level][side].add(tally)
        self._padding[side] = part.padding

    def _stream(self, kind: Kind, vectors: BlockVectors, phase: str, first: bool) -> dict[Level, LevelResult]:
        """What is found when the streamed side goes by one block."""
        among = {
            level: NearJoin(self._indexed, vectors, self._options)
            for level in self._tally
            if kind == "targets" or level in self._windows
        }
        nearest = [level for level in among if self._options.nearest and LEVELS[level].nearest]
        columns = self._columns if first else columns_of(among)
        for batch in self._read(self._streamed, columns, phase):
            for level, join in among.items():
                if (column := self._compared(level, kind, batch)) is not None:
                    join.stream(Cells.of(column, batch.start))
            if nearest and batch.vector is not None:
                vectors.near.seek(batch.vector, batch.start)
            if first:
                self._see(self._streamed, batch)
        found = {level: join.result() for level, join in among.items()}
        return found | {level: replace(found[level], nearest=vectors.nearest()) for level in nearest}

    def _compared(self, level: Level, kind: Kind, batch: Batch) -> VectorColumn | None:
        """What `level` compares of streamed rows with indexed cells of a kind; None where a column lacks."""
        if level not in self._windows:
            return batch.targets
        if batch.targets is None or batch.windows is None:
            return None
        return batch.windows if kind == "targets" else batch.targets

    def _group(self, kind: Kind, first: bool) -> Groups:
        return group_rows(self._cells(kind, f"group {self._indexed} {kind}", first), self._options)

    def _cells(self, kind: Kind, phase: str, first: bool = False) -> Iterator[Cells]:
        """The targets or the vectors in windows of the indexed side, numbered through all rows."""
        columns: Sequence[Column] = self._columns if first or kind == "windows" else ("vector",)
        for batch in self._read(self._indexed, columns, phase):
            if first:
                self._see(self._indexed, batch)
            if batch.targets is None:
                continue
            if kind == "targets":
                yield Cells.of(batch.targets, batch.start)
            elif batch.windows is not None:
                yield Cells.of(batch.windows, batch.start).numbered_on()

    def _see(self, side: Side, batch: Batch) -> None:
        """Counts the rows of `batch`, at every level."""
        self.seen[side].see(batch)
        targets = None if batch.targets is None else self._usability(batch.targets)
        for level, tallies in self._tally.items():
            if level not in self._windows:
                see_vectors(tallies[side], batch, targets)
            elif targets is None or batch.windows is None:
                see_vectors(tallies[side], batch, None)
            else:
                windows = self._usability(batch.windows).reshape(batch.rows, -1)
                self._padding[side] += see_windows(tallies[side], batch, targets, windows)

    def _usability(self, column: VectorColumn) -> Codes:
        """The code of every cell."""
        cells = Cells.of(column, 0)
        return cells.of_each(_core.describe_rows(cells.vectors, self._options.threads)[0])
