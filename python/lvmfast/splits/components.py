"""Which documents belong together: connected components over shared texts and near-duplicate vectors.

The relations are those of a scan at the levels that mean something inside one set, and at context, found by
the scan's own arithmetic. Equal keys and equal vectors come as groups, so that a text that stands in a
million rows is a million edges and not half a billion pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lvmfast.corpus import Dataset
from lvmfast.corpus.dataset import Batch, Column
from lvmfast.leaks import memory
from lvmfast.leaks.cells import Cells
from lvmfast.leaks.duplicates import LEFT_OUT, Groups, Passes, SeenVectors, group_pairs
from lvmfast.leaks.keyed_by import KeyedBy
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Progress, read
from lvmfast.leaks.slots import slots_by
from lvmfast.leaks.tally import NO_ROWS, Rows, first_rows
from lvmfast.leaks.vectors import window_cosines
from lvmfast.levels import LEVELS
from lvmfast.scan import estimates

#: Edges that are gathered before they are joined, for each joining costs a pass over all nodes.
EDGES_AT_ONCE = 1 << 20
#: Bytes per vector of a split, target or window, that grouping and joining hold at their peak.
CELL_BYTES = 64


class Components:
    """The connected components of a growing graph, over numpy arrays of edges.

    Every root that has a lower neighbour is hooked to the lowest, then paths are halved until every node
    points at its root (Shiloach and Vishkin, 1982).
    """

    def __init__(self, nodes: int) -> None:
        """`nodes` nodes and no edge."""
        self._root: Rows = np.arange(nodes)
        self._edges: list[tuple[Rows, Rows]] = []
        self._gathered = 0

    def join(self, left: Rows, right: Rows) -> None:
        """Adds the edges (left[i], right[i])."""
        differ = self._root[left] != self._root[right]
        if differ.any():
            self._edges.append((left[differ], right[differ]))
            self._gathered += int(np.count_nonzero(differ))
        if self._gathered > EDGES_AT_ONCE:
            self._settle()

    def roots(self) -> Rows:
        """(nodes,) the lowest node of each node's component."""
        self._settle()
        return self._root

    def _settle(self) -> None:
        if not self._edges:
            return
        left, right = (np.concatenate(ends) for ends in zip(*self._edges, strict=True))
        self._edges, self._gathered = [], 0
        root = self._root
        while True:
            a, b = root[left], root[right]
            apart = a != b
            if not apart.any():
                return
            left, right, a, b = left[apart], right[apart], a[apart], b[apart]
            np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
            while True:
                halved = root[root]
                if np.array_equal(halved, root):
                    break
                root[:] = halved


@dataclass(frozen=True)
class Relations:
    """What a scan of the documents of one split against one another would find."""

    components: Components  #: documents that a scan would match across two sides
    with_answer: Rows  #: rows whose target stands in their own window (level oracle), ascending


def relate_documents(
    split: Dataset, document: Rows, documents: int, options: ScanOptions, progress: Progress
) -> Relations:
    """Finds what belongs together, and the rows that hold their own answer.

    Args:
        split: n rows.
        document: (n,) the document of each row, below `documents`.
        documents: how many there are.
        options: threshold, normalisation and least characters of the scan that the sides must pass.
        progress: as for a scan.

    Raises:
        DataError: the memory limit is too low, or a file is broken.
    """
    levels = [n for n, level in LEVELS.items() if level.within and split.columns.issuperset(level.needs)]
    need = estimates.index_bytes_within(levels, split, options, memory.bound(options), _cell_bytes(split))
    memory.check(memory.working_bytes(options) + need, options)
    components, with_answer = Components(documents), NO_ROWS
    for level in levels:
        if (keys := LEVELS[level].keys) is not None:
            rows = read(split, LEVELS[level].needs, f"join {level}", options, progress)
            _join_groups(components, _slots(rows, keys, options), document)
    if any(LEVELS[level].compares_vectors for level in levels):
        with_answer = _join_vectors(components, split, document, options, progress)
    return Relations(components, with_answer)


