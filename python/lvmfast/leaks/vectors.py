"""The levels that compare by cosine: vector, context and oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.sides import Side, other_side
from lvmfast.corpus.vector_column import VectorColumn
from lvmfast.leaks.cells import Cells, Codes
from lvmfast.leaks.common_scan import BatchCells
from lvmfast.leaks.evidence import NO_POSITION, NO_ROW, Evidence, EvidenceBuffer, Named
from lvmfast.leaks.near import UNUSABLE, IndexedVectors, NearJoin, NearPart, no_pairs_at, pairs_at
from lvmfast.leaks.nearest import NearestGroups, NearestPart
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult, add_up
from lvmfast.leaks.slots import MISSING_COLUMN
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores, SideTally, Tally
from lvmfast.leaks.trees import Tree, from_arrays, to_arrays

#: The code of a row whose whole window is padding; the core's usability codes end well below.
NO_CONTEXT = 100
WINDOW_FAULTS = {**UNUSABLE, NO_CONTEXT: "no_context"}


@dataclass(frozen=True)
class VectorPart:
    """What streamed rows yield at the level vector, as it is saved."""

    tally: Tally
    join: NearPart
    nearest: NearestPart | None  #: if asked for


@dataclass(frozen=True)
class ContextPart:
    """What streamed rows yield at the level context, as it is saved."""

    tally: Tally
    padding: int
    windows: NearPart  #: among the indexed windows
    targets: NearPart  #: among the indexed targets


@dataclass(frozen=True)
class IndexedRows:
    """What the indexed side is at a cosine level, beside its vectors, as it is saved."""

    tally: Tally
    padding: int = 0


class VectorLevel:
    """Eval targets against train targets."""

    def __init__(
        self, indexed: Side, targets: IndexedVectors, files: Mapping[Side, int], options: ScanOptions
    ) -> None:
        """`targets` is filled through `index` alone and may be shared with the context level."""
        self._indexed: Side = indexed
        self._streamed: Side = other_side(indexed)
        self._targets = targets
        self._options = options
        self._tally = {side: SideTally(n) for side, n in files.items()}
        self._join: NearJoin | None = None
        self._nearest: NearestGroups | None = None
        self._told = NearestGroups.none(0)

    def index(self, batch: Batch, codes: Codes | None) -> None:
        """Takes the next rows of the indexed side, whose targets were added with `codes`."""
        see_vectors(self._tally[self._indexed], batch, codes)

    def stream(self, batch: Batch, cells: BatchCells) -> None:
        """Takes the next rows of the streamed side."""
        join = self._joined()
        codes = None if cells.targets is None else join.stream(cells.targets, cells.found)
        if self._options.nearest and batch.vector is not None:
            self._targets.near.seek(batch.vector, batch.start)
        see_vectors(self._tally[self._streamed], batch, codes)

    def indexed(self) -> Tree:
        """What the indexed side is for `result`, beside its vectors; it stays."""
        return to_arrays(IndexedRows(self._tally[self._indexed].part()))

    def restore(self, tree: Tree) -> None:
        """Takes the place of a level that indexed what `indexed` tells of."""
        self._tally[self._indexed].add(from_arrays(IndexedRows, tree).tally)

    def cut(self) -> Tree:
        """What was streamed since the last cut; nothing of it is left."""
        nearest = None
        if self._options.nearest:
            # The search goes on from the best ones: what it found since the last cut is what is better.
            found = NearestGroups(*self._targets.near.nearest())
            nearest, self._told = found.changed(self._told), found
        part = VectorPart(self._tally[self._streamed].part(), self._joined().cut(), nearest)
        self._tally[self._streamed].forget()
        return to_arrays(part)

    def fold(self, tree: Tree, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        part = from_arrays(VectorPart, tree)
        self._tally[self._streamed].add(part.tally.relocated(starts))
        self._joined().fold(part.join, starts)
        if part.nearest is not None:
            if self._nearest is None:
                self._nearest = NearestGroups.none(len(self._targets.size))
            self._nearest.fold(part.nearest, starts)

    def named(self) -> Named:
        """The rows that the evidence may name, and those of the indexed side that match."""
        return self._joined().named()

    @property
    def evidence(self) -> int:
        """Matches held for a report."""
        return self._join.evidence if self._join else 0

    def _joined(self) -> NearJoin:
        if self._join is None:
            self._join = NearJoin(self._indexed, self._targets, self._options)
        return self._join

    def result(self) -> LevelResult:
        """What was found, once both sides went by."""
        nearest = None
        if self._options.nearest:
            groups = self._nearest or NearestGroups(*self._targets.near.nearest())
            nearest = groups.by_row(self._targets)
        seen = LevelResult({side: tally.part() for side, tally in self._tally.items()}, nearest=nearest)
        return LevelResult.merged([seen, self._joined().result()], self._options)


def see_vectors(tally: SideTally, batch: Batch, codes: Codes | None) -> None:
    """Counts the rows of `batch` and those whose vector cannot be compared."""
    tally.see(batch)
    if codes is None:
        tally.uncheck_all(batch, MISSING_COLUMN)
    else:
        tally.uncheck(batch, codes, UNUSABLE)


def see_windows(tally: SideTally, batch: Batch, targets: Codes, windows: Codes) -> int:
    """Counts rows with a vector that cannot be compared, given the codes (rows,) and (rows, length).

    Such a row is unchecked unless it matches by what is left of it. A zero vector inside a window is padding
    and no fault, unless the whole window is zero and there is nothing to compare. Returns the padding.
    """
    empty = (windows == 1).all(axis=1)
    fault = np.where(windows == 1, 0, windows).max(axis=1, initial=0)
    tally.see(batch)
    tally.doubt(batch, np.where(targets != 0, targets, np.where(empty, NO_CONTEXT, fault)), WINDOW_FAULTS)
    return int(np.count_nonzero(windows == 1))


class ContextLevel:
    """Targets of one side among the context windows of the other, both ways."""

    def __init__(
        self,
        indexed: Side,
        targets: IndexedVectors,
        windows: IndexedVectors,
        files: Mapping[Side, int],
        options: ScanOptions,
    ) -> None:
        """`targets` and `windows` hold the vectors of the indexed side."""
        self._indexed: Side = indexed
        self._streamed: Side = other_side(indexed)
        self._targets, self._windows = targets, windows
        self._options = options
        self._tally = {side: SideTally(n) for side, n in files.items()}
        self._padding: dict[Side, int] = dict.fromkeys(files, 0)
        self._joins: tuple[NearJoin, NearJoin] | None = None

    def index(self, batch: Batch, targets: Codes | None) -> None:
        """Takes the next rows of the indexed side, whose targets were added with codes `targets`."""
        windows = None
        if targets is not None and batch.windows is not None:
            windows = self._windows.add(Cells.of(batch.windows, batch.start))
        self._see(self._indexed, batch, targets, windows)

    def stream(self, batch: Batch, cells: BatchCells) -> None:
        """Takes the next rows of the streamed side."""
        among_windows, among_targets = self._joined()
        targets = windows = None
        if cells.targets is not None and cells.windows is not None:
            targets = among_windows.stream(cells.targets, cells.found)
            windows = among_targets.stream(cells.windows, cells.found)
        self._see(self._streamed, batch, targets, windows)

    def indexed(self) -> Tree:
        """What the indexed side is for `result`, beside its vectors; it stays."""
        return to_arrays(IndexedRows(self._tally[self._indexed].part(), self._padding[self._indexed]))

    def restore(self, tree: Tree) -> None:
        """Takes the place of a level that indexed what `indexed` tells of."""
        part = from_arrays(IndexedRows, tree)
        self._tally[self._indexed].add(part.tally)
        self._padding[self._indexed] = part.padding

    def cut(self) -> Tree:
        """What was streamed since the last cut; nothing of it is left."""
        among_windows, among_targets = self._joined()
        part = ContextPart(
            self._tally[self._streamed].part(),
            self._padding[self._streamed],
            among_windows.cut(),
            among_targets.cut(),
        )
        self._tally[self._streamed].forget()
        self._padding[self._streamed] = 0
        return to_arrays(part)

    def fold(self, tree: Tree, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        part = from_arrays(ContextPart, tree)
        among_windows, among_targets = self._joined()
        self._tally[self._streamed].add(part.tally.relocated(starts))
        self._padding[self._streamed] += part.padding
        among_windows.fold(part.windows, starts)
        among_targets.fold(part.targets, starts)

    def _see(self, side: Side, batch: Batch, targets: Codes | None, windows: Codes | None) -> None:
        tally = self._tally[side]
        if targets is None or windows is None:
            see_vectors(tally, batch, None)
        else:
            self._padding[side] += see_windows(tally, batch, targets, windows.reshape(batch.rows, -1))

    def named(self) -> Named:
        """The rows that the evidence may name, and those of the indexed side that match."""
        return Named.of([join.named() for join in self._joined()])

    @property
    def evidence(self) -> int:
        """Matches held for a report."""
        return sum(join.evidence for join in self._joins or ())

    def _joined(self) -> tuple[NearJoin, NearJoin]:
        if self._joins is None:
            self._joins = (
                NearJoin(self._indexed, self._windows, self._options),
                NearJoin(self._indexed, self._targets, self._options),
            )
        return self._joins

    def result(self) -> LevelResult:
        """What was found, once both sides went by."""
        seen = LevelResult({side: tally.part() for side, tally in self._tally.items()}, padding=self._padding)
        return LevelResult.merged([seen, *(join.result() for join in self._joined())], self._options)


def window_cosines(
    targets: VectorColumn, windows: VectorColumn, options: ScanOptions
) -> tuple[Scores, Codes, Codes]:
    """The cosine of each target and each vector of its window, (n, length), NaN where either is unusable.

    Returns:
        They, and the usability codes of the targets, (n,), and of the windows, (n, length).
    """
    if targets.numbers is not None and windows.numbers is not None and targets.values is windows.values:
        return _core.numbered_window_cosines(
            targets.values, targets.numbers, windows.numbers, options.threads
        )
    return _core.window_cosines(targets.array, windows.array, options.threads)


class OracleLevel:
    """Eval rows whose target stands in their own context window: a query that already holds its answer."""

    def __init__(self, files: int, options: ScanOptions) -> None:
        """Nothing read yet."""
        self._options, self._files = options, files
        self._forget()

    def _forget(self) -> None:
        options = self._options
        self._tally = SideTally(self._files)
        self._padding = 0
        self._buffer = EvidenceBuffer(options)
        self._pairs_at = no_pairs_at(options)

    def check(self, batch: Batch) -> None:
        """Takes the next eval rows."""
        if batch.targets is None or batch.windows is None:
            see_vectors(self._tally, batch, None)
            return
        scores, targets, windows = window_cosines(batch.targets, batch.windows, self._options)
        self._padding += see_windows(self._tally, batch, targets, windows)
        row, position = np.nonzero(scores >= self._options.threshold)  # NaN compares as no
        score = scores[row, position]
        add_up(self._pairs_at, pairs_at(self._pairs_at, score))
        self._tally.match(batch.start + row, score)
        none, one = np.full(len(row), NO_ROW, np.int64), np.ones(len(row), np.int64)
        missing = np.full(len(row), NO_POSITION, np.int64)
        self._buffer.add(Evidence(none, missing, batch.start + row, position, score, none, one, one))
        self._buffer.check()

    def cut(self) -> Tree:
        """What was found since the last cut; nothing of it is left."""
        result = self.result()
        self._forget()
        return to_arrays(result)

    def fold(self, tree: Tree, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        self.add(from_arrays(LevelResult, tree).relocated({"eval": starts}))

    def add(self, part: LevelResult) -> None:
        """Adds what was found in other rows."""
        self._tally.add(part.sides["eval"])
        self._padding += (part.padding or {}).get("eval", 0)
        self._buffer.add(part.matches, part.match_count)
        self._buffer.check()
        add_up(self._pairs_at, part.pairs_at)

    def named(self) -> Named:
        """The rows that the evidence may name, and those that match."""
        rows = self._buffer.result().eval_row
        return Named({"train": NO_ROWS, "eval": rows}, self._tally.count().matched_rows)

    def result(self) -> LevelResult:
        """What was found, once every eval row went by."""
        pairs = self._buffer.total
        return LevelResult(
            {"eval": self._tally.part()},
            self._buffer.result(),
            pairs,
            pairs,
            dict(self._pairs_at),
            padding={"eval": self._padding},
        )
