"""The keyed levels where keys stand in partitions: each is joined alone, and what they yield adds up.

What is equal stands in one partition. It is held as counts by key: memory grows with its distinct keys, and a
key that stands in millions of rows is one of them. The arithmetic is that of `keyed.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.keys import Keys, Valid, newly_inserted, text_bytes
from lvmfast.leaks import memory
from lvmfast.leaks.cuts import AS_THEY_ARE, Cut, located
from lvmfast.leaks.evidence import NO_POSITION, Evidence, EvidenceBuffer
from lvmfast.leaks.keyed import BOILERPLATE, KeyedResult
from lvmfast.leaks.levels import Level, Side
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.records import keys_of, row_numbers
from lvmfast.leaks.tally import NO_ROWS, Rows, SideTally

#: Bytes per distinct key of a join beside its table: counts, first and second rows of two sides, marks.
COUNT_BYTES = 64
#: A table of keys of so many words: the keys, and slots at a load of 7/8 while the table doubles.
SLOT_BYTES = 18


def joined_bytes(level: Level) -> int:
    """Bytes that the join of a partition holds per row of its indexed side (doc, chunk: of either side)."""
    words = 4 if level == "chunk" else 2
    return 8 * words + SLOT_BYTES + COUNT_BYTES


class Part(Protocol):
    """The rows of one side in one partition."""

    @property
    def schema(self) -> pa.Schema:
        """Of its rows."""
        ...

    def read(self) -> Iterator[pa.RecordBatch]:
        """Its rows, as often as is asked, in the same order."""
        ...


class Slots(Protocol):
    """Numbers for the distinct keys of one partition."""

    def add(self, rows: pa.RecordBatch) -> Rows:
        """The slot of each row of the indexed side, new keys given one."""
        ...

    def find(self, rows: pa.RecordBatch) -> Rows:
        """The slot of each row, -1 where no row with its key was added."""
        ...

    def see(self, rows: pa.RecordBatch) -> None:
        """Counts the distinct keys of the other side, where they are asked for."""
        ...

    @property
    def distinct(self) -> tuple[int, int]:
        """Distinct keys that were added, and that were seen."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ...


class _KeySlots:
    """Slots of 128-bit keys, or of pairs of them."""

    def __init__(self, level: Level, options: ScanOptions) -> None:
        words = 4 if level == "chunk" else 2
        self._table = _core.KeyTable(words, options.threads)
        self._others = None if level == "text" else _core.KeyTable(words, options.threads)

    def add(self, rows: pa.RecordBatch) -> Rows:
        return self._table.insert(keys_of(rows))

    def find(self, rows: pa.RecordBatch) -> Rows:
        return self._table.find(keys_of(rows))

    def see(self, rows: pa.RecordBatch) -> None:
        if self._others is not None:
            self._others.insert(keys_of(rows))

    @property
    def distinct(self) -> tuple[int, int]:
        return len(self._table), len(self._others or ())

    @property
    def nbytes(self) -> int:
        return self._table.nbytes + (self._others.nbytes if self._others else 0)


class _TextSlots:
    """Slots of texts, compared as texts."""

    def __init__(self, options: ScanOptions) -> None:
        self._index = _core.TextIndex(options.normalize, options.min_chars, options.threads)

    def add(self, rows: pa.RecordBatch) -> Rows:
        return self._index.add(*text_bytes(rows.column("text")))

    def find(self, rows: pa.RecordBatch) -> Rows:
        return self._index.find(*text_bytes(rows.column("text")))

    def see(self, rows: pa.RecordBatch) -> None:
        pass

    @property
    def distinct(self) -> tuple[int, int]:
        return len(self._index), 0

    @property
    def nbytes(self) -> int:
        return self._index.nbytes


def key_slots(level: Level, options: ScanOptions) -> Slots:
    """Slots of keys; of texts equal keys are not proof."""
    return _KeySlots(level, options)