def _cell_bytes(split: Dataset) -> int:
    if "vector" not in split.columns:
        return 0
    return CELL_BYTES * split.estimated_rows() * (1 + (split.context_length or 0))


def _slots(batches: Iterable[Batch], keys: KeyedBy, options: ScanOptions) -> Rows:
    """The number of each row's key, negative where it has none."""
    source, slots = slots_by(keys, options), [NO_ROWS]
    for batch in batches:
        found = source.add(batch)
        slots.append(np.full(batch.rows, -1, np.int64) if found is None else found)
    return np.concatenate(slots)


def _join_groups(components: Components, group: Rows, document: Rows) -> None:
    """Joins the documents of each group; members of a negative group are nobody's."""
    members = np.flatnonzero(group >= 0)
    first = first_rows(members, group[members], int(group.max(initial=-1)) + 1)
    components.join(document[members], document[first[group[members]]])


def _join_vectors(
    components: Components, split: Dataset, document: Rows, options: ScanOptions, progress: Progress
) -> Rows:
    """Joins by targets that match targets, and by targets that match windows; never window with window.

    Targets are cells 0 to n, windows follow. Groups are numbered by their first cells, so those that hold a
    target come first, and a pair that matters has one of them as its lower group. Returns the rows that hold
    their own answer.
    """
    rows, dim = len(document), split.dim or 0
    length = (split.context_length or 0) if "context" in split.columns else 0

    def cells(wanted: Rows) -> Iterator[Cells]:
        of_targets = wanted[: np.searchsorted(wanted, rows)]
        of_windows = np.unique((wanted[len(of_targets) :] - rows) // max(1, length))
        for batch in read(split, ("vector",), "index vectors", options, progress, of_targets):
            if batch.targets is not None:
                yield Cells.of(batch.targets, batch.start)
        for batch in read(split, ("context",), "index windows", options, progress, of_windows):
            if batch.windows is not None:
                windows = Cells.of(batch.windows, batch.start).numbered_on()
                yield replace(windows, first_row=rows + windows.first_row)

    groups, with_answer = _group_cells(split, rows, length, options, progress)
    owner = np.concatenate([document, np.repeat(document, length)])
    with_target = int(np.searchsorted(groups.first, rows))
    matters = np.zeros(len(groups.first), np.bool_)
    matters[:with_target] = True
    passes = Passes(
        memory.vectors_per_pass(split, options, memory.bound(options), _cell_bytes(split)),
        joined=lambda done, of: progress("join vectors", done, of),
    )
    for lower, higher, _ in group_pairs(cells, groups, dim, options, passes, with_target):
        matters[higher] = True
        components.join(owner[groups.first[lower]], owner[groups.first[higher]])
    related = groups.group >= 0
    related[related] = matters[groups.group[related]]
    _join_groups(components, np.where(related, groups.group, -1), owner)
    return with_answer


def _group_cells(
    split: Dataset, rows: int, length: int, options: ScanOptions, progress: Progress
) -> tuple[Groups, Rows]:
    """The groups of all targets and then of all windows' vectors, and the rows that hold their own answer.

    Both in one pass: to read the vectors takes longer than what is done with them here.
    """
    seen = SeenVectors(options)
    slots = np.full(rows * (1 + length), -1, np.int64)
    codes = np.full(len(slots), LEFT_OUT, np.uint8)
    with_answer = [NO_ROWS]
    columns: tuple[Column, ...] = ("vector", "context") if length else ("vector",)
    for batch in read(split, columns, "group vectors", options, progress):
        if batch.targets is not None:
            at = slice(batch.start, batch.start + batch.rows)
            slots[at], codes[at] = seen.slots(Cells.of(batch.targets, batch.start))
        if batch.windows is not None:
            at = slice(rows + batch.start * length, rows + (batch.start + batch.rows) * length)
            slots[at], codes[at] = seen.slots(Cells.of(batch.windows, batch.start))
        if batch.targets is not None and batch.windows is not None:
            cosines, _, _ = window_cosines(batch.targets, batch.windows, options)
            with_answer.append(batch.start + np.flatnonzero((cosines >= options.threshold).any(axis=1)))
    return seen.groups(slots, codes), np.concatenate(with_answer)
