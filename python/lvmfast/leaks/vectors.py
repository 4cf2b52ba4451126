"""The levels that compare by cosine: vector, context and oracle."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.sides import Side, other_side
from lvmfast.corpus.vector_column import VectorColumn
from lvmfast.leaks.cells import Cells, Codes
from lvmfast.leaks.evidence import NO_POSITION, NO_ROW, Evidence, EvidenceBuffer, Named
from lvmfast.leaks.near import UNUSABLE, IndexedVectors, NearJoin, NearPart, no_pairs_at, pairs_at
from lvmfast.leaks.nearest import NearestGroups, NearestPart
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult, add_up
from lvmfast.leaks.running import Beginning
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


class _ComparedLevel:
    """What the levels that compare vectors of both sides have in common."""

    nbytes = matched = 0  #: the pool counts its own bytes, and a join holds best scores and no rows

    def __init__(self, beginning: Beginning, *among: IndexedVectors) -> None:
        """Compares with what is `among` the vectors of the indexed side."""
        self._indexed, self._streamed = beginning.indexed, other_side(beginning.indexed)
        self._pool, self._options = beginning.vectors, beginning.options
        self._tally = {side: SideTally(n) for side, n in beginning.files.items()}
        self._among = among
        self._padding: dict[Side, int] | None = None

    @cached_property
    def _joins(self) -> tuple[NearJoin, ...]:
        return tuple(NearJoin(self._indexed, vectors, self._options) for vectors in self._among)

    def close(self) -> None:
        """The pool is closed by whoever has it."""

    @property
    def evidence(self) -> int:
        """Matches held for a report."""
        return sum(join.evidence for join in self._joins)

    def named(self) -> Named:
        """The rows that the evidence may name, and those of the indexed side that match."""
        return Named.of([join.named() for join in self._joins])

    def result(self) -> LevelResult:
        """What was found, once both sides went by."""
        seen = LevelResult({side: tally.part() for side, tally in self._tally.items()}, padding=self._padding)
        return LevelResult.merged([seen, *(join.result() for join in self._joins)], self._options)


class VectorLevel(_ComparedLevel):
    """Eval targets against train targets."""

    def __init__(self, beginning: Beginning) -> None:
        """Nothing read yet."""
        super().__init__(beginning, beginning.vectors.targets)
        self._targets = beginning.vectors.targets
        self._nearest: NearestGroups | None = None
        self._told = NearestGroups.none(0)

    def index(self, batch: Batch) -> None:
        """Takes the next rows of the indexed side."""
        see_vectors(self._tally[self._indexed], batch, self._pool.add_targets(batch))

    def stream(self, batch: Batch) -> None:
        """Takes the next rows of the streamed side."""
        cells = self._pool.cells(batch)
        codes = None if cells.targets is None else self._joins[0].stream(cells.targets, cells.found)
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
        part = VectorPart(self._tally[self._streamed].part(), self._joins[0].cut(), nearest)
        self._tally[self._streamed].forget()
        return to_arrays(part)

    def fold(self, tree: Tree, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        part = from_arrays(VectorPart, tree)
        self._tally[self._streamed].add(part.tally.relocated(starts))
        self._joins[0].fold(part.join, starts)
        if part.nearest is not None:
            if self._nearest is None:
                self._nearest = NearestGroups.none(len(self._targets.size))
            self._nearest.fold(part.nearest, starts)

    def result(self) -> LevelResult:
        """What was found, once both sides went by."""
        found = super().result()
        if not self._options.nearest:
            return found
        groups = self._nearest or NearestGroups(*self._targets.near.nearest())
        return replace(found, nearest=groups.by_row(self._targets))


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


class ContextLevel(_ComparedLevel):
    """Targets of one side among the context windows of the other, both ways."""

    def __init__(self, beginning: Beginning) -> None:
        """Nothing read yet."""
        pool = beginning.vectors
        super().__init__(beginning, pool.windows, pool.targets)
        self._padding: dict[Side, int] = dict.fromkeys(beginning.files, 0)

    def index(self, batch: Batch) -> None:
        """Takes the next rows of the indexed side."""
        targets, windows = self._pool.add_targets(batch), None
        if targets is not None and batch.windows is not None:
            windows = self._pool.windows.add(Cells.of(batch.windows, batch.start))
        self._see(self._indexed, batch, targets, windows)

    def stream(self, batch: Batch) -> None:
        """Takes the next rows of the streamed side."""
        cells = self._pool.cells(batch)
        among_windows, among_targets = self._joins
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
        part = ContextPart(
            self._tally[self._streamed].part(),
            self._padding[self._streamed],
            *(join.cut() for join in self._joins),
        )
        self._tally[self._streamed].forget()
        self._padding[self._streamed] = 0
        return to_arrays(part)

    def fold(self, tree: Tree, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        part = from_arrays(ContextPart, tree)
        self._tally[self._streamed].add(part.tally.relocated(starts))
        self._padding[self._streamed] += part.padding
        for join, found in zip(self._joins, (part.windows, part.targets), strict=True):
            join.fold(found, starts)

    def _see(self, side: Side, batch: Batch, targets: Codes | None, windows: Codes | None) -> None:
        tally = self._tally[side]
        if targets is None or windows is None:
            see_vectors(tally, batch, None)
        else:
            self._padding[side] += see_windows(tally, batch, targets, windows.reshape(batch.rows, -1))


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

    nbytes = matched = 0

    def __init__(self, beginning: Beginning) -> None:
        """Nothing read yet."""
        self._options, self._files = beginning.options, beginning.files["eval"]
        self._forget()

    def _forget(self) -> None:
        options = self._options
        self._tally = SideTally(self._files)
        self._padding = 0
        self._buffer = EvidenceBuffer(options)
        self._pairs_at = no_pairs_at(options)

    def index(self, batch: Batch) -> None:
        """Takes the next eval rows."""
        self.stream(batch)

    def close(self) -> None:
        """Nothing is left to do between the sides."""

    def stream(self, batch: Batch) -> None:
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

    @property
    def evidence(self) -> int:
        """Matches held for a report."""
        return self._buffer.held

    def indexed(self) -> Tree:
        """What was found, where eval is the indexed side; it stays."""
        return to_arrays(self.result())

    def restore(self, tree: Tree) -> None:
        """Takes the place of a level that indexed what `indexed` tells of."""
        self._add(from_arrays(LevelResult, tree))

    def cut(self) -> Tree:
        """What was found since the last cut; nothing of it is left."""
        result = self.result()
        self._forget()
        return to_arrays(result)

    def fold(self, tree: Tree, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        self._add(from_arrays(LevelResult, tree).relocated({"eval": starts}))

    def _add(self, part: LevelResult) -> None:
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
