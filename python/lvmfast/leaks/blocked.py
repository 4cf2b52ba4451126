"""The levels vector and context where the indexed side does not fit in memory: a block of it at a time.

Equal vectors are grouped first, over the whole side; a block holds the first vectors of consecutive groups,
and the other side streams past each. The join of one block is a whole answer for its groups: every row of the
streamed side goes by, so that side's groups, their names and their sizes come out the same in every block.
What the blocks yield adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Batch, Column
from lvmfast.corpus.vector_column import VectorColumn
from lvmfast.leaks.cells import Cells, Codes
from lvmfast.leaks.cuts import AS_THEY_ARE, Cut
from lvmfast.leaks.devices import near_index
from lvmfast.leaks.duplicates import Groups, first_vectors, group_rows
from lvmfast.leaks.evidence import NO_POSITION, Evidence
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.levels import Level, Side, columns_of, other_side
from lvmfast.leaks.near import NearJoin, NearResult
from lvmfast.leaks.nearest import NearestRows, of_rows
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores, SideTally
from lvmfast.leaks.vectors import CosineResult, OracleLevel, see_vectors, see_windows

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


class _Sum:
    """What the joins of a level found, added up."""

    def __init__(self, options: ScanOptions) -> None:
        self._most = options.max_pairs
        self.matches = Evidence.empty()
        self.match_count = self.pairs = 0
        self.pairs_at: dict[float, int] = {}
        self.matched: dict[Side, tuple[Rows, Scores]] = {}

    def add(self, found: NearResult) -> None:
        self.matches = Evidence.concat([self.matches, found.matches]).best(self._most)
        self.match_count += found.match_count
        self.pairs += found.pairs
        for edge, pairs in found.pairs_at.items():
            self.pairs_at[edge] = self.pairs_at.get(edge, 0) + pairs
        for side, (rows, best) in found.matched.items():
            known = self.matched.get(side, (NO_ROWS, np.empty(0)))
            self.matched[side] = best_of_rows(np.r_[known[0], rows], np.r_[known[1], best])

    def state(self) -> Cut:
        return {
            "matches": self.matches.tree(),
            "match_count": self.match_count,
            "pairs": self.pairs,
            "pairs_at": {str(edge): pairs for edge, pairs in self.pairs_at.items()},
            "matched": {side: {"rows": rows, "best": best} for side, (rows, best) in self.matched.items()},
        }

    def resume(self, state: Cut) -> None:
        self.matches = Evidence.of_tree(state["matches"])
        self.match_count, self.pairs = state["match_count"], state["pairs"]
        self.pairs_at = {float(edge): pairs for edge, pairs in state["pairs_at"].items()}
        self.matched = {side: (of["rows"], of["best"]) for side, of in state["matched"].items()}

    def result(
        self,
        tally: Mapping[Side, SideTally],
        padding: Mapping[Side, int] | None = None,
        nearest: NearestRows | None = None,
    ) -> CosineResult:
        for side, matched in self.matched.items():
            tally[side].match(*matched)
        return CosineResult(
            tally, self.matches.sorted(), self.match_count, self.pairs, self.pairs_at, padding, nearest
        )


def best_of_rows(rows: Rows, scores: Scores) -> tuple[Rows, Scores]:
    """Each row once, ascending, with its highest score."""
    if len(rows) == 0:
        return rows, scores
    order = np.argsort(rows, kind="stable")
    rows, scores = rows[order], scores[order]
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    return rows[starts], np.maximum.reduceat(scores, starts)


class BlockedVectors:
    """The cosine levels over two sides, a block of the indexed side at a time."""

    def __init__(
        self,
        levels: Sequence[Level],
        indexed: Side,
        files: Mapping[Side, int],
        dim: int,
        length: int | None,
        options: ScanOptions,
        groups_per_block: int,
        read: Read,
        journal: Journal | None = None,
    ) -> None:
        """Nothing read yet.

        Args:
            levels: some of vector, context, oracle; one of the first two at least.
            indexed: the side that is read in blocks.
            files: files of each side.
            dim: of the vectors.
            length: vectors per context window.
            options: of the scan.
            groups_per_block: distinct vectors in memory at a time.
            read: streams a side, as often as is asked.
            journal: keeps what was found after each block; blocks that it knows are not repeated.
        """
        self._levels, self._indexed, self._streamed = levels, indexed, other_side(indexed)
        self._dim, self._length, self._options = dim, length, options
        self._per_block, self._read, self._journal = groups_per_block, read, journal
        self._columns = columns_of(levels)
        self._context = "context" in levels
        self._tally: dict[Level, dict[Side, SideTally]] = {
            level: {side: SideTally(n) for side, n in files.items()} for level in levels if level != "oracle"
        }
        self._padding: dict[Side, int] = dict.fromkeys(files, 0)
        self._oracle = OracleLevel(files["eval"], options) if "oracle" in levels else None
        self._describe = _core.NearIndex(dim, options.threshold, options.threads).describe
        #: rows of each side, as they went by
        self.seen = {side: SideTally(n) for side, n in files.items()}

    def results(self) -> dict[Level, CosineResult]:
        """What was found."""
        kinds: tuple[Kind, ...] = ("targets", "windows") if self._context else ("targets",)
        groups = {kind: self._group(kind, first=kind == "targets") for kind in kinds}
        sums = {level: _Sum(self._options) for level in self._tally}
        nearest: list[NearestRows] = []
        kept = None if self._journal is None else self._journal.state(BLOCKS)
        at, begin = 0, 0
        if kept is not None:
            at, begin = kinds.index(kept["kind"]), kept["start"]
            nearest = self._resume(kept, sums)
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
            self._stream(
                kind, vectors, sums, f"scan {self._streamed}, {which}", first=place == 0 and kept is None
            )
            if self._options.nearest and kind == "targets":
                nearest.append(vectors.nearest())
            del vectors
            if self._journal is not None and place + 1 < len(blocks):
                following, start = blocks[place + 1]
                state = {"kind": following, "start": start, **self._state(sums, nearest)}
                done = before[following] + start
                self._journal.keep(BLOCKS, state, f"{done:,} of {in_all:,} distinct vectors are compared")
        found: dict[Level, CosineResult] = {}
        if "vector" in sums:
            found["vector"] = sums["vector"].result(
                self._tally["vector"], nearest=together(nearest) if self._options.nearest else None
            )
        if "context" in sums:
            found["context"] = sums["context"].result(self._tally["context"], self._padding)
        if self._oracle is not None:
            found["oracle"] = self._oracle.result()
        return found

    def _state(self, sums: Mapping[Level, _Sum], nearest: Sequence[NearestRows]) -> Cut:
        """What the blocks found so far; the indexed side is read and counted again in any case."""
        side = self._streamed
        oracle = None
        if self._oracle is not None and side == "eval":
            oracle = self._oracle.cut()
            self._oracle.fold(oracle, AS_THEY_ARE)
        return {
            "sums": {level: found.state() for level, found in sums.items()},
            "nearest": vars(together(nearest)) if nearest else None,
            "seen": self.seen[side].state(),
            "tally": {level: tally[side].state() for level, tally in self._tally.items()},
            "padding": self._padding[side],
            "oracle": oracle,
        }

    def _resume(self, kept: Cut, sums: Mapping[Level, _Sum]) -> list[NearestRows]:
        """Takes what `_state` gave, and gives the nearest rows of the blocks that are through."""
        side = self._streamed
        for level, state in kept["sums"].items():
            sums[level].resume(state)
        self.seen[side].fold(kept["seen"], AS_THEY_ARE)
        for level, state in kept["tally"].items():
            self._tally[level][side].fold(state, AS_THEY_ARE)
        self._padding[side] = kept["padding"]
        if self._oracle is not None and kept["oracle"] is not None:
            self._oracle.fold(kept["oracle"], AS_THEY_ARE)
        return [] if kept["nearest"] is None else [NearestRows(**kept["nearest"])]

    def _stream(
        self, kind: Kind, vectors: BlockVectors, sums: Mapping[Level, _Sum], phase: str, first: bool
    ) -> None:
        """Lets the streamed side go by one block."""
        among: dict[Level, NearJoin] = {}
        for level in ("vector", "context") if kind == "targets" else ("context",):
            if level in sums:
                among[level] = NearJoin(self._indexed, vectors, self._options)
        columns = self._columns if first else columns_of(list(among))
        for batch in self._read(self._streamed, columns, phase):
            if "vector" in among and batch.targets is not None:
                among["vector"].stream(Cells.of(batch.targets, batch.start))
                if self._options.nearest and batch.vector is not None:
                    vectors.near.seek(batch.vector, batch.start)
            if "context" in among and batch.targets is not None and batch.windows is not None:
                column = batch.windows if kind == "targets" else batch.targets
                among["context"].stream(Cells.of(column, batch.start))
            if first:
                self._see(self._streamed, batch)
        for level, join in among.items():
            sums[level].add(join.result())

    def _group(self, kind: Kind, first: bool) -> Groups:
        return group_rows(self._cells(kind, f"group {self._indexed} {kind}", first), self._dim, self._options)

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
        if self._oracle is not None and side == "eval":
            self._oracle.check(batch)
        targets = None if batch.targets is None else self._usability(batch.targets)
        if "vector" in self._tally:
            see_vectors(self._tally["vector"][side], batch, targets)
        if "context" in self._tally:
            tally = self._tally["context"][side]
            if targets is None or batch.windows is None:
                see_vectors(tally, batch, None)
            else:
                windows = self._usability(batch.windows).reshape(batch.rows, -1)
                self._padding[side] += see_windows(tally, batch, targets, windows)

    def _usability(self, column: VectorColumn) -> Codes:
        """The code of every cell."""
        cells = Cells.of(column, 0)
        return cells.of_each(self._describe(cells.vectors)[0])


def together(parts: Sequence[NearestRows]) -> NearestRows:
    """The nearest rows of all blocks, by row."""
    row = np.concatenate([part.eval_row for part in parts])
    order = np.argsort(row)
    return NearestRows(
        row[order],
        np.concatenate([part.cosine for part in parts])[order],
        np.concatenate([part.train_row for part in parts])[order],
    )