def text_slots(options: ScanOptions) -> Slots:
    """Slots of texts."""
    return _TextSlots(options)


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
            self.first = np.append(self.first, np.full(room, np.iinfo(np.int64).max))

    def close(self, slot_count: int) -> None:
        self._grow(slot_count)
        self.count, self.first = self.count[:slot_count], self.first[:slot_count]


class _Frequency:
    """Slots that stand in more than `limit` documents; a slot that does is no longer counted."""

    def __init__(self, limit: int, options: ScanOptions) -> None:
        self._limit = limit
        self._seen = _core.KeyTable(4, options.threads)
        self._documents = NO_ROWS

    def add(self, slots: Rows, documents: Keys) -> None:
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
        above = np.zeros(slot_count, np.bool_)
        above[: len(self._documents)] = self._documents > self._limit
        return above

    @property
    def nbytes(self) -> int:
        return self._seen.nbytes


class Join:
    """The distinct keys of one partition, with what is known of each."""

    def __init__(
        self, sides: Sequence[Side], parts: Mapping[Side, Part], slots: Slots, options: ScanOptions
    ) -> None:
        """Nothing read yet; the indexed side is the first of `sides`."""
        self._sides, self._parts, self._slots, self._options = sides, parts, slots, options
        with_documents = "document" in parts[sides[0]].schema.names and options.max_df is not None
        self._frequency = _Frequency(options.max_df or 0, options) if with_documents else None
        self.counts = {side: _Counts() for side in sides}
        self.keys: dict[Side, int] = {}

    def count(self, budget: int | None) -> bool:
        """Reads the partition; False where its keys take more than `budget` bytes."""
        for side in self._sides:
            for rows in self._parts[side].read():
                indexed = side == self._sides[0]
                if not indexed:
                    self._slots.see(rows)
                slots = self._slots.add(rows) if indexed else self._slots.find(rows)
                hit = np.flatnonzero(slots >= 0)
                self.counts[side].add(row_numbers(rows)[hit], slots[hit], self._slots.distinct[0])
                if self._frequency is not None:
                    self._frequency.add(slots[hit], keys_of(rows, "document")[hit])
                if budget is not None and self._nbytes() > budget:
                    return False
        distinct = self._slots.distinct
        self.keys = dict(zip(self._sides, distinct, strict=False))
        for counts in self.counts.values():
            counts.close(distinct[0])
        shared = [counts.count > 0 for counts in self.counts.values()]
        self.shared: Valid = (
            shared[0] & shared[1] if len(shared) == 2 else self.counts[self._sides[0]].count > 1
        )
        self.boilerplate: Valid = np.zeros(distinct[0], np.bool_)
        if self._frequency is not None:
            self.boilerplate = self.shared & self._frequency.above(distinct[0])
            self.shared &= ~self.boilerplate
        return True

    def _nbytes(self) -> int:
        counted = COUNT_BYTES * self._slots.distinct[0]
        return self._slots.nbytes + counted + (self._frequency.nbytes if self._frequency else 0)

    def rows_of(self, marked: Valid) -> Iterator[tuple[Side, Rows, Rows]]:
        """Side, rows and slots of all rows whose slot is marked, in order."""
        if not marked.any():
            return
        for side in self._sides:
            for rows in self._parts[side].read():
                slots = self._slots.find(rows)
                hit = np.flatnonzero(slots >= 0)
                hit = hit[marked[slots[hit]]]
                if len(hit):
                    yield side, row_numbers(rows)[hit], slots[hit]

    def sharing(self) -> dict[Side, Rows]:
        """The rows whose key is shared."""
        found: dict[Side, list[Rows]] = {side: [NO_ROWS] for side in self._sides}
        for side, rows, _ in self.rows_of(self.shared):
            found[side].append(rows)
        return {side: np.concatenate(rows) for side, rows in found.items()}

    def found(self) -> JoinFound:
        """What the partition yields."""
        within = len(self._sides) == 1
        matched: dict[Side, list[Rows]] = {side: [NO_ROWS] for side in self._sides}
        boilerplate: dict[Side, list[Rows]] = {side: [NO_ROWS] for side in self._sides}
        first = {side: counts.first for side, counts in self.counts.items()}
        second = np.full(len(self.shared) if within else 0, np.iinfo(np.int64).max)
        for side, rows, slots in self.rows_of(self.shared | self.boilerplate):
            shared = self.shared[slots]
            matched[side].append(rows[shared])
            boilerplate[side].append(rows[~shared])
            if within:
                later = rows != first[side][slots]
                np.minimum.at(second, slots[later], rows[later])
        count = {side: counts.count[self.shared] for side, counts in self.counts.items()}
        rows_of = {side: first[side][self.shared] for side in self._sides}
        if within:
            rows_of["eval"], count["eval"] = second[self.shared], count["train"]
        pairs = count["train"] * (count["train"] - 1) // 2 if within else count["train"] * count["eval"]
        none = np.full(len(pairs), NO_POSITION, np.int64)
        matches = Evidence(
            rows_of["train"],
            none,
            rows_of["eval"],
            none,
            np.ones(len(none)),
            count["train"],
            count["eval"],
            pairs,
        )
        return JoinFound(
            self.keys,
            {side: np.concatenate(rows) for side, rows in matched.items()},
            {side: np.concatenate(rows) for side, rows in boilerplate.items()},
            matches.best(self._options.max_pairs),
            len(matches),
            int(pairs.sum()),
        )


