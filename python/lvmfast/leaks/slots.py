"""Numbers (slots) for distinct keys and texts, and how rows come to them: the vocabulary of keyed levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Protocol

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.keys import (
    Keys,
    id_keys,
    newly_inserted,
    text_bytes,
)
from lvmfast.corpus.plain import null_rows, without_nulls
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.leaks.cuts import located
from lvmfast.leaks.keyed_by import NO_TEXT, NULL_ID, KeyedBy
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import Rows, SideTally

REASONS: Mapping[int, str] = {-2: "empty_text", -3: "short_text", NULL_ID: "null_id", NO_TEXT: "no_text"}

MISSING_COLUMN = "missing_column"


def documents_of(side: Side, batch: Batch, rows: Rows) -> Keys:
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


def relocated_documents(side: Side, keys: Keys, starts: Rows) -> Keys:
    """Slots with their documents (n, 4), with rows of the dataset where rows without an id had numbers."""
    keys = keys.copy()
    alone = keys[:, 1] == 1 + SIDES.index(side)
    keys[alone, 3] = located(keys[alone, 3].astype(np.int64), starts)
    return keys


def see(tally: SideTally, batch: Batch, slots: Rows | None, reasons: Mapping[int, str] = REASONS) -> Rows:
    """Counts the rows of `batch` and those without a slot; `slots`, with codes where the column lacks."""
    tally.see(batch)
    if slots is None:
        tally.uncheck_all(batch, MISSING_COLUMN)
        return np.full(batch.rows, NULL_ID, np.int64)
    tally.uncheck(batch, slots, reasons)
    return slots


class DistinctKeys:
    """Distinct keys: how many there are, and, where they are kept, which."""

    def __init__(self, words: int, options: ScanOptions, *, kept: bool) -> None:
        """No key yet."""
        self._words, self._options, self._kept = words, options, kept
        self.forget()

    def forget(self) -> None:
        """Begins anew."""
        self._table = _core.KeyTable(self._words, self._options.threads)
        self._new: list[Keys] = []

    def add(self, keys: Keys) -> None:
        """Takes keys (n, words)."""
        known = len(self._table)
        keys = np.ascontiguousarray(keys)
        places = self._table.insert(keys)
        if self._kept:
            self._new.append(keys[newly_inserted(places, known)])

    def keys(self) -> Keys:
        """The keys that are kept, in the order in which they came first."""
        return np.concatenate([np.empty((0, self._words), np.uint64), *self._new])

    def __len__(self) -> int:
        """Distinct keys."""
        return len(self._table)

    @property
    def nbytes(self) -> int:
        """Bytes of the table."""
        return self._table.nbytes


class KeySource(Protocol):
    """Where a keyed level has the slots of rows from."""

    reasons: Mapping[int, str]  #: why a row with this negative slot is not checked
    streamed: DistinctKeys | None  #: keys of the streamed side, where a level counts the distinct ones

    def add(self, batch: Batch) -> Rows | None:
        """The slot of each row, new keys given one; None when the file lacks the column."""
        ...

    def find(self, batch: Batch) -> Rows | None:
        """The slot of each row among the keys that were added, -1 for none."""
        ...

    def __len__(self) -> int:
        """Distinct keys that were added."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        ...


class KeysBeside(KeySource, Protocol):
    """A source in which several threads may look for keys at once."""

    def beside(self) -> KeySource:
        """One with the same keys, that found nothing yet."""
        ...


class HashedRows:
    """Slots of the keys of rows."""

    reasons = REASONS

    def __init__(self, keys: KeyedBy, options: ScanOptions, *, cuts: bool = False) -> None:
        """No key yet; with `cuts` the keys of the streamed side can be taken out."""
        self._keys, self._options = keys, options
        self._table = _core.KeyTable(keys.words, options.threads)
        self.streamed = None if keys.texts else DistinctKeys(keys.words, options, kept=cuts)

    def add(self, batch: Batch) -> Rows | None:
        """The slot of each row, new keys given one; None when the file lacks a column."""
        found = self._keys.of(batch, self._options)
        return None if found is None else _where_valid(*found, self._table.insert)

    def find(self, batch: Batch) -> Rows | None:
        """The slot of each row among the keys that were added, -1 for none."""
        found = self._keys.of(batch, self._options)
        if found is None:
            return None
        if self.streamed is not None:
            keys, codes = found
            self.streamed.add(keys[codes >= 0])
        return _where_valid(*found, self._table.find)

    def beside(self) -> HashedRows:
        """As `KeysBeside.beside`."""
        twin = copy(self)
        if self.streamed is not None:
            twin.streamed = DistinctKeys(self._keys.words, self._options, kept=True)
        return twin

    def __len__(self) -> int:
        """Distinct keys that were added."""
        return len(self._table)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._table.nbytes + (0 if self.streamed is None else self.streamed.nbytes)


def _where_valid(keys: Keys, codes: Rows, slots_of: Callable[[Keys], Rows]) -> Rows:
    valid = codes >= 0
    slots: Rows = codes.copy()
    slots[valid] = slots_of(np.ascontiguousarray(keys[valid]))
    return slots


class TextRows:
    """Slots of normalised texts, compared with the texts themselves."""

    reasons = REASONS
    streamed: DistinctKeys | None = None

    def __init__(self, options: ScanOptions) -> None:
        """No text yet."""
        self._index = _core.TextIndex(options.normalize, options.min_chars, options.threads)

    def add(self, batch: Batch) -> Rows | None:
        """The slot of each row, new texts given one; None when the file has no text."""
        return self._slots(batch, self._index.add)

    def find(self, batch: Batch) -> Rows | None:
        """The slot of each row among the texts that were added, -1 for none."""
        return self._slots(batch, self._index.find)

    def beside(self) -> TextRows:
        """As `KeysBeside.beside`: nothing is kept of what is found."""
        return self

    def _slots(self, batch: Batch, slots_of: Callable[..., Rows]) -> Rows | None:
        if batch.text is None:
            return None
        slots = slots_of(*text_bytes(without_nulls(batch.text)))
        slots[null_rows(batch.text)] = NO_TEXT
        return slots

    def __len__(self) -> int:
        """Distinct texts that were added."""
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._index.nbytes


def slots_by(keys: KeyedBy, options: ScanOptions, *, cuts: bool = False) -> KeySource:
    """Where rows with `keys` have their slots from, no key known yet; `cuts` as for `HashedRows`."""
    return TextRows(options) if keys.texts else HashedRows(keys, options, cuts=cuts)
