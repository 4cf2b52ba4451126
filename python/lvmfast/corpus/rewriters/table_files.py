"""Rows of parquet and Arrow files, with their schema and its metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast.corpus.arrow import is_file_format, record_batches, schema_of
from lvmfast.corpus.failures import reading
from lvmfast.corpus.parquet import rows_of
from lvmfast.corpus.rewriters.dictionaries import (
    SharedDictionaries,
    common_schema,
    dictionary_fields,
    narrow_fields,
)
from lvmfast.corpus.rewriters.pieces import check_schema, rows_in_pieces
from lvmfast.corpus.rewriters.rows import (
    BLOCK_BYTES,
    GROUP_BYTES,
    InPieces,
    Parts,
    check_rows,
    writing,
)
from lvmfast.errors import DataError

_BUFFER_BYTES = 1 << 20
#: Codecs as a writer takes them: pyarrow reads LZ4 in the frames of Hadoop, and has no name for it.
_WRITTEN_AS = {"UNCOMPRESSED": "NONE", "UNKNOWN": "LZ4"}


def rewrite_parquet(
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
    pieces: Sequence[InPieces],
) -> None:
    """As `rewrite`. Row groups are as large as those of the sources, or GROUP_BYTES where that is less."""
    import pyarrow.parquet as pq

    schemas: list[pa.Schema] = []
    codecs: dict[str, str] = {}
    group_rows = 1
    for source in sources:
        with reading(source), pq.ParquetFile(source) as file:
            schemas.append(file.schema_arrow)
            if not codecs:
                codecs = _codecs(file)
            sizes = (file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))
            group_rows = max([group_rows, *sizes])
    schema = _common_schema(sources, schemas)
    narrow = narrow_fields(schema)
    shared = SharedDictionaries(schema, narrow, partial(_parquet_examples, sources, narrow))
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pq.ParquetWriter(target, shared.schema, compression=codecs or "snappy"))
            for target in targets
        ]
        groups = [_RowGroup(writer, group_rows) for writer in writers]
        for source, part, cut in zip(sources, parts, pieces, strict=True):
            batches = map(shared.of, _parquet_batches(source))
            _distribute(source, _chosen(source, batches, part, cut, len(targets)), groups, targets)
        for group in groups:
            group.close()


def _codecs(file: Any) -> dict[str, str]:
    """The compression of each column chunk of the first row group, by its path."""
    if not file.num_row_groups:
        return {}
    columns = file.metadata.row_group(0)
    chunks = [columns.column(place) for place in range(columns.num_columns)]
    return {c.path_in_schema: _WRITTEN_AS.get(c.compression, c.compression) for c in chunks}


def _parquet_examples(sources: Sequence[str], fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """All batches of `sources`: each has dictionaries of its own."""
    for source in sources:
        yield from _parquet_batches(source, fields)


def _parquet_batches(path: str, fields: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
        for group in range(file.num_row_groups):
            yield from file.iter_batches(rows_of(BLOCK_BYTES, file, group), [group], fields)


class _RowGroup:
    """Gathers batches until they make a row group."""

    def __init__(self, writer: Any, rows: int) -> None:
        self._writer, self._most = writer, rows
        self._batches: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Takes a batch; writes what was gathered once that is enough."""
        self._batches.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= self._most or self._bytes >= GROUP_BYTES:
            self.close()

    def close(self) -> None:
        """Writes what is left."""
        if self._batches:
            table = pa.Table.from_batches(self._batches)
            self._writer.write_table(table, row_group_size=min(self._most, table.num_rows))
        self._batches, self._rows, self._bytes = [], 0, 0


def rewrite_arrow(
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
    pieces: Sequence[InPieces],
) -> None:
    """As `rewrite`, in the format, file or stream, of the first source."""
    schemas = []
    for source in sources:
        with reading(source):
            schemas.append(schema_of(source))
    schema, as_file = _common_schema(sources, schemas), is_file_format(sources[0])
    # A stream may replace its dictionaries; a file has one for all of its batches.
    united = dictionary_fields(schema) if as_file else []
    shared = SharedDictionaries(schema, united, partial(_examples, sources))
    create = pa.ipc.new_file if as_file else pa.ipc.new_stream
    with ExitStack() as stack:
        writers = []
        for target in targets:
            out = stack.enter_context(pa.OSFile(os.fspath(target), "wb"))
            writers.append(stack.enter_context(create(out, shared.schema)))
        for source, part, cut in zip(sources, parts, pieces, strict=True):
            batches = map(shared.of, _arrow_batches(source))
            _distribute(source, _chosen(source, batches, part, cut, len(targets)), writers, targets)


def _examples(sources: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """A batch with each dictionary of `sources`: a file has one for all batches, a stream may replace it."""
    for source in sources:
        with reading(source):
            batches = record_batches(source)
            yield from islice(batches, 1 if is_file_format(source) else None)


def _arrow_batches(path: str) -> Iterator[pa.RecordBatch]:
    for batch in record_batches(path):
        batch.validate(full=True)  # offsets in a corrupt file could point anywhere
        step = max(1, BLOCK_BYTES * batch.num_rows // max(1, batch.nbytes))
        for start in range(0, batch.num_rows, step):
            yield batch.slice(start, step)


def _distribute(
    source: str,
    chosen: Iterator[tuple[int, pa.RecordBatch]],
    writers: Sequence[Any],
    targets: Sequence[Path],
) -> None:
    with reading(source):
        for place, batch in chosen:
            with writing(targets[place]):
                writers[place].write_batch(batch)


def _chosen(
    source: str, batches: Iterator[pa.RecordBatch], part: Parts, cut: InPieces, targets: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """The target of each batch that is to be written, and the batch."""
    row = 0
    for batch in batches:
        check_schema(source, batch.schema, cut)
        first, row = row, row + batch.num_rows
        where = part[first:row]
        if len(where) < batch.num_rows:
            break
        for place in range(targets):
            kept = np.flatnonzero(where == place)
            if len(kept):
                yield place, rows_in_pieces(batch, kept, first, cut)
    check_rows(source, part, row)


def _common_schema(sources: Sequence[str], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """That of the first source, with indices for the entries of every source's dictionaries."""
    common = common_schema(schemas)
    for source, schema in zip(sources, schemas, strict=True):
        if not common_schema([schema, common]).equals(common):
            other = next(
                (
                    f"{name}: {_type(schema, name)} instead of {_type(schemas[0], name)}"
                    for name in dict.fromkeys([*schemas[0].names, *schema.names])
                    if _type(schema, name) != _type(schemas[0], name)
                ),
                "its fields stand in another order",
            )
            raise DataError(f"{source}: expected the schema of {sources[0]}: {other}")
    return common


def _type(schema: pa.Schema, name: str) -> str:
    return str(schema.field(name).type) if name in schema.names else "nothing"
