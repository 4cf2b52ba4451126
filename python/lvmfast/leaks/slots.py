"""Numbers (slots) for distinct keys and texts, and how rows come to them: the vocabulary of keyed levels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.keys import (
    Keys,
    id_keys,
    is_keys,
    keys_of_array,
    newly_inserted,
    pair_keys,
    text_bytes,
)
from lvmfast.leaks.cuts import located
from lvmfast.leaks.levels import SIDES, Level, Side
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import Rows, SideTally

NULL_ID = -4
NO_TEXT = -5

REASONS: Mapping[int, str] = {-2: "empty_text", -3: "short_text", NULL_ID: "null_id", NO_TEXT: "no_text"}

MISSING_COLUMN = "missing_column"


def words_of(level: Level) -> int:
    """Words of a key of the level doc, chunk or text."""
    return 4 if level == "chunk" else 2


def keys_of_batch(level: Level, batch: Batch, options: ScanOptions) -> tuple[Keys, Rows] | None:
    """The key of each row (n, 2 or 4), and 0 or the negative code of why it has none.

    Of texts it is the hash of what normalisation leaves of them. None where the file lacks a column.
    """
    if level == "text":
        return None if batch.text is None else text_keys(batch.text, options)
    if batch.doc_id is None or (level == "chunk" and batch.chunk_id is None):
        return None
    keys, valid = id_keys(batch.doc_id) if level == "doc" else pair_keys(batch.doc_id, batch.chunk_id)
    return keys, np.where(valid, 0, NULL_ID)


def text_keys(text: pa.Array, options: ScanOptions) -> tuple[Keys, Rows]:
    """As `keys_of_batch`, of texts or of what a fingerprint keeps of them."""
    if is_keys(text):
        keys = keys_of_array(text)
    else:
        data, offsets = text_bytes(text.fill_null(""))
        keys = _core.text_keys(data, offsets, options.normalize, options.min_chars, options.threads)
    codes = np.where(keys[:, 0] == 0, -keys[:, 1].astype(np.int64), 0)
    codes[text.is_null().to_numpy(zero_copy_only=False)] = NO_TEXT
    return keys, codes


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


class HashedRows:
    """Slots of document ids, of (document, chunk) pairs, or of hashes of texts."""

    reasons = REASONS

    def __init__(self, level: Level, options: ScanOptions, *, cuts: bool = False) -> None:
        """No key yet; with `cuts` the keys of the streamed side can be taken out."""
        self._level, self._options = level, options
        self._table = _core.KeyTable(words_of(level), options.threads)
        self.streamed = None if level == "text" else DistinctKeys(words_of(level), options, kept=cuts)

    def add(self, batch: Batch) -> Rows | None:
        """The slot of each row, new keys given one; None when the file lacks a column."""
        found = keys_of_batch(self._level, batch, self._options)
        return None if found is None else _where_valid(*found, self._table.insert)

    def find(self, batch: Batch) -> Rows | None:
        """The slot of each row among the keys that were added, -1 for none."""
        found = keys_of_batch(self._level, batch, self._options)
        if found is None:
            return None
        if self.streamed is not None:
            keys, codes = found
            self.streamed.add(keys[codes >= 0])
        return _where_valid(*found, self._table.find)

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

    def _slots(self, batch: Batch, slots_of: Callable[..., Rows]) -> Rows | None:
        if batch.text is None:
            return None
        slots = slots_of(*text_bytes(batch.text.fill_null("")))
        slots[batch.text.is_null().to_numpy(zero_copy_only=False)] = NO_TEXT
        return slots

    def __len__(self) -> int:
        """Distinct texts that were added."""
        return len(self._index)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._index.nbytes
