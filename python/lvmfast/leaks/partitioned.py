"""The keyed levels where neither side fits in memory: both are parted by the hash of their keys, on disk.

What is equal stands in one partition, so a partition is joined alone, with the arithmetic of `keyed.py`, and
what the partitions yield adds up. A partition is read block by block and held as counts by key: memory grows
with its distinct keys, and a key that stands in millions of rows is one of them.

Of texts only the 128-bit keys are parted at first (24 bytes a row). The rows whose key is shared are then
read again, and their texts parted and compared as texts, so that a match is an equality here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvmfast import _core
from lvmfast.corpus.blocks import ahead
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.keys import Keys, Valid, id_keys, newly_inserted, pair_keys, text_bytes
from lvmfast.leaks import memory
from lvmfast.leaks.evidence import NO_POSITION, Evidence, EvidenceBuffer
from lvmfast.leaks.keyed import BOILERPLATE, NO_TEXT, NULL_ID, KeyedResult, see
from lvmfast.leaks.levels import SIDES, Level, Side
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.spill import MOST_PARTITIONS, Spill, key_hashes
from lvmfast.leaks.tally import NO_ROWS, Rows, SideTally

#: Bytes per distinct key of a join beside its table: counts, first and second rows of two sides, marks.
COUNT_BYTES = 64
#: A table of keys of so many words: the keys, and slots at a load of 7/8 while the table doubles.
SLOT_BYTES = 18
#: The largest partition is this much larger than the mean, at most, while keys are many.
UNEVEN = 1.3
#: A partition that still is too large after so many splits holds keys that no hash tells apart.
DEEPEST = 6
SPLIT_AGAIN = 16

#: Rows of one side again: those asked for, ascending, and others of their blocks.
Again = Callable[[Side, Rows], Iterable[Batch]]


def joined_bytes(level: Level) -> int:
    """Bytes that the join of a partition holds per row of its indexed side (doc, chunk: of either side)."""
    words = 4 if level == "chunk" else 2
    return 8 * words + SLOT_BYTES + COUNT_BYTES


class PartitionedLevel:
    """The level doc, chunk or text over two sides, or text over one, within a budget of memory.

    Both sides go by once, in any order of sides; `result` then joins.
    """

    def __init__(
        self,
        level: Level,
        sides: Sequence[Side],
        files: Mapping[Side, int],
        rows: Mapping[Side, int],
        options: ScanOptions,
        folder: Path,
        budget: int,
    ) -> None:
        """`sides` are the indexed and the streamed one, or ``train`` alone; `rows` estimates their rows.

        Args:
            level: doc, chunk or text.
            sides: the side that is indexed, then the other.
            files: files of each side.
            rows: rows of each side, about.
            options: of the scan.
            folder: where the partitions stand.
            budget: bytes that the join of a partition may hold.

        Raises:
            DataError: the partitions cannot be written, here and wherever rows are taken.
        """
        self.level: Level = level
        self._sides, self._options, self._folder, self._budget = tuple(sides), options, folder, budget
        self._tally = {side: SideTally(files[side]) for side in SIDES if side in sides}
        need = joined_bytes(level) * (sum(rows.values()) if level != "text" else rows[sides[0]])
        self.partitions = max(1, min(MOST_PARTITIONS, int(UNEVEN * need / budget) + 1))
        schema = pa.schema([("row", pa.int64()), ("key", pa.binary(32 if level == "chunk" else 16))])
        self._spills = {side: self._spill(f"{level}-{side}", schema, self.partitions) for side in sides}
        self._text_bytes = self._texts = 0

    def _spill(self, name: str, schema: pa.Schema, partitions: int) -> Spill:
        return Spill(self._folder, name, schema, partitions, self._options.block_bytes // 2)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(spill.nbytes for spill in self._spills.values())

    def take(self, side: Side, batch: Batch) -> None:
        """Takes the next rows of a side."""
        found = self._keys(batch)
        if found is None:
            see(self._tally[side], batch, None)
            return
        keys, codes = found
        see(self._tally[side], batch, codes)
        rows = np.flatnonzero(codes >= 0)
        self._write(self._spills[side], batch.start + rows, np.ascontiguousarray(keys[rows]))

    def _write(self, spill: Spill, rows: Rows, keys: Keys, **more: pa.Array) -> None:
        columns = {"row": pa.array(rows), "key": fixed(keys), **more}
        spill.add(key_hashes(keys, 0), pa.RecordBatch.from_pydict(columns))

    def _keys(self, batch: Batch) -> tuple[Keys, Rows] | None:
        """The key of each row, and a negative code where it cannot be checked; None without the column."""
        if self.level == "text":
            return None if batch.text is None else self._text_keys(batch.text)
        if batch.doc_id is None or (self.level == "chunk" and batch.chunk_id is None):
            return None
        keys, valid = (
            id_keys(batch.doc_id) if self.level == "doc" else pair_keys(batch.doc_id, batch.chunk_id)
        )
        return keys, np.where(valid, 0, NULL_ID)

    def _text_keys(self, text: pa.Array) -> tuple[Keys, Rows]:
        options = self._options
        data, offsets = text_bytes(pc.fill_null(text, ""))
        keys = _core.text_keys(data, offsets, options.normalize, options.min_chars, options.threads)
        codes = np.where(keys[:, 0] == 0, -keys[:, 1].astype(np.int64), 0)
        codes[text.is_null().to_numpy(zero_copy_only=False)] = NO_TEXT
        self._text_bytes += int(offsets[-1] - offsets[0])
        self._texts += len(text)
        return keys, codes

    def result(
        self, again: Again, joined: Callable[[str, int, int], None] = lambda phase, done, of: None
    ) -> KeyedResult:
        """What was found, once every row went by; `joined` is told of partitions that are done.

        Args:
            again: reads rows once more, for texts that are to be compared.
            joined: (phase, partitions done, of how many).
        """
        found = _Found(self._tally, self._sides, self._options)
        if self.level != "text":
            self._join_all(self._spills, self._id_slots, f"join {self.level}", joined, found.add)
            return found.result(self.level)
        candidates: dict[Side, list[Rows]] = {side: [NO_ROWS] for side in self._sides}

        def name_candidates(join: _Join) -> None:
            for side, rows, _ in join.rows_of(join.shared):
                candidates[side].append(rows)

        self._join_all(self._spills, self._id_slots, "join text", joined, name_candidates)
        wanted = {side: np.sort(np.concatenate(candidates.pop(side))) for side in self._sides}
        if any(len(rows) for rows in wanted.values()):
            texts = self._spill_texts(wanted, again)
            del wanted
            self._join_all(texts, self._text_slots, "compare text", joined, found.add)
        return found.result(self.level)

    def _spill_texts(self, candidates: Mapping[Side, Rows], again: Again) -> dict[Side, Spill]:
        """The texts of the rows that share a key, in partitions of their own."""
        each = self._text_bytes // max(1, self._texts) + joined_bytes("text")
        need = UNEVEN * len(candidates[self._sides[0]]) * each
        partitions = max(1, min(MOST_PARTITIONS, int(need / self._budget) + 1))
        schema = pa.schema([("row", pa.int64()), ("key", pa.binary(16)), ("text", pa.large_string())])
        if self._options.max_df is not None:
            schema = schema.append(pa.field("document", pa.binary(24)))
        spills = {side: self._spill(f"{side}-texts", schema, partitions) for side in self._sides}
        for side, wanted in candidates.items():
            for batch in again(side, wanted):
                low, high = np.searchsorted(wanted, (batch.start, batch.start + batch.rows))
                rows = wanted[low:high] - batch.start
                assert batch.text is not None  # the rows were read before
                text = batch.text.take(pa.array(rows))
                more = {"text": text}
                if self._options.max_df is not None:
                    more["document"] = fixed(_documents(side, batch, rows))
                self._write(spills[side], wanted[low:high], self._text_keys(text)[0], **more)
        return spills

    def _id_slots(self) -> Slots:
        return _KeySlots(4 if self.level == "chunk" else 2, self.level != "text", self._options)

    def _text_slots(self) -> Slots:
        return _TextSlots(self._options)

    def _join_all(
        self,
        spills: Mapping[Side, Spill],
        slots: Callable[[], Slots],
        phase: str,
        joined: Callable[[str, int, int], None],
        use: Callable[[_Join], None],
    ) -> None:
        """Calls `use` with the join of every partition; only one is alive at a time."""
        for spill in spills.values():
            spill.close()
        partitions = len(next(iter(spills.values())).rows)
        joined(phase, 0, partitions)
        for place in range(partitions):
            self._join({side: Part(spill, place) for side, spill in spills.items()}, slots, 0, use)
            joined(phase, place + 1, partitions)

    def _join(
        self, parts: Mapping[Side, Part], slots: Callable[[], Slots], depth: int, use: Callable[[_Join], None]
    ) -> None:
        join: _Join | None = _Join(self._sides, parts, slots(), self._options)
        assert join is not None
        if join.count(self._budget if depth < DEEPEST else None):
            use(join)
        else:
            join = None  # its memory is needed by the joins of the smaller parts
            for smaller in self._split(parts, depth + 1):
                self._join(smaller, slots, depth + 1, use)
        for part in parts.values():
            part.remove()

    def _split(self, parts: Mapping[Side, Part], depth: int) -> Iterator[dict[Side, Part]]:
        """The rows of a partition in smaller ones, by another hash."""
        spills: dict[Side, Spill] = {}
        for side, part in parts.items():
            spill = self._spill(f"{part.name}-again", part.schema, SPLIT_AGAIN)
            for rows in part.read():
                spill.add(key_hashes(keys_of(rows), depth), rows)
            spill.close()
            spills[side] = spill
        for place in range(SPLIT_AGAIN):
            yield {side: Part(spill, place) for side, spill in spills.items()}


def fixed(words: npt.NDArray[np.uint64]) -> pa.Array:
    """The rows of a (n, width) array as values of so many bytes."""
    return pa.Array.from_buffers(pa.binary(8 * words.shape[1]), len(words), [None, pa.py_buffer(words)])


def keys_of(rows: pa.RecordBatch, column: str = "key") -> Keys:
    """The words (n, width) behind `fixed`."""
    array = rows.column(column)
    width = array.type.byte_width // 8
    words = np.frombuffer(array.buffers()[1], np.uint64).reshape(-1, width)
    return words[array.offset : array.offset + len(array)]


def _documents(side: Side, batch: Batch, rows: Rows) -> Keys:
    """Three words (n, 3) for the document of each row; a row without an id is its own document."""
    words = np.zeros((len(rows), 3), np.uint64)
    words[:, 0] = 1 + SIDES.index(side)
    words[:, 2] = batch.start + rows
    if batch.doc_id is not None:
        docs, valid = id_keys(batch.doc_id)
        docs, valid = docs[rows], valid[rows]
        words[valid, 0] = 0
        words[valid, 1:] = docs[valid]
    return words


@dataclass(frozen=True)
class Part:
    """One partition of a spill."""

    spill: Spill
    place: int

    @property
    def name(self) -> str:
        """A name for files made from it."""
        return f"{self.spill.name}-{self.place}"

    @property
    def schema(self) -> pa.Schema:
        """Of its rows."""
        return self.spill.schema

    def read(self) -> Iterator[pa.RecordBatch]:
        """Its rows, the next ones read while the last are dealt with."""
        return ahead(self.spill.read(self.place))

    def remove(self) -> None:
        """Gives its space back."""
        self.spill.remove(self.place)


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

    def __init__(self, words: int, count_others: bool, options: ScanOptions) -> None:
        self._table = _core.KeyTable(words, options.threads)
        self._others = _core.KeyTable(words, options.threads) if count_others else None

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


class _Join:
    """The distinct keys of one partition, with what is known of each."""

    def __init__(
        self, sides: Sequence[Side], parts: Mapping[Side, Part], slots: Slots, options: ScanOptions
    ) -> None:
        self._sides, self._parts, self._slots = sides, parts, slots
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


def row_numbers(rows: pa.RecordBatch) -> Rows:
    """The column `row`."""
    numbers: Rows = rows.column("row").to_numpy()
    return numbers


class _Found:
    """What the partitions yield, added up."""

    def __init__(self, tally: Mapping[Side, SideTally], sides: Sequence[Side], options: ScanOptions) -> None:
        self._tally, self._sides = tally, sides
        self._options, self._buffer = options, EvidenceBuffer(options.max_pairs)
        self._pairs = self._matched = 0
        self._keys: dict[Side, int] = dict.fromkeys(sides, 0)

    def add(self, join: _Join) -> None:
        for side, keys in join.keys.items():
            self._keys[side] += keys
        within = len(self._sides) == 1
        first = {side: counts.first for side, counts in join.counts.items()}
        second = np.full(len(join.shared) if within else 0, np.iinfo(np.int64).max)
        for side, rows, slots in join.rows_of(join.shared | join.boilerplate):
            shared = join.shared[slots]
            self._tally[side].match(rows[shared])
            self._matched += int(np.count_nonzero(shared))
            self._tally[side].uncheck_rows(rows[~shared], BOILERPLATE)
            if within:
                later = rows != first[side][slots]
                np.minimum.at(second, slots[later], rows[later])
            memory.check_matched(self._matched, 0, self._options)
        count = {side: counts.count[join.shared] for side, counts in join.counts.items()}
        rows_of = {side: first[side][join.shared] for side in self._sides}
        if within:
            rows_of["eval"], count["eval"] = second[join.shared], count["train"]
        pairs = count["train"] * (count["train"] - 1) // 2 if within else count["train"] * count["eval"]
        self._pairs += int(pairs.sum())
        none = np.full(len(pairs), NO_POSITION, np.int64)
        self._buffer.add(
            Evidence(
                rows_of["train"],
                none,
                rows_of["eval"],
                none,
                np.ones(len(none)),
                count["train"],
                count["eval"],
                pairs,
            )
        )

    def result(self, level: Level) -> KeyedResult:
        return KeyedResult(
            tally=self._tally,
            matches=self._buffer.result(),
            match_count=self._buffer.total,
            pairs=self._pairs,
            keys=None if level == "text" else self._keys,
            shared_keys=self._buffer.total,
        )
