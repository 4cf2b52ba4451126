"""Which documents belong together: connected components over shared texts and near-duplicate vectors.

The relations are those of a scan at text, vector and context, found by the scan's own arithmetic. Equal texts
and equal vectors come as groups, so that a text that stands in a million rows is a million edges and not
half a billion pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lvmfast import _core
from lvmfast.corpus import Dataset
from lvmfast.corpus.dataset import Column
from lvmfast.leaks import memory
from lvmfast.leaks.duplicates import group_pairs, group_rows
from lvmfast.leaks.engine import Progress, read
from lvmfast.leaks.keyed import TextKeys
from lvmfast.leaks.near import Cells
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import NO_ROWS, Rows, first_rows

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


def join_documents(
    split: Dataset, document: Rows, documents: int, options: ScanOptions, progress: Progress
) -> Components:
    """The components of documents that any of text, vector and context would match across two sides.

    Args:
        split: n rows.
        document: (n,) the document of each row, below `documents`.
        documents: how many there are.
        options: threshold, normalisation and least characters of the scan that the sides must pass.
        progress: as for a scan.

    Raises:
        DataError: the memory limit is too low, or a file is broken.
    """
    need = memory.index_bytes_within(
        [level for level in ("text", "vector") if level in split.columns], split, options
    )
    cells = split.estimated_rows() * (1 + (split.context_length or 0)) if "vector" in split.columns else 0
    memory.check(memory.working_bytes(options) + need + cells * CELL_BYTES, options.memory_limit)
    components = Components(documents)
    if "text" in split.columns:
        _join_texts(components, split, document, options, progress)
    if "vector" in split.columns:
        _join_vectors(components, split, document, options, progress)
    return components


def _join_texts(
    components: Components, split: Dataset, document: Rows, options: ScanOptions, progress: Progress
) -> None:
    keys = TextKeys(options)
    slots = [NO_ROWS]
    for batch in read(split, ("text",), "join text", options, progress):
        found = keys.add(batch)
        slots.append(np.full(batch.rows, -1, np.int64) if found is None else found)
    _join_groups(components, np.concatenate(slots), document)


def _join_groups(components: Components, group: Rows, document: Rows) -> None:
    """Joins the documents of each group; members of a negative group are nobody's."""
    members = np.flatnonzero(group >= 0)
    first = first_rows(members, group[members], int(group.max(initial=-1)) + 1)
    components.join(document[members], document[first[group[members]]])


def _join_vectors(
    components: Components, split: Dataset, document: Rows, options: ScanOptions, progress: Progress
) -> None:
    """Joins by targets that match targets, and by targets that match windows; never window with window.

    Targets are cells 0 to n, windows follow. Groups are numbered by their first cells, so those that hold a
    target come first, and a pair that matters has one of them as its lower group.
    """
    rows, length, dim = len(document), split.context_length or 0, split.dim or 0
    columns: tuple[Column, ...] = ("vector", "context") if "context" in split.columns else ("vector",)

    def cells() -> Iterator[Cells]:
        for column in columns:
            for batch in read(split, (column,), f"join {column}", options, progress):
                if column == "vector" and batch.vector is not None:
                    yield Cells(batch.vector, batch.start)
                elif column == "context" and batch.context is not None:
                    windows = batch.context.reshape(-1, dim)
                    yield Cells(windows, rows + batch.start * length)

    groups = group_rows(cells(), dim, options)
    owner = _owners(document, length if len(columns) == 2 else 0)[: len(groups.group)]
    with_target = int(np.searchsorted(groups.first, rows))
    matters = np.zeros(len(groups.first), np.bool_)
    matters[:with_target] = True
    at_a_time = memory.vectors_per_pass(split, options)
    for lower, higher, _ in group_pairs(cells, groups, dim, options, with_target, groups_per_pass=at_a_time):
        matters[higher] = True
        components.join(owner[groups.first[lower]], owner[groups.first[higher]])
    related = groups.group >= 0
    related[related] = matters[groups.group[related]]
    _join_groups(components, np.where(related, groups.group, -1), owner)


def _owners(document: Rows, length: int) -> Rows:
    """The document of every cell: of the targets, then of the windows' vectors."""
    return np.concatenate([document, np.repeat(document, length)])


def rows_with_their_answer(split: Dataset, options: ScanOptions, progress: Progress) -> Rows:
    """Rows whose target stands in their own window (level oracle), ascending."""
    if not {"vector", "context"} <= split.columns:
        return NO_ROWS
    found = [NO_ROWS]
    for batch in read(split, ("vector", "context"), "join oracle", options, progress):
        if batch.vector is not None and batch.context is not None:
            cosines, _, _ = _core.window_cosines(batch.vector, batch.context, options.threads)
            found.append(batch.start + np.flatnonzero((cosines >= options.threshold).any(axis=1)))
    return np.concatenate(found)
