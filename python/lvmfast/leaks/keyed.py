"""The levels that compare keys for equality: doc, chunk and text.

One side is indexed: each distinct key gets a slot. The other side streams past and is looked up. Both sides
are then counted by slot, with multiplicity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.keys import Keys, Valid, id_keys, newly_inserted, pair_keys, text_bytes
from lvmfast.leaks.cuts import AS_THEY_ARE, Cut, located
from lvmfast.leaks.evidence import NO_POSITION, Evidence, Named
from lvmfast.leaks.levels import SIDES, Level, Side, other_side
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import NO_ROWS, Rows, SideTally, first_rows, together

NULL_ID = -4
NO_TEXT = -5

REASONS: Mapping[int, str] = {-2: "empty_text", -3: "short_text", NULL_ID: "null_id", NO_TEXT: "no_text"}
MISSING_COLUMN = "missing_column"
BOILERPLATE = "boilerplate"


class KeySource(Protocol):
    """Where a keyed level has the slots of rows from."""

    reasons: Mapping[int, str]  #: why a row with this negative slot is not checked

    def add(self, batch: Batch) -> Rows | None:
        """The slot of each row, new keys given one; None when the file lacks the column."""
        ...

    def find(self, batch: Batch) -> Rows | None:
        """The slot of each row among the keys that were added, -1 for none."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ...


class IdKeys:
    """Slots of document ids, or of (document, chunk) pairs."""

    reasons = REASONS

    def __init__(self, level: Level, options: ScanOptions, *, cuts: bool = False) -> None:
        """No key yet; with `cuts` the keys of the streamed side can be taken out."""
        self._level, self._options = level, options
        self._table = self._no_keys()
        #: every key of the streamed side, to count the distinct ones
        self._streamed = self._no_keys()
        self._new: list[Keys] | None = [] if cuts else None
        self._restored = 0

    def _no_keys(self) -> _core.KeyTable:
        return _core.KeyTable(2 if self._level == "doc" else 4, self._options.threads)

    def _keys(self, batch: Batch) -> tuple[Keys, Valid] | None:
        if batch.doc_id is None:
            return None
        if self._level == "doc":
            return id_keys(batch.doc_id)
        return None if batch.chunk_id is None else pair_keys(batch.doc_id, batch.chunk_id)

    def add(self, batch: Batch) -> Rows | None:
        """The slot of each row, new keys given one; None when the file lacks a column."""
        keys = self._keys(batch)
        return None if keys is None else _where_valid(*keys, self._table.insert)

    def find(self, batch: Batch) -> Rows | None:
        """The slot of each row among the keys that were added, -1 for none."""
        keys = self._keys(batch)
        if keys is None:
            return None
        seen, known = np.ascontiguousarray(keys[0][keys[1]]), len(self._streamed)
        places = self._streamed.insert(seen)
        if self._new is not None:
            self._new.append(seen[newly_inserted(places, known)])
        return _where_valid(*keys, self._table.find)

    def cut(self) -> Keys:
        """The distinct keys (n, 2 or 4) that were streamed; none is left."""
        width = 2 if self._level == "doc" else 4
        keys = np.concatenate([np.empty((0, width), np.uint64), *(self._new or [])])
        self._new, self._streamed = [], self._no_keys()
        return keys

    def fold(self, keys: Keys) -> None:
        """Counts distinct keys that were streamed elsewhere."""
        self._streamed.insert(np.ascontiguousarray(keys))

    def restore(self, indexed: int) -> None:
        """Takes so many keys for indexed, of which only the number matters any more."""
        self._restored = indexed

    @property
    def distinct(self) -> tuple[int, int]:
        """Distinct keys of the indexed and of the streamed side."""
        return len(self._table) or self._restored, len(self._streamed)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._table.nbytes + self._streamed.nbytes


def _where_valid(keys: Keys, valid: Valid, slots_of: Callable[[Keys], Rows]) -> Rows:
    slots = np.full(len(valid), NULL_ID, np.int64)
    slots[valid] = slots_of(np.ascontiguousarray(keys[valid]))
    return slots


