"""The levels that compare keys for equality: doc, chunk and text.

One side is indexed: each distinct key gets a slot. The other side, if there is one, streams past and is
looked up. Then they are joined (`joins.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.keys import Keys
from lvmfast.corpus.sides import Side, other_side
from lvmfast.leaks.cuts import located
from lvmfast.leaks.evidence import Named
from lvmfast.leaks.joins import DocumentFrequency, SlotJoin, keyed_result
from lvmfast.leaks.keyed_by import KeyedBy
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.slots import (
    DistinctKeys,
    KeysBeside,
    KeySource,
    documents_of,
    relocated_documents,
    see,
    slots_by,
)
from lvmfast.leaks.tally import NO_ROWS, Rows, SideTally, Tally, first_rows, together
from lvmfast.leaks.trees import Tree, from_arrays, to_arrays


class Keyed(Protocol):
    """A level whose rows match by equal keys, or by slots from elsewhere."""

    @property
    def name(self) -> str:
        """As reports have it."""
        ...

    @property
    def keys(self) -> KeyedBy | None:
        """What rows have for keys."""
        ...

    @property
    def boilerplate(self) -> bool:
        """Whether `max_df` sets apart what stands in many documents."""
        ...


@dataclass(frozen=True)
class KeyedPart:
    """Rows of one side of a keyed level, as they are saved."""

    tally: Tally
    rows: Rows | None  #: that have a slot, ascending; None for all
    slots: Rows  #: of each row, or the negative code of why it has none
    keys: Keys | None  #: distinct keys of a streamed side, where they are counted
    key_count: int | None  #: how many of an indexed side
    documents: Keys | None  #: distinct slots with their documents (n, 4), where they are counted


class KeyedLevel:
    """One keyed level over two sides, or within one."""

    def __init__(
        self,
        level: Keyed,
        indexed: Side,
        files: Mapping[Side, int],
        options: ScanOptions,
        source: KeySource | None = None,
        *,
        cuts: bool = False,
    ) -> None:
        """Nothing read yet.

        Args:
            level: that is found.
            indexed: the side that `index` gets.
            files: files of each side; of one, if it is joined with itself.
            options: of the scan.
            source: of slots, if they are not those of the level.
            cuts: whether what is streamed can be cut.
        """
        self.level = level.name
        self._indexed: Side = indexed
        self._streamed: Side = other_side(indexed)
        self._options = options
        if source is None:
            assert level.keys is not None
            source = slots_by(level.keys, options, cuts=cuts)
        self._source: KeySource = source
        self._tally = {side: SideTally(n) for side, n in files.items()}
        counts_documents = level.boilerplate and options.max_df is not None
        self._documents = {side: DistinctKeys(4, options, kept=True) for side in files if counts_documents}
        self._key_count = 0  #: of an indexed side that was restored
        self._index_slots: list[Rows] = []
        self._begin_to_stream()

    def _begin_to_stream(self) -> None:
        self._stream_rows: list[Rows] = []
        self._stream_slots: list[Rows] = []
        #: Streamed rows held that matched.
        self.matched = 0

    def beside(self) -> KeyedLevel:
        """As `Beside.beside`."""
        twin, streamed = copy(self), self._streamed
        twin._source = cast(KeysBeside, self._source).beside()
        twin._tally = {**self._tally, streamed: SideTally(self._tally[streamed].files)}
        if self._documents:
            twin._documents = {**self._documents, streamed: DistinctKeys(4, self._options, kept=True)}
        twin._begin_to_stream()
        return twin

    @property
    def nbytes(self) -> int:
        """Bytes held by the index."""
        return self._source.nbytes + sum(a.nbytes for a in self._index_slots)

    def index(self, batch: Batch) -> None:
        """Takes the next rows of the indexed side."""
        self._index_slots.append(self._see(self._indexed, batch, self._source.add(batch)))

    def close(self) -> None:
        """Nothing is left to do between the sides."""

    def stream(self, batch: Batch) -> None:
        """Takes the next rows of the streamed side."""
        slots = self._see(self._streamed, batch, self._source.find(batch))
        hit = np.flatnonzero(slots >= 0)
        if len(hit):
            self._stream_rows.append(batch.start + hit)
            self._stream_slots.append(slots[hit])
            batch.keep(hit)
            self.matched += len(hit)

    def _see(self, side: Side, batch: Batch, slots: Rows | None) -> Rows:
        coded = see(self._tally[side], batch, slots, self._source.reasons)
        if self._documents:
            rows = np.flatnonzero(coded >= 0)
            documents = documents_of(side, batch, rows)
            self._documents[side].add(np.column_stack((coded[rows].astype(np.uint64), documents)))
        return coded

    @property
    def evidence(self) -> int:
        """Matches held for a report: one a matched row at most."""
        return min(self.matched, self._options.max_pairs)

    def indexed(self) -> Tree:
        """What the indexed side is for `result`; it stays."""
        counts = self._source.streamed is not None
        return to_arrays(
            KeyedPart(
                self._tally[self._indexed].part(),
                None,
                together(self._index_slots or [NO_ROWS]),
                None,
                len(self._source) if counts else None,
                self._documents[self._indexed].keys() if self._documents else None,
            )
        )

    def restore(self, tree: Tree) -> None:
        """Takes the place of a level that indexed what `indexed` tells of."""
        part = from_arrays(KeyedPart, tree)
        self._tally[self._indexed].add(part.tally)
        self._index_slots, self._key_count = [part.slots], part.key_count or 0
        if part.documents is not None:
            self._documents[self._indexed].add(part.documents)

    def cut(self) -> Tree:
        """What was streamed since the last cut; nothing of it is left."""
        streamed, documents = self._source.streamed, self._documents.get(self._streamed)
        part = KeyedPart(
            self._tally[self._streamed].part(),
            together(self._stream_rows or [NO_ROWS]),
            together(self._stream_slots or [NO_ROWS]),
            None if streamed is None else streamed.keys(),
            None,
            None if documents is None else documents.keys(),
        )
        self._tally[self._streamed].forget()
        self._begin_to_stream()
        for distinct in (streamed, documents):
            if distinct is not None:
                distinct.forget()
        return to_arrays(part)

    def fold(self, tree: Tree, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        part = from_arrays(KeyedPart, tree)
        assert part.rows is not None
        self._tally[self._streamed].add(part.tally.relocated(starts))
        self._stream_rows.append(located(part.rows, starts))
        self._stream_slots.append(part.slots)
        self.matched += len(part.slots)
        if self._source.streamed is not None and part.keys is not None:
            self._source.streamed.add(part.keys)
        if part.documents is not None:
            self._documents[self._streamed].add(relocated_documents(self._streamed, part.documents, starts))

    def named(self) -> Named:
        """The rows that the evidence may name, and those of the indexed side that match."""
        rows = np.concatenate(self._stream_rows or [NO_ROWS])
        slots = np.concatenate(self._stream_slots or [NO_ROWS])
        indexed = np.concatenate(self._index_slots or [NO_ROWS])
        hit = np.zeros(int(indexed.max(initial=-1)) + 1, np.bool_)
        hit[slots] = True
        matched = np.flatnonzero(indexed >= 0)
        matched = matched[hit[indexed[matched]]]
        first = first_rows(matched, indexed[matched], len(hit))
        streamed = first_rows(rows, slots, len(hit))
        return Named({self._indexed: first[first >= 0], self._streamed: streamed[streamed >= 0]}, matched)

    def result(self) -> LevelResult:
        """What was found, once every row went by."""
        slots = together(self._index_slots or [NO_ROWS])
        rows = np.flatnonzero(slots >= 0)
        held: dict[Side, tuple[Rows, Rows]] = {self._indexed: (rows, slots[rows])}
        if self._streamed in self._tally:
            streamed = (self._stream_rows or [NO_ROWS], self._stream_slots or [NO_ROWS])
            held[self._streamed] = (together(streamed[0]), together(streamed[1]))
        slot_count = int(held[self._indexed][1].max(initial=-1)) + 1
        join = SlotJoin(tuple(held), self._options, self._frequency())
        for side, (rows, slots) in held.items():
            join.count(side, rows, slots, slot_count)
        join.close(slot_count)
        again = ((side, rows, slots) for side, (rows, slots) in held.items())
        return keyed_result(self._tally, [join.result(again, self._keys())], self._options)

    def _frequency(self) -> DocumentFrequency | None:
        if not self._documents or self._options.max_df is None:
            return None
        frequency = DocumentFrequency(self._options.max_df, self._options)
        for of_side in self._documents.values():
            keys = of_side.keys()
            frequency.add(keys[:, 0].astype(np.int64), keys[:, 1:])
        return frequency

    def _keys(self) -> dict[Side, int] | None:
        streamed = self._source.streamed
        if streamed is None or self._streamed not in self._tally:
            return None
        return {self._indexed: len(self._source) or self._key_count, self._streamed: len(streamed)}
