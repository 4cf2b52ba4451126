"""Near-duplicates inside one set of vectors: each pair once, equal vectors collapsed into groups.

The set is read once to group it, then once (or, where the distinct vectors exceed the block, a few times)
to compare a block of distinct vectors with one another and with everything behind it. Only the block is ever
in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus.dataset import Vectors
from lvmfast.leaks.cells import Cells, Codes
from lvmfast.leaks.devices import near_index
from lvmfast.leaks.evidence import NO_POSITION, Evidence
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.near import BoundedScan, most_hits, no_pairs_at, pairs_at
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult, Merging
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores, Tally, first_rows
from lvmfast.leaks.trees import from_arrays, to_arrays

#: The vectors of a set in order, again and again; blocks with none of the wanted cells may be left out.
Blocks = Callable[[Rows], Iterable[Cells]]

#: The code of a row whose file has no vectors.
LEFT_OUT = 255

#: Blocks of distinct vectors that are compared with the rest per pass.
BLOCKS_PER_PASS = 32


@dataclass(frozen=True)
class Groups:
    """Equal vectors of one set; groups are numbered in the order of their first rows."""

    group: Rows  #: the group of every row, -1 for an unusable one
    codes: Codes  #: the usability code of every row
    first: Rows  #: the first row of each group
    size: Rows  #: rows in each group

    def second(self) -> Rows:
        """The second row of each group of at least two rows, in group order."""
        rows = np.flatnonzero(self.group >= 0)
        later = rows[rows != self.first[self.group[rows]]]
        second = first_rows(later, self.group[later], len(self.first))
        return second[second >= 0]


class SeenVectors:
    """Gives each distinct vector a slot, in the order in which they come."""

    def __init__(self, options: ScanOptions) -> None:
        """Nothing came yet."""
        self._threads = options.threads
        self._table = _core.KeyTable(2, options.threads)

    def slots(self, cells: Cells) -> tuple[Rows, Codes]:
        """The slot of every cell, -1 for one that cannot be used, and its usability code."""
        codes, keys = _core.describe_rows(cells.vectors, self._threads)
        slots = np.full(len(codes), -1, np.int64)
        slots[codes == 0] = self._table.insert(np.ascontiguousarray(keys[codes == 0]))
        return cells.of_each(slots), cells.of_each(codes)

    def groups(self, slots: Rows, codes: Codes) -> Groups:
        """The groups of cells that came in any order, given the slot and the code of each."""
        usable = np.flatnonzero(slots >= 0)
        first = first_rows(usable, slots[usable], len(self._table))
        order = np.argsort(first)
        number = np.empty(len(order), np.int64)
        number[order] = np.arange(len(order))
        group = np.full(len(slots), -1, np.int64)
        group[usable] = number[slots[usable]]
        return Groups(group, codes, first[order], np.bincount(group[usable], minlength=len(order)))


def group_rows(cells: Iterable[Cells], options: ScanOptions) -> Groups:
    """Groups the equal vectors; a row that no cell covers counts as LEFT_OUT."""
    seen = SeenVectors(options)
    slots, codes, rows = [NO_ROWS], [np.empty(0, np.uint8)], 0
    for block in cells:
        gap = block.first_row - rows
        rows = block.first_row + len(block)
        slot, code = seen.slots(block)
        slots.append(np.r_[np.full(gap, -1), slot])
        codes.append(np.r_[np.full(gap, LEFT_OUT, np.uint8), code])
    return seen.groups(np.concatenate(slots), np.concatenate(codes))


@dataclass(frozen=True)
class Passes:
    """How a set is compared with itself, some vectors at a time; the pairs do not depend on it."""

    groups: int | None = None  #: held at a time; None: as many as a scan reads ahead
    begin: int = 0  #: groups that are through with all behind them
    #: told how many vectors of a block that is joined with itself are done, of how many
    joined: Callable[[int, int], None] = lambda done, of: None
    #: told how many groups are through, of how many
    passed: Callable[[int, int], None] = lambda done, of: None


def group_pairs(
    blocks: Blocks,
    groups: Groups,
    dim: int,
    options: ScanOptions,
    passes: Passes,
    lower_groups: int | None = None,
) -> Iterator[tuple[Rows, Rows, Scores]]:
    """Yields (lower group, higher group, cosine) of every pair of distinct vectors that match.

    With `lower_groups`, only pairs whose lower group is one of the first so many.
    """
    per_pass = passes.groups or max(1, BLOCKS_PER_PASS * options.block_bytes // (4 * dim))
    count = len(groups.first)
    lowest = count if lower_groups is None else lower_groups
    for start in range(passes.begin, lowest, per_pass):
        stop = min(start + per_pass, lowest)
        # A block is joined with itself at more than twice the speed at which others are scanned against it,
        # so a few more vectors come along, though their own pairs are not asked for.
        if count - start <= per_pass and count - lowest <= lowest - start:
            stop = count
        index = near_index(dim, options)
        for vectors, _ in first_vectors(blocks, groups, start, stop):
            index.add(vectors)
        size = index.group_count
        among = index.pairs(most_hits(options), lambda done, of=size: passes.joined(done, of))  # type: ignore[misc]
        if among is not None:
            lower, higher, score, _ = among
            asked = start + lower < lowest
            yield start + lower[asked], start + higher[asked], score[asked]
        behind = start if among is None else stop
        scan = BoundedScan(index, options)
        for vectors, group in first_vectors(blocks, groups, behind, count):
            for hits in scan(Cells(vectors, 0)):
                lower, higher = start + hits.group, group[hits.cell]
                once = (lower < higher) & (lower < lowest)
                if once.any():
                    yield lower[once], higher[once], hits.score[once]
        passes.passed(min(stop, lowest), lowest)


def first_vectors(blocks: Blocks, groups: Groups, start: int, stop: int) -> Iterator[tuple[Vectors, Rows]]:
    """The first vector of each group in [start, stop), with its group."""
    if start == stop:
        return
    for block in blocks(groups.first[start:stop]):
        rows = block.first_row + np.arange(len(block))
        group = groups.group[rows]
        wanted = (group >= start) & (group < stop)
        wanted[wanted] = groups.first[group[wanted]] == rows[wanted]
        if wanted.all():  # then no vector stands in two cells
            yield block.vectors, group
        elif wanted.any():
            places = np.flatnonzero(wanted) if block.places is None else block.places[wanted]
            yield block.vectors[places], group[wanted]
        if rows[-1] >= groups.first[stop - 1]:
            return


@dataclass(frozen=True)
class PassesPart:
    """What the passes of `vector_duplicates` found so far, as it is saved."""

    done: int  #: groups that are through
    found: LevelResult  #: no side yet
    best: Scores  #: the highest score of each group, NaN for none


def vector_duplicates(
    blocks: Blocks,
    groups: Groups,
    dim: int,
    options: ScanOptions,
    joined: Callable[[int, int], None] = lambda done, of: None,
    groups_per_pass: int | None = None,
    journal: Journal | None = None,
) -> LevelResult:
    """Every pair inside the set at or above the threshold, the lower row on the train side.

    A group of n equal vectors is one match of n (n - 1) / 2 pairs, named by its first two rows. With a
    `journal`, what was found is kept after each pass over the set, and passes that it knows are not repeated.
    """
    kept = None if journal is None else journal.state("passes")
    merging = Merging(options)
    merging.add(LevelResult({}, pairs_at=no_pairs_at(options)))
    best = np.full(len(groups.first), np.nan)
    begin = 0

    def passed(done: int, of: int) -> None:
        if journal is not None and done < of:
            state = to_arrays(PassesPart(done, merging.result(), best))
            journal.keep("passes", state, f"{done:,} of {of:,} distinct vectors are compared")

    def add(left: Rows, right: Rows, score: Scores, counts: tuple[Rows, Rows], weight: Rows) -> None:
        none = np.full(len(left), NO_POSITION, np.int64)
        matches = Evidence(left, none, right, none, score, *counts, weight)
        at = pairs_at(no_pairs_at(options), score, weight)
        merging.add(LevelResult({}, matches, len(matches), int(weight.sum()), at))
        merging.check()

    if kept is not None:
        part = from_arrays(PassesPart, kept)
        begin, best = part.done, part.best
        merging.add(part.found)
    else:
        repeated = np.flatnonzero(groups.size > 1)
        count = groups.size[repeated]
        best[repeated] = 1.0
        add(
            groups.first[repeated],
            groups.second(),
            np.ones(len(repeated)),
            (count, count),
            count * (count - 1) // 2,
        )
    passes = Passes(groups_per_pass, begin, joined, passed)
    for lower, higher, score in group_pairs(blocks, groups, dim, options, passes):
        np.fmax.at(best, lower, score)
        np.fmax.at(best, higher, score)
        counts = (groups.size[lower], groups.size[higher])
        add(groups.first[lower], groups.first[higher], score, counts, counts[0] * counts[1])
    rows = np.flatnonzero(groups.group >= 0)
    of_row = best[groups.group[rows]]
    hit: npt.NDArray[np.bool_] = ~np.isnan(of_row)
    merging.add(LevelResult({"train": Tally.of_matches(rows[hit], of_row[hit])}))
    return merging.result()
