"""Joining two sets of vectors by cosine: the indexed side in groups of equal vectors, the other streamed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus.dataset import Vectors
from lvmfast.corpus.keys import Keys, newly_inserted
from lvmfast.corpus.sides import Side, other_side
from lvmfast.leaks.cells import Cells, Codes, shared_out
from lvmfast.leaks.cuts import located
from lvmfast.leaks.devices import near_index
from lvmfast.leaks.evidence import Evidence, EvidenceBuffer, Named
from lvmfast.leaks.near_index import NearIndex, Scanned
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult, add_up
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores, Tally, first_rows
from lvmfast.leaks.trees import Tree, from_arrays, to_arrays

#: Lower edges of the histogram of matches; those below a scan's threshold are left out.
EDGES = (0.90, 0.95, 0.98, 0.99, 0.995, 0.999)

UNUSABLE: Mapping[int, str] = {1: "zero", 2: "nan", 3: "infinite", 4: "denormal"}

#: A hit with all that is made of it takes about a hundred bytes, and a part's hits a few blocks.
BYTES_PER_HIT = 16
LEAST_ROWS = 16
GROWTH = 8


def no_pairs_at(options: ScanOptions) -> dict[float, int]:
    """No pair at or above each edge that the threshold leaves."""
    return {edge: 0 for edge in EDGES if edge >= options.threshold}


def pairs_at(edges: Iterable[float], score: Scores, weight: Rows | None = None) -> dict[float, int]:
    """How many of the scores, each of them for `weight` pairs, are at or above each edge."""
    if weight is None:
        return {edge: int(np.count_nonzero(score >= edge)) for edge in edges}
    return {edge: int(weight[score >= edge].sum()) for edge in edges}


class VectorGroups(Protocol):
    """Groups of equal vectors of the indexed side, as a join needs them."""

    near: NearIndex
    size: Rows  #: vectors in each group
    first_row: Rows  #: dataset row of the first vector of each group
    first_position: Rows  #: its place in a window, NO_POSITION for a target

    @property
    def number(self) -> Rows | None:
        """What each group of `near` is here, -1 for none; None where they are the same."""
        ...

    def rows_of(self, best_of_group: Scores) -> tuple[Rows, Scores]:
        """The row of every vector whose group has a score (not NaN), with that score."""
        ...


class CommonIndex:
    """One index for targets and windows: what is both is held, and compared, once."""

    def __init__(self, dim: int, options: ScanOptions) -> None:
        """Nothing added yet."""
        self.near = near_index(dim, options)
        self.count = 0  #: vectors added

    def add(self, vectors: Vectors) -> Codes:
        """Adds (n, d) vectors; the usability code of each."""
        self.count += len(vectors)
        return self.near.add(vectors)


@dataclass(frozen=True)
class IndexedPart:
    """Vectors of the indexed side as they are saved, without the vectors."""

    rows: Rows  #: of each vector
    group: Rows  #: of each vector, -1 for an unusable one
    size: Rows  #: vectors in each group
    first_row: Rows  #: of each group
    first_position: Rows


class IndexedVectors:
    """The targets of the indexed side, or its windows', in groups of equal ones. Two joins may share it."""

    def __init__(self, index: CommonIndex) -> None:
        """Nothing added yet; `index` may have others' vectors too."""
        self._index, self.near = index, index.near
        self._rows: list[Rows] = []
        self._positions: list[Rows] = []
        self._added: list[Rows] = []
        #: the group here of each group of the index, -1 for one of other vectors alone; once closed
        self.number: Rows | None = None

    def add(self, cells: Cells) -> Codes:
        """Adds vectors; the usability code of each cell."""
        numbers = np.arange(len(cells))
        self._rows.append(cells.rows(numbers))
        self._positions.append(cells.positions(numbers))
        self._added.append(self._index.count + (numbers if cells.places is None else cells.places))
        return cells.of_each(self._index.add(cells.vectors))

    def close(self) -> None:
        """Ends the adding, also of the other vectors of the index: groups can be named from here on."""
        self._rows = [np.concatenate(self._rows or [NO_ROWS])]
        self._positions = [np.concatenate(self._positions or [NO_ROWS])]
        known = self.near.group_of_row[np.concatenate(self._added or [NO_ROWS])]
        self._added = []
        usable = np.flatnonzero(known >= 0)
        first = first_rows(usable, known[usable], self.near.group_count)
        held = np.flatnonzero(first >= 0)
        held = held[np.argsort(first[held])]
        first = first[held]
        self.number = np.full(self.near.group_count, -1, np.int64)
        self.number[held] = np.arange(len(held))
        #: the group of each cell, -1 for an unusable one
        self.group = np.full(len(known), -1, np.int64)
        self.group[usable] = self.number[known[usable]]
        #: cells in each group
        self.size = np.bincount(self.group[usable], minlength=len(held))
        #: row and position that name each group: those of its first vector
        self.first_row = self._rows[0][first]
        self.first_position = self._positions[0][first]

    def indexed(self) -> Tree:
        """What was added, without the vectors, once closed."""
        part = IndexedPart(self._rows[0], self.group, self.size, self.first_row, self.first_position)
        return to_arrays(part)

    def restore(self, tree: Tree) -> None:
        """Takes the place of vectors that `indexed` tells of: nothing can be compared with them any more."""
        part = from_arrays(IndexedPart, tree)
        self._rows, self.group, self.size = [part.rows], part.group, part.size
        self.first_row, self.first_position = part.first_row, part.first_position

    @property
    def rows(self) -> Rows:
        """The dataset row of every added vector, once closed."""
        return self._rows[0]

    def rows_of(self, best_of_group: Scores) -> tuple[Rows, Scores]:
        """The row of every vector whose group has a score (not NaN), with that score."""
        cells = np.flatnonzero(self.group >= 0)
        best = best_of_group[self.group[cells]]
        hit = ~np.isnan(best)
        return self._rows[0][cells[hit]], best[hit]

    @property
    def nbytes(self) -> int:
        """Bytes held beside the index."""
        return sum(a.nbytes for a in (*self._rows, *self._positions, *self._added))


