"""CSV with a header line, plain or compressed, streamed through pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from lvmfast.corpus.columns import resolve
from lvmfast.corpus.dataset import Column, Rows
from lvmfast.corpus.failures import one_line, reading
from lvmfast.corpus.streams import decompressed, head
from lvmfast.corpus.tables import TableFile
from lvmfast.errors import DataError
from lvmfast.stores import Source, as_source

_BLOCK_BYTES = 16 << 20  # also the longest record
_VECTORS: dict[Column, pa.DataType] = {
    "vector": pa.list_(pa.float32()),
    "context": pa.list_(pa.list_(pa.float32())),
}


def open_csv(path: str | Source, mapping: dict[Column, str], *, strict: bool = True) -> TableFile:
    """A CSV file. Ids are text as it stands there (``007`` is not 7), and null where empty.

    Vectors and windows are cells that hold a JSON list.

    Raises:
        DataError: no header, a record of another length (it is named), bytes that are not UTF-8, or cells
            that do not fit their columns.
    """
    source = as_source(path)
    path = source.name
    with reading(path), _reader(source, None) as reader:
        names = reader.schema.names
    found = resolve(path, names, mapping, strict=strict)
    columns = {field: column for column, field in found.items()}
    schema = pa.schema([(name, _VECTORS.get(columns.get(name, "text"), pa.large_string())) for name in names])
    start = head(source)
    guess = start.scaled(max(0, start.block.count(b"\n") - 1))

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        row = 0
        with _reader(source, fields or names[:1]) as reader:
            for batch in reader:
                arrays = [_cells(path, columns[field], field, batch.column(field), row) for field in fields]
                yield row, pa.record_batch(arrays, fields) if fields else batch.select([])
                row += batch.num_rows

    return TableFile.over(source, None, schema, scan, mapping, strict=strict, rows_guess=guess)


@contextmanager
def _reader(source: Source, fields: list[str] | None) -> Iterator[Any]:
    import pyarrow.csv as pa_csv

    convert = pa_csv.ConvertOptions()
    if fields is not None:
        convert = pa_csv.ConvertOptions(
            include_columns=fields, column_types={field: pa.large_string() for field in fields}
        )
    with decompressed(source) as stream:
        yield pa_csv.open_csv(
            stream,
            pa_csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            pa_csv.ParseOptions(newlines_in_values=True),
            convert,
        )


def _cells(path: str, column: Column, field: str, array: pa.Array, first_row: int) -> pa.Array:
    if column == "text":
        return array
    import pyarrow.compute as pc

    filled = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.large_string()), array)
    if column not in _VECTORS:
        return filled
    values = []
    for row, cell in enumerate(filled.to_pylist(), first_row):
        try:
            values.append(None if cell is None else json.loads(cell))
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path}: {field}: row {row}: expected a JSON list, got {one_line(cell)[:40]!r}"
            ) from error
    try:
        return pa.array(values, _VECTORS[column])
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(f"{path}: {field}: rows from {first_row}: {one_line(error)}") from error
