"""Parquet files, streamed row group by row group with column projection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast.corpus.arrow_types import leaf_of, plain_type
from lvmfast.corpus.arrow_values import is_text_type
from lvmfast.corpus.budget import Budget
from lvmfast.corpus.dataset import Column, Rows
from lvmfast.corpus.failures import reading
from lvmfast.corpus.footer import ColumnChunk, column_chunks, footer_size
from lvmfast.corpus.sliced import decoded_bytes
from lvmfast.corpus.table_file import TableFile
from lvmfast.corpus.values import TEXT_BYTES, is_vector_type
from lvmfast.errors import DataError
from lvmfast.stores import Source, as_source
from lvmfast.stores.ahead import Stage, in_lockstep

_BUFFER_BYTES = 1 << 20
#: Decoded at once where nothing tells how long the values are.
_UNSEEN_ROWS = 64
#: Of rows with texts that are decoded at a time: the memory of larger ones is fetched anew for each of them.
_TEXTS_AT_ONCE = 4 << 20
#: What pyarrow reads of the end of a file at first.
_TAIL_BYTES = 64 << 10


def open_parquet(path: str | Source, mapping: dict[Column, str], *, strict: bool = True) -> TableFile:
    """A parquet file.

    Raises:
        DataError: no parquet file, a truncated one, or fields that do not fit their columns.
    """
    import pyarrow.parquet as pq

    source = as_source(path)
    layout = None
    with reading(source.name), source.open() as raw, pq.ParquetFile(raw) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
        groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        if source.path is None:
            layout = _Layout.of(raw)
    starts = np.cumsum([0, *groups])[:-1].astype(np.int64)
    texts = {field.name for field in schema if is_text_type(field.type)}
    nested = {field.name for field in schema if _is_nested(field.type)}

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        parts = []  # (row group, its first row, the row at which to stop)
        for group, first in enumerate(starts.tolist()):
            end = first + groups[group]
            if wanted is not None:  # the group is decoded as far as the last wanted row in it
                within = wanted[slice(*np.searchsorted(wanted, (first, end)))]
                end = int(within[-1]) + 1 if len(within) else first
            if end > first:
                parts.append((group, first, end))
        stages = None if layout is None else layout.stages(fields, [group for group, _, _ in parts])
        return batches(source.open(stages), fields, step, parts, Budget())

    def batches(
        raw: Any, fields: list[str], step: int, parts: Sequence[tuple[int, int, int]], budget: Budget
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        # Through a buffer per column: a row group is never in memory as a whole. And not mapped, for a map
        # whose file was cut short in the meantime kills the process that touches it.
        with raw, pq.ParquetFile(raw, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            of_texts = [field for field in fields if field in texts]
            longest = _Longest(source, file.metadata, of_texts, budget, nested=bool(nested & set(fields)))
            for group, first, end in parts:
                rows_at_once = min(step, longest.rows_at_once(file, group))
                for batch in file.iter_batches(rows_at_once, [group], fields):
                    yield first, batch
                    first += batch.num_rows
                    if first >= end:
                        break
                if first < end:  # columns of several lengths, say: pyarrow ends without a word
                    missing = f"{end - first} of its rows are missing"
                    raise DataError(f"{source.name}: row group {group}: {missing}")

    return TableFile.over(source, rows, schema, scan, mapping, strict=strict, starts=starts)


def _is_nested(type_: pa.DataType) -> bool:
    leaf, _ = leaf_of(type_)
    return bool(pa.types.is_nested(plain_type(type_))) and not is_vector_type(leaf)


def rows_of(size: int, file: Any, group: int) -> int:
    """How many rows of a row group make up `size` bytes, by the size of all its columns together.

    The sizes of single columns would tell more, but pyarrow aborts the process over corrupt statistics there.
    """
    meta = file.metadata.row_group(group)
    return max(1, size * int(meta.num_rows) // max(1, int(meta.total_byte_size)))


class _Longest:
    """How many rows of a row group may be decoded at once, by the longest value in its dictionaries.

    The sizes in a footer are those of what is stored, where a value that stands in every row is stored once.
    """

    def __init__(
        self, source: Source, metadata: Any, fields: Sequence[str], budget: Budget, *, nested: bool
    ) -> None:
        self._source, self._metadata, self._fields, self._budget = source, metadata, fields, budget
        self._nested = nested  #: a field holds texts in lists or objects, too
        self._text_bytes = min(TEXT_BYTES, budget.block_bytes)

    def rows_at_once(self, file: Any, group: int) -> int:
        """At least 1.

        Raises:
            DataError: one value is more than there is room for.
        """
        of_group = self._metadata.row_group(group)
        rows, size = int(of_group.num_rows), int(of_group.total_byte_size)
        if not (self._fields or self._nested) or rows * size <= self._text_bytes:
            return rows or 1
        stored = rows_of(min(self._text_bytes, _TEXTS_AT_ONCE), file, group)
        if self._source.path is None:  # what was fetched ahead can be read once
            return min(stored, _UNSEEN_ROWS)
        return min([stored, *(self._of_field(field, group) for field in self._fields)])

    def _of_field(self, field: str, group: int) -> int:
        import pyarrow.parquet as pq

        try:
            with (
                self._source.open() as raw,
                pq.ParquetFile(
                    raw,
                    metadata=self._metadata,
                    read_dictionary=[field],
                    buffer_size=_BUFFER_BYTES,
                    pre_buffer=False,
                ) as file,
            ):
                first = next(file.iter_batches(1, [group], [field])).column(0)
        except (OSError, pa.ArrowNotImplementedError):  # encodings that share the beginnings of values
            return _UNSEEN_ROWS
        lengths = decoded_bytes(first.dictionary) if pa.types.is_dictionary(first.type) else None
        if lengths is None or not len(lengths):
            return _UNSEEN_ROWS
        longest = int(lengths.max())
        self._budget.check_row(longest, f"{self._source.name}: {field}: a value of row group {group}")
        return max(1, self._text_bytes // max(1, longest))


class _Layout:
    """Where the parts of an object lie, so that they can be fetched before pyarrow asks for them."""

    def __init__(self, size: int, footer: int, groups: list[list[ColumnChunk]]) -> None:
        self._size, self._footer, self._groups = size, footer, groups

    @staticmethod
    def of(raw: Any) -> _Layout | None:
        """Of an open file whose footer pyarrow has accepted; None where it is not understood here."""
        size = raw.size()
        raw.seek(size - 8)
        footer = footer_size(raw.read(8))
        if footer is None or footer > size:
            return None
        raw.seek(size - footer)
        groups = column_chunks(raw.read(footer - 8))
        return None if groups is None else _Layout(size, footer, groups)

    def stages(self, fields: Sequence[str], groups: Sequence[int]) -> list[Stage]:
        """The footer, and then the columns `fields` of each of the row groups."""
        tail = max(0, self._size - max(self._footer, _TAIL_BYTES))
        stages: list[Stage] = [in_lockstep([(tail, self._size)])]
        for group in groups:
            chunks = [chunk for chunk in self._groups[group] if chunk.path[0] in fields]
            stages.append(in_lockstep((chunk.start, min(chunk.stop, tail)) for chunk in chunks))
        return stages