@dataclass(frozen=True)
class Hits:
    """What a scan of some consecutive cells found; see `_core.NearIndex.scan`."""

    start: int  #: place of the first scanned cell in its block
    cell: Rows  #: place in the block, ascending
    group: Rows
    score: Scores
    codes: Codes  #: usability of each scanned cell
    keys: Keys  #: of each scanned cell with a hit, zeros for the others

    @classmethod
    def of(cls, found: Scanned, start: int, cells: Cells) -> Hits:
        """The hits of cells from `start` on, given what was found of their vectors."""
        row, group, score, codes, keys = found
        if cells.places is None:
            return cls(start, start + row, group, score, codes, keys)
        cell, source = shared_out(row, cells.places, len(cells.vectors))
        return cls(
            start, start + cell, group[source], score[source], cells.of_each(codes), keys[cells.places]
        )

    def numbered(self, number: Rows) -> Hits:
        """Those of groups that `number` gives another number, under this one."""
        group = number[self.group]
        kept = group >= 0
        return replace(self, cell=self.cell[kept], group=group[kept], score=self.score[kept])


def most_hits(options: ScanOptions) -> int:
    """Hits that may be in memory at a time."""
    return max(1, options.block_bytes // BYTES_PER_HIT)


class BoundedScan:
    """Scans blocks in parts, so that a low threshold, where most pairs are hits, does not fill the memory.

    A part grows while hits are few, which costs a high threshold nothing; the answer does not depend on it.
    """

    def __init__(self, index: NearIndex, options: ScanOptions) -> None:
        """Starts with a part whose hits cannot be too many."""
        self._index = index
        self._most_hits = most_hits(options)
        self._rows = max(LEAST_ROWS, self._most_hits // max(1, index.group_count))

    def __call__(self, cells: Cells) -> Iterator[Hits]:
        """The hits of consecutive cells, part by part."""
        start = 0
        while start < len(cells):
            stop = min(start + self._rows, len(cells))
            part = cells.sliced(start, stop)
            hits = Hits.of(self._index.scan(part.vectors, every_key=False), start, part)
            yield hits
            per_row = max(1, len(hits.cell)) / (stop - start)
            self._rows = int(max(LEAST_ROWS, min(GROWTH * self._rows, self._most_hits / per_row)))
            start = stop


class StreamedGroups:
    """Groups of equal vectors among the matched ones of the streamed side."""

    def __init__(self, options: ScanOptions) -> None:
        """No group yet."""
        self._table = _core.KeyTable(2, options.threads)
        self._keys: list[Keys] = []
        self._matches: list[Rows] = []
        self.size = NO_ROWS

    def add(self, keys: Keys, matches: Rows, size: Rows | None = None) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """The group of each key, and whether the key is the first of its group.

        Args:
            keys: (n, 2).
            matches: (n,) the indexed groups that match the vector, of which there are as many wherever it
                comes.
            size: (n,) the vectors that each key stands for; None for one each.
        """
        known = len(self._table)
        keys = np.ascontiguousarray(keys)
        groups = self._table.insert(keys)
        added = np.zeros(len(self._table), np.int64)
        added[: len(self.size)] = self.size
        np.add.at(added, groups, 1 if size is None else size)
        self.size = added
        first = newly_inserted(groups, known)
        self._keys.append(keys[first])
        self._matches.append(matches[first])
        return groups, first

    def keys(self) -> Keys:
        """(groups, 2)."""
        return np.concatenate([np.empty((0, 2), np.uint64), *self._keys])

    def matches(self) -> Rows:
        """(groups,) the indexed groups that match each."""
        return np.concatenate([NO_ROWS, *self._matches])


@dataclass(frozen=True)
class NearPart:
    """What consecutive vectors of the streamed side yield, as it is saved."""

    keys: Keys  #: of its groups
    matches: Rows  #: indexed groups that match each of them
    size: Rows  #: vectors in each of them
    evidence: Evidence  #: of which one count is the number of a group here, the other that of an indexed one
    best_group: Rows  #: indexed groups that match
    best: Scores  #: the highest score of each of them
    rows: Rows  #: that match; a row may repeat
    scores: Scores
    pairs: int
    pairs_at: Mapping[float, int]


class NearJoin:
    """Every pair of an indexed and a streamed vector at or above the threshold."""

    def __init__(self, indexed: Side, vectors: VectorGroups, options: ScanOptions) -> None:
        """A join against `vectors`, which is closed and stands on the side `indexed`."""
        self._indexed: Side = indexed
        self._streamed: Side = other_side(indexed)
        self._vectors = vectors
        self._options = options
        self._scan: BoundedScan | None = None
        self._forget()

    def _forget(self) -> None:
        options = self._options
        self._groups = StreamedGroups(options)
        self._buffer = EvidenceBuffer(options)
        self._best = np.full(len(self._vectors.size), np.nan)
        self._rows: list[Rows] = []
        self._scores: list[Scores] = []
        self._pairs = 0
        self._pairs_at = no_pairs_at(options)

    def stream(self, cells: Cells, found: Scanned | None = None) -> Codes:
        """Scans the next cells of the streamed side; the usability code of each.

        Args:
            cells: the next.
            found: what a scan of their vectors against the index found, if there was one.
        """
        parts = [np.empty(0, np.uint8)]
        if self._scan is None:
            self._scan = BoundedScan(self._vectors.near, self._options)
        for hits in self._scan(cells) if found is None else [Hits.of(found, 0, cells)]:
            parts.append(hits.codes)
            if self._vectors.number is not None:
                hits = hits.numbered(self._vectors.number)
            if len(hits.cell):
                self._count(cells, hits)
        return np.concatenate(parts)

    def _count(self, cells: Cells, hits: Hits) -> None:
        cell, group, score = hits.cell, hits.group, hits.score
        weight = self._vectors.size[group]
        self._pairs += int(weight.sum())
        add_up(self._pairs_at, pairs_at(self._pairs_at, score, weight))
        np.fmax.at(self._best, group, score)
        starts = np.flatnonzero(np.diff(cell, prepend=-1))  # hits come sorted by cell
        self._rows.append(cells.rows(cell[starts]))
        self._scores.append(np.maximum.reduceat(score, starts))
        hits_per_cell = np.diff(starts, append=len(cell))
        keys = hits.keys[cell[starts] - hits.start]
        streamed_group, is_first = self._groups.add(keys, hits_per_cell)
        named = np.repeat(is_first, hits_per_cell)
        groups = np.repeat(streamed_group, hits_per_cell)[named]
        self._buffer.add(self._named(cells, cell[named], groups, group[named], score[named]))
        self._buffer.check()

    def _named(
        self, cells: Cells, cell: Rows, streamed_group: Rows, indexed_group: Rows, score: Scores
    ) -> Evidence:
        streamed = (cells.rows(cell), cells.positions(cell), streamed_group)
        indexed = (
            self._vectors.first_row[indexed_group],
            self._vectors.first_position[indexed_group],
            indexed_group,
        )
        train, eval_ = (indexed, streamed) if self._indexed == "train" else (streamed, indexed)
        # The counts stand for groups until the last row went by and their sizes are known.
        return Evidence(train[0], train[1], eval_[0], eval_[1], score, train[2], eval_[2], indexed_group)

    @property
    def evidence(self) -> int:
        """Matches held for a report."""
        return self._buffer.held

    def cut(self) -> NearPart:
        """What was streamed since the last cut; nothing of it is left."""
        best = np.flatnonzero(~np.isnan(self._best))
        part = NearPart(
            self._groups.keys(),
            self._groups.matches(),
            self._groups.size,
            self._buffer.result(),
            best,
            self._best[best],
            np.concatenate(self._rows or [NO_ROWS]),
            np.concatenate(self._scores or [np.empty(0)]),
            self._pairs,
            self._pairs_at,
        )
        self._forget()
        return part

    def fold(self, part: NearPart, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        groups, named_here = self._groups.add(part.keys, part.matches, part.size)
        evidence = part.evidence.relocated(self._streamed, starts)
        counted = f"{self._streamed}_count"  # the groups of a cut, until they are all of a scan
        local = getattr(evidence, counted)
        evidence = replace(evidence, **{counted: groups[local]}).take(named_here[local])
        self._buffer.add(evidence, int(part.matches[named_here].sum()))
        self._buffer.check()
        self._best[part.best_group] = np.fmax(self._best[part.best_group], part.best)
        self._rows.append(located(part.rows, starts))
        self._scores.append(part.scores)
        self._pairs += part.pairs
        add_up(self._pairs_at, part.pairs_at)

    def named(self) -> Named:
        """The rows that the evidence may name, and those of the indexed side that match."""
        matches = self._buffer.result()
        rows: dict[Side, Rows] = {"train": matches.train_row, "eval": matches.eval_row}
        return Named(rows, self._vectors.rows_of(self._best)[0])

    def result(self) -> LevelResult:
        """What was found, once the streamed side went by; the rows of its sides are counted elsewhere."""
        matches = self._buffer.result()
        size = {self._indexed: self._vectors.size, self._streamed: self._groups.size}
        streamed = (
            np.concatenate(self._rows or [NO_ROWS]),
            np.concatenate(self._scores or [np.empty(0)]),
        )
        return LevelResult(
            {
                self._indexed: Tally.of_matches(*self._vectors.rows_of(self._best)),
                self._streamed: Tally.of_matches(*streamed),
            },
            matches.counted(size["train"][matches.train_count], size["eval"][matches.eval_count]),
            self._buffer.total,
            self._pairs,
            dict(self._pairs_at),
        )