class TextKeys:
    """Slots of normalised texts, compared with the texts themselves."""

    reasons = REASONS

    def __init__(self, options: ScanOptions) -> None:
        """No text yet."""
        self._index = _core.TextIndex(options.normalize, options.min_chars, options.threads)

    def add(self, batch: Batch) -> Rows | None:
        """The slot of each row, new texts given one; None when the file has no text."""
        return self._slots(batch, self._index.add)

    def find(self, batch: Batch) -> Rows | None:
        """The slot of each row among the texts that were added, -1 for none."""
        return self._slots(batch, self._index.find)

    def _slots(self, batch: Batch, slots_of: Callable[..., Rows]) -> Rows | None:
        if batch.text is None:
            return None
        slots = slots_of(*text_bytes(batch.text.fill_null("")))
        slots[batch.text.is_null().to_numpy(zero_copy_only=False)] = NO_TEXT
        return slots

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._index.nbytes


@dataclass(frozen=True)
class KeyedResult:
    """What a keyed level found; `matches` is cut to the evidence limit, nothing else is."""

    tally: Mapping[Side, SideTally]
    matches: Evidence
    match_count: int
    pairs: int
    keys: Mapping[Side, int] | None
    shared_keys: int

    def state(self) -> Cut:
        """As a journal keeps it."""
        return {
            "tally": {side: tally.state() for side, tally in self.tally.items()},
            "matches": self.matches.tree(),
            "match_count": self.match_count,
            "pairs": self.pairs,
            "keys": None if self.keys is None else dict(self.keys),
            "shared_keys": self.shared_keys,
        }

    @classmethod
    def resumed(cls, files: Mapping[Side, int], state: Cut) -> KeyedResult:
        """What a journal kept; `files` counts those of each side."""
        tally = {side: SideTally.resumed(files[side], of) for side, of in state["tally"].items()}
        return cls(**{**state, "tally": tally, "matches": Evidence.of_tree(state["matches"])})


class DocumentFrequency:
    """In how many documents each slot stands, over both sides; a row without an id is its own document."""

    def __init__(self, options: ScanOptions) -> None:
        """No document yet."""
        self._options = options
        self._seen = _core.KeyTable(4, options.threads)
        self._keys: dict[Side, list[Keys]] = {side: [] for side in SIDES}
        self._folded = False

    def see(self, side: Side, batch: Batch, slots: Rows) -> None:
        """Counts the rows of `batch` that have a slot."""
        rows = np.flatnonzero(slots >= 0)
        keys = np.zeros((len(rows), 4), np.uint64)
        keys[:, 0] = slots[rows]
        keys[:, 1] = 1 + SIDES.index(side)
        keys[:, 3] = batch.start + rows
        if batch.doc_id is not None:
            docs, valid = id_keys(batch.doc_id)
            docs, valid = docs[rows], valid[rows]
            keys[valid, 1] = 0
            keys[valid, 2:] = docs[valid]
        known = len(self._seen)
        places = self._seen.insert(keys)
        self._keys[side].append(keys[newly_inserted(places, known)])

    def seen(self, side: Side) -> Keys:
        """A key (n, 4) for each slot and document that the rows of `side` brought first."""
        return np.concatenate([np.empty((0, 4), np.uint64), *self._keys[side]])

    def cut(self, side: Side) -> Keys:
        """`seen`, and forgets it: what comes next is counted anew."""
        keys = self.seen(side)
        self._keys[side], self._seen = [], _core.KeyTable(4, self._options.threads)
        return keys

    def fold(self, side: Side, keys: Keys, starts: Rows) -> None:
        """Adds what was cut elsewhere, given the dataset row at which each file starts."""
        keys = keys.copy()
        rows = keys[:, 1] == 1 + SIDES.index(side)  # of no document but themselves
        keys[rows, 3] = located(keys[rows, 3].astype(np.int64), starts)
        self._keys[side].append(keys)
        self._folded = True

    def above(self, limit: int, slot_count: int) -> Valid:
        """Whether each slot stands in more than `limit` documents."""
        keys = np.concatenate([self.seen(side) for side in SIDES])
        if self._folded:  # a document of one cut can be in another, too
            distinct = _core.KeyTable(4, self._options.threads).insert(keys)
            keys = keys[newly_inserted(distinct, 0)]
        frequency = np.bincount(keys[:, 0].astype(np.int64), minlength=slot_count)
        return np.asarray(frequency > limit)


