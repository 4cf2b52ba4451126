"""Rows as they are parted by the hash of their keys: numbers and keys, later texts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.keys import Keys, id_keys, pair_keys, text_bytes
from lvmfast.leaks.keyed import NO_TEXT, NULL_ID, see
from lvmfast.leaks.levels import SIDES, Level, Side
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import Rows, SideTally


class Records:
    """Rows as they are parted: their numbers and keys at one level, and later their texts."""

    def __init__(self, level: Level, options: ScanOptions) -> None:
        """Nothing read yet."""
        self._level, self._options = level, options
        #: texts that were read, and their bytes
        self.texts = self.text_bytes = 0

    @property
    def schema(self) -> pa.Schema:
        """Of rows with their keys."""
        key = pa.binary(32 if self._level == "chunk" else 16)
        return pa.schema([("row", pa.int64()), ("key", key)])

    @property
    def text_schema(self) -> pa.Schema:
        """Of rows with their texts."""
        schema = self.schema.append(pa.field("text", pa.large_string()))
        if self._options.max_df is None:
            return schema
        return schema.append(pa.field("document", pa.binary(24)))

    def of(self, batch: Batch, tally: SideTally) -> tuple[Keys, pa.RecordBatch]:
        """The rows that can be checked, and their keys; all are counted in `tally`."""
        found = self._keys(batch)
        keys, codes = found if found is not None else (np.empty((batch.rows, 0), np.uint64), None)
        rows = np.flatnonzero(see(tally, batch, codes) >= 0)
        keys = np.ascontiguousarray(keys[rows])
        if len(rows) == 0:
            return keys, pa.RecordBatch.from_pylist([], self.schema)
        columns = [pa.array(batch.start + rows), fixed(keys)]
        return keys, pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def of_texts(self, side: Side, batch: Batch, rows: Rows) -> tuple[Keys, pa.RecordBatch]:
        """The `rows` of a batch with their texts, and their keys."""
        assert batch.text is not None  # the rows were read before
        text = batch.text.take(pa.array(rows))
        keys = self._text_keys(text)[0]
        columns = [pa.array(batch.start + rows), fixed(keys), text]
        if self._options.max_df is not None:
            columns.append(fixed(_documents(side, batch, rows)))
        return keys, pa.RecordBatch.from_arrays(columns, schema=self.text_schema)

    def _keys(self, batch: Batch) -> tuple[Keys, Rows] | None:
        """The key of each row, and a negative code where it cannot be checked; None without the column."""
        if self._level == "text":
            return None if batch.text is None else self._text_keys(batch.text)
        if batch.doc_id is None or (self._level == "chunk" and batch.chunk_id is None):
            return None
        keys, valid = (
            id_keys(batch.doc_id) if self._level == "doc" else pair_keys(batch.doc_id, batch.chunk_id)
        )
        return keys, np.where(valid, 0, NULL_ID)

    def _text_keys(self, text: pa.Array) -> tuple[Keys, Rows]:
        options = self._options
        data, offsets = text_bytes(text.fill_null(""))
        keys = _core.text_keys(data, offsets, options.normalize, options.min_chars, options.threads)
        codes = np.where(keys[:, 0] == 0, -keys[:, 1].astype(np.int64), 0)
        codes[text.is_null().to_numpy(zero_copy_only=False)] = NO_TEXT
        self.text_bytes += int(offsets[-1] - offsets[0])
        self.texts += len(text)
        return keys, codes


def fixed(words: npt.NDArray[np.uint64]) -> pa.Array:
    """The rows of a (n, width) array as values of so many bytes."""
    return pa.Array.from_buffers(pa.binary(8 * words.shape[1]), len(words), [None, pa.py_buffer(words)])


def keys_of(rows: pa.RecordBatch, column: str = "key") -> Keys:
    """The words (n, width) behind `fixed`."""
    array = rows.column(column)
    width = array.type.byte_width // 8
    words = np.frombuffer(array.buffers()[1], np.uint64).reshape(-1, width)
    return words[array.offset : array.offset + len(array)]


def row_numbers(rows: pa.RecordBatch) -> Rows:
    """The column `row`."""
    numbers: Rows = rows.column("row").to_numpy()
    return numbers


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
