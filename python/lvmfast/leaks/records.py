"""Rows as they are parted by the hash of their keys: numbers and keys, later texts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.keys import Keys, text_bytes
from lvmfast.corpus.plain import without_nulls
from lvmfast.corpus.sides import Side
from lvmfast.leaks.keyed_by import Comparable, KeyedBy, text_keys
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.slots import documents_of, see
from lvmfast.leaks.tally import Rows, SideTally


class Records:
    """Rows as they are parted: their numbers and keys at one level, and later their texts."""

    def __init__(self, keys: KeyedBy, options: ScanOptions) -> None:
        """Nothing read yet."""
        self._keys, self._options = keys, options
        #: texts that were read, and their bytes
        self.texts = self.text_bytes = 0

    @property
    def schema(self) -> pa.Schema:
        """Of rows with their keys."""
        return pa.schema([("row", pa.int64()), ("key", pa.binary(8 * self._keys.words))])

    @property
    def text_schema(self) -> pa.Schema:
        """Of rows with their texts."""
        schema = self.schema.append(pa.field("text", pa.large_string()))
        if self._options.max_df is None:
            return schema
        return schema.append(pa.field("document", pa.binary(24)))

    def of(self, batch: Batch, tally: SideTally) -> tuple[Keys, pa.RecordBatch]:
        """The rows that can be checked, and their keys; all are counted in `tally`."""
        found = self._keys.of(batch, self._options)
        if self._keys.texts and batch.text is not None:
            self._measure(batch.text)
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
        self._measure(text)
        keys, _ = text_keys(text, self._options)
        columns = [pa.array(batch.start + rows), fixed(keys), text]
        if self._options.max_df is not None:
            columns.append(fixed(documents_of(side, batch, rows)))
        return keys, pa.RecordBatch.from_arrays(columns, schema=self.text_schema)

    def _measure(self, text: pa.Array) -> None:
        _, offsets = text_bytes(without_nulls(text))
        self.text_bytes += int(offsets[-1] - offsets[0])
        self.texts += len(text)


def fixed(words: npt.NDArray[np.uint64]) -> pa.Array:
    """The rows of a (n, width) array as values of so many bytes."""
    return pa.Array.from_buffers(pa.binary(8 * words.shape[1]), len(words), [None, pa.py_buffer(words)])


def words_of(array: pa.Array) -> Keys:
    """The words (n, width) behind `fixed`."""
    width = array.type.byte_width // 8
    words = np.frombuffer(array.buffers()[1], np.uint64).reshape(-1, width)
    return words[array.offset : array.offset + len(array)]


def keys_of(rows: pa.RecordBatch, column: str = "key") -> Keys:
    """The words (n, width) of a column that `fixed` made."""
    return words_of(rows.column(column))


def batch_of(rows: pa.RecordBatch) -> Batch:
    """Rows as a batch: with their texts, or with their keys in the place of document ids."""
    if "text" in rows.schema.names:
        return Batch(0, 0, 0, len(rows), text=rows.column("text"))
    return Batch(0, 0, 0, len(rows), rows.column("key"))


def stored_keys(batch: Batch, options: Comparable) -> tuple[Keys, Rows]:
    """As `KeysOf`, of rows that have only their keys (`batch_of`)."""
    return words_of(batch.doc_id), np.zeros(batch.rows, np.int64)


def row_numbers(rows: pa.RecordBatch) -> Rows:
    """The column `row`."""
    numbers: Rows = rows.column("row").to_numpy()
    return numbers