def see(tally: SideTally, batch: Batch, slots: Rows | None, reasons: Mapping[int, str] = REASONS) -> Rows:
    """Counts the rows of `batch` and those without a slot; `slots`, with codes where the column lacks."""
    tally.see(batch)
    if slots is None:
        tally.uncheck_all(batch, MISSING_COLUMN)
        return np.full(batch.rows, NULL_ID, np.int64)
    tally.uncheck(batch, slots, reasons)
    return slots


class KeyedLevel:
    """One keyed level over two sides."""

    def __init__(
        self,
        level: Level,
        indexed: Side,
        files: Mapping[Side, int],
        options: ScanOptions,
        source: KeySource | None = None,
        *,
        cuts: bool = False,
    ) -> None:
        """Nothing read yet; `indexed` names the side that `index` gets. With `cuts` the rest can be cut."""
        self.level = level
        self._indexed: Side = indexed
        self._streamed: Side = other_side(indexed)
        self._options = options
        self._source = source or (TextKeys(options) if level == "text" else IdKeys(level, options, cuts=cuts))
        self._tally = {side: SideTally(n) for side, n in files.items()}
        self._frequency = (
            DocumentFrequency(options) if level == "text" and options.max_df is not None else None
        )
        self._index_slots: list[Rows] = []
        self._stream_rows: list[Rows] = []
        self._stream_slots: list[Rows] = []
        #: Streamed rows held that matched.
        self.matched = 0

    @property
    def nbytes(self) -> int:
        """Bytes held by the index."""
        return self._source.nbytes + sum(a.nbytes for a in self._index_slots)

    def index(self, batch: Batch) -> None:
        """Takes the next rows of the indexed side."""
        slots = self._see(self._indexed, batch, self._source.add(batch))
        self._index_slots.append(slots)

    def stream(self, batch: Batch) -> None:
        """Takes the next rows of the streamed side."""
        slots = self._see(self._streamed, batch, self._source.find(batch))
        hit = np.flatnonzero(slots >= 0)
        if len(hit):
            self._stream_rows.append(batch.start + hit)
            self._stream_slots.append(slots[hit])
            self.matched += len(hit)

    def indexed(self) -> Cut:
        """What the indexed side is for `result`; it stays."""
        tally = self._tally[self._indexed]
        tree: Cut = {"tally": tally.cut(), "slots": np.concatenate(self._index_slots or [NO_ROWS])}
        tally.fold(tree["tally"], AS_THEY_ARE)
        if isinstance(self._source, IdKeys):
            tree["keys"] = self._source.distinct[0]
        if self._frequency is not None:
            tree["documents"] = self._frequency.seen(self._indexed)
        return tree

    def restore(self, tree: Cut) -> None:
        """Takes the place of a level that indexed what `indexed` tells of."""
        self._tally[self._indexed].fold(tree["tally"], AS_THEY_ARE)
        self._index_slots = [tree["slots"]]
        if isinstance(self._source, IdKeys):
            self._source.restore(tree["keys"])
        if self._frequency is not None:
            self._frequency.fold(self._indexed, tree["documents"], AS_THEY_ARE)

    def cut(self) -> Cut:
        """What was streamed since the last cut; nothing of it is left."""
        tree: Cut = {
            "tally": self._tally[self._streamed].cut(),
            "rows": np.concatenate(self._stream_rows or [NO_ROWS]),
            "slots": np.concatenate(self._stream_slots or [NO_ROWS]),
        }
        self._stream_rows, self._stream_slots, self.matched = [], [], 0
        if isinstance(self._source, IdKeys):
            tree["keys"] = self._source.cut()
        if self._frequency is not None:
            tree["documents"] = self._frequency.cut(self._streamed)
        return tree

    def fold(self, tree: Cut, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        self._tally[self._streamed].fold(tree["tally"], starts)
        self._stream_rows.append(located(tree["rows"], starts))
        self._stream_slots.append(tree["slots"])
        self.matched += len(tree["slots"])
        if isinstance(self._source, IdKeys):
            self._source.fold(tree["keys"])
        if self._frequency is not None:
            self._frequency.fold(self._streamed, tree["documents"], starts)

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

    def _see(self, side: Side, batch: Batch, slots: Rows | None) -> Rows:
        coded = see(self._tally[side], batch, slots, self._source.reasons)
        if self._frequency is not None:
            self._frequency.see(side, batch, coded)
        return coded

    def result(self) -> KeyedResult:
        """What was found, once both sides went by."""
        slots = {
            self._indexed: together(self._index_slots or [NO_ROWS]),
            self._streamed: together(self._stream_slots or [NO_ROWS]),
        }
        rows = {
            self._indexed: np.flatnonzero(slots[self._indexed] >= 0),
            self._streamed: together(self._stream_rows or [NO_ROWS]),
        }
        slots[self._indexed] = slots[self._indexed][rows[self._indexed]]
        slot_count = int(slots[self._indexed].max(initial=-1)) + 1
        count = {side: np.bincount(slots[side], minlength=slot_count) for side in slots}
        shared = (count["train"] > 0) & (count["eval"] > 0)
        if self._frequency is not None and self._options.max_df is not None:
            boilerplate = shared & self._frequency.above(self._options.max_df, slot_count)
            shared &= ~boilerplate
            for side in slots:
                self._tally[side].uncheck_rows(rows[side][boilerplate[slots[side]]], BOILERPLATE)
        first = {}
        for side in slots:
            is_shared = shared[slots[side]]
            matched = rows[side] if is_shared.all() else rows[side][is_shared]
            self._tally[side].match(matched)
            first[side] = first_rows(rows[side], slots[side], slot_count)[shared]
        matches = _evidence(first, {side: count[side][shared] for side in count})
        return KeyedResult(
            tally=self._tally,
            matches=matches.best(self._options.max_pairs).sorted(),
            match_count=len(matches),
            pairs=int(matches.pairs.sum()),
            keys=self._key_counts(),
            shared_keys=int(shared.sum()),
        )

    def _key_counts(self) -> Mapping[Side, int] | None:
        if not isinstance(self._source, IdKeys):
            return None
        indexed, streamed = self._source.distinct
        return {self._indexed: indexed, self._streamed: streamed}


def _evidence(first: Mapping[Side, Rows], count: Mapping[Side, Rows]) -> Evidence:
    none = np.full(len(first["train"]), NO_POSITION, np.int64)
    return Evidence(
        train_row=first["train"],
        train_position=none,
        eval_row=first["eval"],
        eval_position=none,
        score=np.ones(len(none)),
        train_count=count["train"],
        eval_count=count["eval"],
        pairs=count["train"] * count["eval"],
    )


class TextDuplicates:
    """The text level inside one split: every text that stands in more than one row."""

    def __init__(self, files: int, options: ScanOptions) -> None:
        """Nothing read yet."""
        self.level: Level = "text"
        self._options = options
        self._source = TextKeys(options)
        self._tally = SideTally(files)
        self._frequency = DocumentFrequency(options) if options.max_df is not None else None
        self._slots: list[Rows] = []

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._source.nbytes + sum(a.nbytes for a in self._slots)

    def index(self, batch: Batch) -> None:
        """Takes the next rows."""
        self._slots.append(see(self._tally, batch, self._source.add(batch)))
        if self._frequency is not None:
            self._frequency.see("train", batch, self._slots[-1])

    def result(self) -> KeyedResult:
        """What was found, once every row went by."""
        slots = np.concatenate(self._slots or [NO_ROWS])
        rows = np.flatnonzero(slots >= 0)
        slots = slots[rows]
        slot_count = int(slots.max(initial=-1)) + 1
        count = np.bincount(slots, minlength=slot_count)
        repeated = count > 1
        if self._frequency is not None and self._options.max_df is not None:
            boilerplate = repeated & self._frequency.above(self._options.max_df, slot_count)
            repeated &= ~boilerplate
            self._tally.uncheck_rows(rows[boilerplate[slots]], BOILERPLATE)
        matched = rows[repeated[slots]]
        self._tally.match(matched)
        first = first_rows(rows, slots, slot_count)
        later = rows != first[slots]
        second = first_rows(rows[later], slots[later], slot_count)
        counts = count[repeated]
        matches = replace(
            _evidence(
                {"train": first[repeated], "eval": second[repeated]}, {"train": counts, "eval": counts}
            ),
            pairs=counts * (counts - 1) // 2,
        )
        return KeyedResult(
            tally={"train": self._tally},
            matches=matches.best(self._options.max_pairs).sorted(),
            match_count=len(matches),
            pairs=int(matches.pairs.sum()),
            keys=None,
            shared_keys=len(matches),
        )
