"""The arithmetic of keyed levels: both sides, or one with itself, are joined slot by slot, with multiplicity.

What is equal stands in one partition, and what partitions yield adds up; a scan in memory is one partition.
It is held as counts by slot: memory grows with its distinct keys, and a key that stands in millions of rows
is one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.keys import Keys, Valid, newly_inserted
from lvmfast.corpus.sides import Side
from lvmfast.leaks import memory
from lvmfast.leaks.evidence import NO_POSITION, Evidence
from lvmfast.leaks.keyed_by import KeyedBy
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.records import batch_of, keys_of, row_numbers, stored_keys
from lvmfast.leaks.results import LevelResult, Merging
from lvmfast.leaks.slots import HashedRows, KeySource, TextRows
from lvmfast.leaks.tally import NO_ROWS, Rows, SideTally, Tally, together

BOILERPLATE = "boilerplate"

#: Bytes per distinct key of a join beside its table: counts, first and second rows of two sides, marks.
COUNT_BYTES = 64
#: A table of keys of so many words: the keys, and slots at a load of 7/8 while the table doubles.
SLOT_BYTES = 18

#: Of a slot in which no row stands.
_NO_ROW = np.iinfo(np.int64).max

#: Some rows of one side, ascending or not, and the slot of each.
Slotted = tuple[Side, Rows, Rows]


def joined_bytes(keys: KeyedBy) -> int:
    """Bytes that the join of a partition holds per row of its indexed side, or of either (no texts)."""
    return 8 * keys.words + SLOT_BYTES + COUNT_BYTES


class _Counts:
    """Rows, and the first of them, by slot."""

    def __init__(self) -> None:
        self.count = self.first = NO_ROWS

    def add(self, rows: Rows, slots: Rows, slot_count: int) -> None:
        self._grow(slot_count)
        np.add.at(self.count, slots, 1)
        np.minimum.at(self.first, slots, rows)

    def _grow(self, slot_count: int) -> None:
        if slot_count > len(self.count):
            room = max(slot_count, 5 * len(self.count) // 4) - len(self.count)
            self.count = np.append(self.count, np.zeros(room, np.int64))
            self.first = np.append(self.first, np.full(room, _NO_ROW))

    def close(self, slot_count: int) -> None:
        self._grow(slot_count)
        self.count, self.first = self.count[:slot_count], self.first[:slot_count]


class DocumentFrequency:
    """Slots that stand in more than `limit` documents; a slot that does is no longer counted."""

    def __init__(self, limit: int, options: ScanOptions) -> None:
        """No document yet."""
        self._limit = limit
        self._seen = _core.KeyTable(4, options.threads)
        self._documents = NO_ROWS

    def add(self, slots: Rows, documents: Keys) -> None:
        """Takes slots with the documents (n, 3) that they stand in; a pair may come again."""
        if len(slots) == 0:
            return
        grown = int(slots.max()) + 1 - len(self._documents)
        if grown > 0:
            self._documents = np.append(self._documents, np.zeros(grown, np.int64))
        open_ = self._documents[slots] <= self._limit
        slots, documents = slots[open_], documents[open_]
        known = len(self._seen)
        places = self._seen.insert(np.column_stack((slots.astype(np.uint64), documents)))
        np.add.at(self._documents, slots[newly_inserted(places, known)], 1)

    def above(self, slot_count: int) -> Valid:
        """Whether each slot stands in more."""
        above = np.zeros(slot_count, np.bool_)
        above[: len(self._documents)] = self._documents > self._limit
        return above

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._seen.nbytes


class SlotJoin:
    """What is known of each slot: the first of `sides` is the indexed one, and may be alone."""

    def __init__(
        self, sides: Sequence[Side], options: ScanOptions, frequency: DocumentFrequency | None = None
    ) -> None:
        """Nothing counted yet; slots above `frequency`, where it is given, are boilerplate."""
        self._options, self._frequency = options, frequency
        self._counts = {side: _Counts() for side in sides}

    def count(self, side: Side, rows: Rows, slots: Rows, slot_count: int) -> None:
        """Takes the next rows of a side; so many slots were given so far."""
        self._counts[side].add(rows, slots, slot_count)

    def close(self, slot_count: int) -> None:
        """Every row was counted."""
        for of_side in self._counts.values():
            of_side.close(slot_count)
        first, *others = (of_side.count for of_side in self._counts.values())
        #: slots that stand on both sides, or twice on the only one
        self.shared: Valid = (first > 0) & (others[0] > 0) if others else first > 1
        self.boilerplate: Valid = np.zeros(slot_count, np.bool_)
        if self._frequency is not None:
            self.boilerplate = self.shared & self._frequency.above(slot_count)
            self.shared &= ~self.boilerplate

    def result(self, rows_again: Iterable[Slotted], keys: Mapping[Side, int] | None) -> LevelResult:
        """What the slots come to.

        Args:
            rows_again: all rows whose slot is shared or boilerplate, once more; others may be among them.
            keys: distinct keys of each side.
        """
        matched: dict[Side, list[Rows]] = {side: [] for side in self._counts}
        boilerplate: dict[Side, list[Rows]] = {side: [] for side in self._counts}
        first = {side: of_side.first for side, of_side in self._counts.items()}
        second = np.full(len(self.shared) if len(first) == 1 else 0, _NO_ROW)
        for side, rows, slots in rows_again:
            shared = self.shared[slots]
            matched[side].append(rows if shared.all() else rows[shared])
            boilerplate[side].append(rows[self.boilerplate[slots]])
            if len(first) == 1:
                later = rows != first[side][slots]
                np.minimum.at(second, slots[later], rows[later])
        rows_of = {side: of_slots[self.shared] for side, of_slots in first.items()}
        count = {side: of_side.count[self.shared] for side, of_side in self._counts.items()}
        if len(first) == 1:
            rows_of["eval"], count["eval"] = second[self.shared], count["train"]
            pairs = count["train"] * (count["train"] - 1) // 2
        else:
            pairs = count["train"] * count["eval"]
        none, ones = np.full(len(pairs), NO_POSITION, np.int64), np.ones(len(pairs))
        matches = Evidence(
            rows_of["train"], none, rows_of["eval"], none, ones, count["train"], count["eval"], pairs
        )
        return LevelResult(
            {side: _found(matched[side], boilerplate[side]) for side in self._counts},
            matches.best(self._options.max_pairs),
            len(matches),
            int(pairs.sum()),
            keys=keys,
        )


def _found(matched: list[Rows], boilerplate: list[Rows]) -> Tally:
    rows, left_out = together(matched or [NO_ROWS]), together(boilerplate or [NO_ROWS])
    doubtful = {BOILERPLATE: left_out} if len(left_out) else {}
    return Tally.of_matches(rows, np.broadcast_to(1.0, rows.shape), doubtful)


def keyed_result(
    tallies: Mapping[Side, SideTally], found: Iterable[LevelResult], options: ScanOptions
) -> LevelResult:
    """What a keyed level found, given the rows that went by and what its partitions came to."""
    merging = Merging(options)
    merging.add(LevelResult({side: tally.part() for side, tally in tallies.items()}))
    for part in found:
        merging.add(part)
    merging.settle()
    return merging.result()


def merged_partitions(parts: Iterable[LevelResult], options: ScanOptions) -> LevelResult:
    """What partitions come to, held against the memory limit while they come.

    Raises:
        DataError: there are more matches, or matched rows, than it has room for.
    """
    merging, matched = Merging(options), 0
    for part in parts:
        matched += sum(len(tally.matched) for tally in part.sides.values())
        memory.check_matched(matched, 0, options, merging.held)
        merging.add(part)
        merging.check()
    return merging.result()


class Part(Protocol):
    """The rows of one side in one partition."""

    @property
    def schema(self) -> pa.Schema:
        """Of its rows."""
        ...

    def read(self) -> Iterator[pa.RecordBatch]:
        """Its rows, as often as is asked, in the same order."""
        ...


class PartitionJoin:
    """The join of one partition, whose rows are read again instead of being held."""

    def __init__(
        self,
        keys: KeyedBy,
        sides: Sequence[Side],
        parts: Mapping[Side, Part],
        options: ScanOptions,
        *,
        texts: bool = False,
    ) -> None:
        """Nothing read yet; rows are compared by their keys or, with `texts`, as texts."""
        self._sides, self._parts = sides, parts
        self._source: KeySource = (
            TextRows(options) if texts else HashedRows(replace(keys, of=stored_keys), options)
        )
        self._keys: dict[Side, int] | None = None
        self._frequency = None
        if texts and options.max_df is not None:
            self._frequency = DocumentFrequency(options.max_df, options)
        self._join = SlotJoin(sides, options, self._frequency)

    def count(self, budget: int | None) -> bool:
        """Reads the partition; False where its keys take more than `budget` bytes."""
        for side in self._sides:
            slots_of = self._source.add if side == self._sides[0] else self._source.find
            for rows, numbers, slots, hit in self._read(side, slots_of):
                self._join.count(side, numbers, slots, len(self._source))
                if self._frequency is not None:
                    self._frequency.add(slots, keys_of(rows, "document")[hit])
                if budget is not None and self._nbytes() > budget:
                    return False
        self._join.close(len(self._source))
        if (streamed := self._source.streamed) is not None:
            if len(self._sides) == 2:
                self._keys = dict(zip(self._sides, (len(self._source), len(streamed)), strict=True))
            self._source.streamed = None  # what is read again was counted
        return True

    def _read(
        self, side: Side, slots_of: Callable[[Batch], Rows | None]
    ) -> Iterator[tuple[pa.RecordBatch, Rows, Rows, Rows]]:
        """Rows of a side, and of those that have a slot the numbers, the slots and the places."""
        for rows in self._parts[side].read():
            slots = slots_of(batch_of(rows))
            assert slots is not None  # the column is there
            hit = np.flatnonzero(slots >= 0)
            yield rows, row_numbers(rows)[hit], slots[hit], hit

    def _nbytes(self) -> int:
        held = self._source.nbytes + COUNT_BYTES * len(self._source)
        return held + (self._frequency.nbytes if self._frequency else 0)

    def _rows_of(self, marked: Valid) -> Iterator[Slotted]:
        """All rows whose slot is marked, in order."""
        if not marked.any():
            return
        for side in self._sides:
            for _, numbers, slots, _ in self._read(side, self._source.find):
                hit = marked[slots]
                if hit.any():
                    yield side, numbers[hit], slots[hit]

    def sharing(self) -> dict[Side, Rows]:
        """The rows whose key is shared."""
        found: dict[Side, list[Rows]] = {side: [NO_ROWS] for side in self._sides}
        for side, rows, _ in self._rows_of(self._join.shared):
            found[side].append(rows)
        return {side: np.concatenate(rows) for side, rows in found.items()}

    def result(self) -> LevelResult:
        """What the partition yields."""
        marked = self._join.shared | self._join.boilerplate
        return self._join.result(self._rows_of(marked), self._keys)
