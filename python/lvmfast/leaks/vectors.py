"""The levels that compare by cosine: vector, context and oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.vector_column import VectorColumn
from lvmfast.leaks.cells import Cells, Codes
from lvmfast.leaks.common_scan import BatchCells
from lvmfast.leaks.cuts import AS_THEY_ARE, Cut
from lvmfast.leaks.evidence import NO_POSITION, NO_ROW, Evidence, EvidenceBuffer, Named
from lvmfast.leaks.keyed import MISSING_COLUMN
from lvmfast.leaks.levels import Side, other_side
from lvmfast.leaks.near import EDGES, UNUSABLE, IndexedVectors, NearJoin, NearResult
from lvmfast.leaks.nearest import NearestGroups, NearestRows
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores, SideTally

#: The code of a row whose whole window is padding; the core's usability codes end well below.
NO_CONTEXT = 100
WINDOW_FAULTS = {**UNUSABLE, NO_CONTEXT: "no_context"}


@dataclass(frozen=True)
class CosineResult:
    """What a cosine level found; `matches` is cut to the evidence limit, nothing else is."""

    tally: Mapping[Side, SideTally]
    matches: Evidence
    match_count: int
    pairs: int
    pairs_at: Mapping[float, int]
    padding: Mapping[Side, int] | None = None  #: zero vectors in windows, which are no rows of anything
    nearest: NearestRows | None = None  #: if asked for


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

    def indexed(self) -> Cut:
        """What the indexed side is for `result`, beside its vectors; it stays."""
        return indexed_tally(self._tally[self._indexed])

    def restore(self, tree: Cut) -> None:
        """Takes the place of a level that indexed what `indexed` tells of."""
        self._tally[self._indexed].fold(tree["tally"], AS_THEY_ARE)

    def cut(self) -> Cut:
        """What was streamed since the last cut; nothing of it is left."""
        tree: Cut = {"tally": self._tally[self._streamed].cut(), "join": self._joined().cut()}
        if self._options.nearest:
            # The search goes on from the best ones: what it found since the last cut is what is better.
            found = NearestGroups(*self._targets.near.nearest())
            tree["nearest"] = found.changed(self._told)
            self._told = found
        return tree

    def fold(self, tree: Cut, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        self._tally[self._streamed].fold(tree["tally"], starts)
        self._joined().fold(tree["join"], starts)
        if self._options.nearest:
            if self._nearest is None:
                self._nearest = NearestGroups.none(len(self._targets.size))
            self._nearest.fold(tree["nearest"], starts)

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

    def result(self) -> CosineResult:
        """What was found, once both sides went by."""
        found = self._joined().result()
        for side, (rows, best) in found.matched.items():
            self._tally[side].match(rows, best)
        nearest = None
        if self._options.nearest:
            groups = self._nearest or NearestGroups(*self._targets.near.nearest())
            nearest = groups.by_row(self._targets)
        return CosineResult(
            self._tally, found.matches, found.match_count, found.pairs, found.pairs_at, nearest=nearest
        )


def see_vectors(tally: SideTally, batch: Batch, codes: Codes | None) -> None:
    """Counts the rows of `batch` and those whose vector cannot be compared."""
    tally.see(batch)
    if codes is None:
        tally.uncheck_all(batch, MISSING_COLUMN)
    else:
        tally.uncheck(batch, codes, UNUSABLE)


def indexed_tally(tally: SideTally) -> Cut:
    """What `tally` holds, which stays there."""
    tree = tally.cut()
    tally.fold(tree, AS_THEY_ARE)
    return {"tally": tree}


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

    def indexed(self) -> Cut:
        """What the indexed side is for `result`, beside its vectors; it stays."""
        return {**indexed_tally(self._tally[self._indexed]), "padding": self._padding[self._indexed]}

    def restore(self, tree: Cut) -> None:
        """Takes the place of a level that indexed what `indexed` tells of."""
        self._tally[self._indexed].fold(tree["tally"], AS_THEY_ARE)
        self._padding[self._indexed] = tree["padding"]

    def cut(self) -> Cut:
        """What was streamed since the last cut; nothing of it is left."""
        among_windows, among_targets = self._joined()
        tree: Cut = {
            "tally": self._tally[self._streamed].cut(),
            "padding": self._padding[self._streamed],
            "windows": among_windows.cut(),
            "targets": among_targets.cut(),
        }
        self._padding[self._streamed] = 0
        return tree

    def fold(self, tree: Cut, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        among_windows, among_targets = self._joined()
        self._tally[self._streamed].fold(tree["tally"], starts)
        self._padding[self._streamed] += tree["padding"]
        among_windows.fold(tree["windows"], starts)
        among_targets.fold(tree["targets"], starts)

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

    def result(self) -> CosineResult:
        """What was found, once both sides went by."""
        found: tuple[NearResult, ...] = tuple(join.result() for join in self._joined())
        for one in found:
            for side, (rows, best) in one.matched.items():
                self._tally[side].match(rows, best)
        return CosineResult(
            self._tally,
            Evidence.concat([one.matches for one in found]).best(self._options.max_pairs).sorted(),
            sum(one.match_count for one in found),
            sum(one.pairs for one in found),
            {edge: sum(one.pairs_at[edge] for one in found) for edge in found[0].pairs_at},
            self._padding,
        )


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
        self._pairs_at = {edge: 0 for edge in EDGES if edge >= options.threshold}

    def check(self, batch: Batch) -> None:
        """Takes the next eval rows."""
        if batch.targets is None or batch.windows is None:
            see_vectors(self._tally, batch, None)
            return
        scores, targets, windows = window_cosines(batch.targets, batch.windows, self._options)
        self._padding += see_windows(self._tally, batch, targets, windows)
        row, position = np.nonzero(scores >= self._options.threshold)  # NaN compares as no
        score = scores[row, position]
        for edge in self._pairs_at:
            self._pairs_at[edge] += int(np.count_nonzero(score >= edge))
        self._tally.match(batch.start + row, score)
        none, one = np.full(len(row), NO_ROW, np.int64), np.ones(len(row), np.int64)
        missing = np.full(len(row), NO_POSITION, np.int64)
        self._buffer.add(Evidence(none, missing, batch.start + row, position, score, none, one, one))

    def cut(self) -> Cut:
        """What was found since the last cut; nothing of it is left."""
        tree: Cut = {
            "tally": self._tally.cut(),
            "padding": self._padding,
            "found": self._buffer.total,
            "evidence": self._buffer.result().tree(),
            "pairs_at": np.array(list(self._pairs_at.values()), np.int64),
        }
        self._forget()
        return tree

    def fold(self, tree: Cut, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        self._tally.fold(tree["tally"], starts)
        self._padding += tree["padding"]
        evidence = Evidence.of_tree(tree["evidence"]).relocated("eval", starts)
        self._buffer.add(evidence, tree["found"])
        for edge, pairs in zip(self._pairs_at, tree["pairs_at"].tolist(), strict=True):
            self._pairs_at[edge] += pairs

    def named(self) -> Named:
        """The rows that the evidence may name, and those that match."""
        rows = self._buffer.result().eval_row
        return Named({"train": NO_ROWS, "eval": rows}, self._tally.count().matched_rows)

    def result(self) -> CosineResult:
        """What was found, once every eval row went by."""
        pairs = self._buffer.total
        return CosineResult(
            {"eval": self._tally},
            self._buffer.result(),
            pairs,
            pairs,
            self._pairs_at,
            {"eval": self._padding},
        )