@dataclass(frozen=True)
class JoinFound:
    """What one partition yields; `matches` is cut to the evidence limit, nothing else is."""

    keys: Mapping[Side, int]
    matched: Mapping[Side, Rows]
    boilerplate: Mapping[Side, Rows]
    matches: Evidence
    match_count: int
    pairs: int

    def tree(self) -> Cut:
        """As it is sent."""
        return {**vars(self), "matches": self.matches.tree()}

    @classmethod
    def of_tree(cls, tree: Cut) -> JoinFound:
        """As it was sent."""
        return cls(**{**tree, "matches": Evidence.of_tree(tree["matches"])})


class Found:
    """What the partitions yield, added up."""

    def __init__(self, sides: Sequence[Side], options: ScanOptions) -> None:
        """Nothing found yet."""
        self._options, self._buffer = options, EvidenceBuffer(options)
        self._pairs = self._held = 0
        self._keys: dict[Side, int] = dict.fromkeys(sides, 0)
        self._matched: dict[Side, list[Rows]] = {side: [] for side in sides}
        self._boilerplate: dict[Side, list[Rows]] = {side: [] for side in sides}

    def add(self, part: JoinFound) -> None:
        """Adds a partition.

        Raises:
            DataError: there are more matched rows than the memory limit has room for.
        """
        for side in self._keys:
            self._keys[side] += part.keys[side]
            self._matched[side].append(part.matched[side])
            self._boilerplate[side].append(part.boilerplate[side])
            self._held += len(part.matched[side])
        memory.check_matched(self._held, 0, self._options, self._buffer.held)
        self._pairs += part.pairs
        self._buffer.add(part.matches, found=part.match_count)

    def result(
        self, level: Level, tally: Mapping[Side, SideTally], starts: Mapping[Side, Rows] | None = None
    ) -> KeyedResult:
        """What was found; no partition can be added any more.

        Args:
            level: doc, chunk or text.
            tally: counts the rows that went by, and gets those that matched.
            starts: the dataset row at which each file starts, where rows went by numbers (`cuts.numbered`).
        """
        matches = self._buffer.result()
        for side, of_side in tally.items():
            of_files = AS_THEY_ARE if starts is None else starts[side]
            while self._matched[side]:
                of_side.match(located(self._matched[side].pop(0), of_files))
            for rows in self._boilerplate[side]:
                of_side.uncheck_rows(located(rows, of_files), BOILERPLATE)
            matches = matches.relocated(side, of_files)
            if len(tally) == 1:
                matches = matches.relocated("eval", of_files)
        return KeyedResult(
            tally=tally,
            matches=matches,
            match_count=self._buffer.total,
            pairs=self._pairs,
            keys=None if level == "text" else self._keys,
            shared_keys=self._buffer.total,
        )
