"""Tables that are in memory, or come batch by batch, in whatever library holds them.

pandas, polars, duckdb, ``datasets`` and torch are never imported: objects are known by what they can do.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Column, Rows
from lvmfast.corpus.failures import one_line, reading
from lvmfast.corpus.table_file import TableFile
from lvmfast.errors import DataError

TABLE, DATASET, BATCHES, ROWS = "<table>", "<dataset>", "<batches>", "<rows>"
#: Rows that are asked of a dataset at a time.
_STEP = 1024


@runtime_checkable
class ArrowStream(Protocol):
    """What gives its rows through Arrow's C interface: a frame of pandas or polars, a relation of duckdb."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """A capsule with the stream."""
        ...


@runtime_checkable
class RowsByNumber(Protocol):
    """What has rows as dicts, by number: a ``Dataset`` of torch."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, row: int, /) -> Any:
        """One of them."""
        ...


class Lazy(Protocol):
    """What becomes such a frame when it is asked for: a LazyFrame of polars."""

    def collect(self) -> Any:
        """The frame."""
        ...


#: What rows can be read of beside paths: columns by name, a table, rows as dicts, texts, or batches of these.
InMemory: TypeAlias = (
    Mapping[str, Any]
    | ArrowStream
    | Lazy
    | RowsByNumber
    | Sequence[Mapping[str, Any]]
    | Sequence[str]
    | Iterable[Any]
    | npt.NDArray[Any]
)


def open_frame(source: Any, mapping: dict[Column, str], *, strict: bool) -> TableFile | None:
    """The split file of a table, of rows or of batches; None for an object that is none of them.

    Raises:
        DataError: what it holds does not fit its columns, or is not of one type.
    """
    if isinstance(source, pa.Array):
        source = pa.chunked_array([source])
    if isinstance(source, ArrowStream):
        return open_table(table_of(TABLE, source), mapping, strict=strict)
    if hasattr(source, "collect") and hasattr(source, "collect_schema"):  # a LazyFrame of polars
        return open_frame(source.collect(), mapping, strict=strict)
    if isinstance(source, (list, tuple)):
        return open_table(table_of(ROWS, source), mapping, strict=strict) if source else None
    if is_hf_stream(source):
        return _open_stream(source, mapping, strict)
    if isinstance(source, RowsByNumber) and not hasattr(source, "dataset"):  # which a DataLoader has
        return _open_rows(source, mapping, strict)
    if isinstance(source, Iterable) and not isinstance(source, (str, bytes, os.PathLike)):
        return _open_batches(source, mapping, strict)
    return None


def is_hf_stream(value: Any) -> bool:
    """Whether it is an ``IterableDataset`` of ``datasets``, or can be read like one."""
    wanted = ("features", "column_names", "with_format", "iter")
    return not isinstance(value, Mapping) and all(hasattr(value, name) for name in wanted)


def open_table(table: pa.Table, mapping: dict[Column, str], *, strict: bool) -> TableFile:
    """The split file of a table."""

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        row = 0
        for batch in table.to_batches(max_chunksize=step):
            yield row, batch.select(fields)
            row += batch.num_rows

    return TableFile(TABLE, None, table.nbytes, table.num_rows, table.schema, scan, mapping, strict=strict)


def table_of(name: str, batch: Any, schema: pa.Schema | None = None) -> pa.Table:
    """A batch of rows as a table, of `schema` if there is one; `name` is for messages.

    Raises:
        DataError: it is nothing that rows can be read of, or a column of it has values of several types.
    """
    try:
        if isinstance(batch, pa.RecordBatch):
            return pa.Table.from_batches([batch])
        if isinstance(batch, ArrowStream):
            return _from_stream(batch)
        if isinstance(batch, Mapping):
            return _from_columns(batch, schema)
        if isinstance(batch, (list, tuple)) and all(isinstance(row, str) for row in batch):
            return pa.table({"text": pa.array(batch, pa.large_string())})
        if isinstance(batch, (list, tuple)) and all(isinstance(row, Mapping) for row in batch):
            names = dict.fromkeys(chain.from_iterable(batch))
            return _from_columns({field: [row.get(field) for row in batch] for field in names}, schema)
        if isinstance(batch, np.ndarray) or _is_tensor(batch):
            return _from_columns({"vector": batch}, schema)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{name}: {one_line(error)}") from error
    kinds = dict.fromkeys(type(row).__name__ for row in batch) if isinstance(batch, (list, tuple)) else ()
    found = f"a {type(batch).__name__}" + (f" of {' and '.join(kinds)}" if kinds else "")
    raise DataError(f"{name}: expected rows as dicts, texts, columns by name or a table, got {found}")


def _from_stream(source: ArrowStream) -> pa.Table:
    if isinstance(source, pa.Table):
        return source
    try:
        return pa.RecordBatchReader.from_stream(source).read_all()
    except pa.ArrowInvalid:  # no rows of several columns, but a series
        values = pa.chunked_array(source)
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return pa.table({"vector" if any(is_one(values.type) for is_one in lists) else "text": values})


def _from_columns(columns: Mapping[str, Any], schema: pa.Schema | None) -> pa.Table:
    arrays = {}
    for field, values in columns.items():
        known = schema is not None and field in schema.names
        try:
            arrays[field] = _array(values, schema.field(field).type if known and schema is not None else None)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise DataError(f"{field}: {one_line(error)}") from error
    return pa.table(arrays)


def _array(values: Any, type_: pa.DataType | None) -> pa.Array:
    """An Arrow array of an array of up to three dimensions, a tensor, or a list of values."""
    values = _numbers(values)
    if isinstance(values, np.ndarray) and values.ndim > 1:
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        for size in reversed(values.shape[1:]):
            flat = pa.FixedSizeListArray.from_arrays(flat, size)
        return flat if type_ is None else flat.cast(type_)
    if isinstance(values, (list, tuple)):
        values = [_numbers(value) for value in values]
        values = [
            value.tolist() if isinstance(value, np.ndarray) and value.ndim != 1 else value for value in values
        ]
    return pa.array(values, type_)


def _numbers(value: Any) -> Any:
    """A tensor as an array; numpy has no bfloat16, which float32 holds exactly."""
    if not _is_tensor(value):
        return value
    value = value.detach()
    return (value.float() if str(value.dtype) == "torch.bfloat16" else value).cpu().numpy()


def _is_tensor(value: Any) -> bool:
    return str(getattr(value, "dtype", "")).startswith("torch.") and hasattr(value, "detach")


def _open_rows(source: RowsByNumber, mapping: dict[Column, str], strict: bool) -> TableFile:
    """Rows that are asked for by number, as often as they are read."""
    rows = len(source)

    def read(start: int, schema: pa.Schema | None) -> pa.Table:
        # The rest is that of a batch, which tells what is no row.
        return table_of(DATASET, [source[row] for row in range(start, min(start + _STEP, rows))], schema)

    schema = read(0, None).schema if rows else pa.schema([])

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        for start in range(0, rows, _STEP):
            if wanted is None or np.diff(np.searchsorted(wanted, (start, start + _STEP)))[0]:
                yield from _numbered(_fitted(DATASET, read(start, schema), schema), start, fields, step)

    return TableFile(DATASET, None, 0, rows, schema, scan, mapping, strict=strict)


def _open_stream(source: Any, mapping: dict[Column, str], strict: bool) -> TableFile:
    """An ``IterableDataset``, which is read from its start as often as it is read."""

    def tables() -> Iterator[pa.Table]:
        for batch in source.with_format("arrow").iter(batch_size=_STEP):
            yield table_of(DATASET, batch)

    if source.features is not None:
        schema = source.features.arrow_schema
    else:
        with reading(DATASET):
            first = next(tables(), None)
        schema = pa.schema([]) if first is None else first.schema

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        row = 0
        for table in tables():
            yield from _numbered(_fitted(DATASET, table, schema), row, fields, step)
            row += table.num_rows

    return TableFile(DATASET, None, 0, None, schema, scan, mapping, strict=strict, rows_guess=_STEP)


def _open_batches(source: Iterable[Any], mapping: dict[Column, str], strict: bool) -> TableFile | None:
    """Batches that may come only once: they go to a file of Arrow's, which is read as often as it takes."""
    batches = _by_batch(iter(source))
    first = next(batches, None)
    if first is None:
        raise DataError(f"{BATCHES}: there is none")
    table = table_of(f"{BATCHES}: batch 0", first)
    handle, path = tempfile.mkstemp(suffix=".arrow", prefix="lvmfast-batches-")
    os.close(handle)
    try:
        rows = 0
        with pa.OSFile(path, "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
            for place, batch in enumerate(chain([first], batches)):
                name = f"{BATCHES}: batch {place}"
                found = _fitted(name, table_of(name, batch, table.schema), table.schema)
                writer.write_table(found)
                rows += found.num_rows
    except BaseException:
        os.unlink(path)
        raise

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        row = 0
        with pa.OSFile(path, "rb") as file:
            reader = pa.ipc.open_file(file)
            for place in range(reader.num_record_batches):
                found = pa.Table.from_batches([reader.get_batch(place)])
                yield from _numbered(found, row, fields, step)
                row += found.num_rows

    file = TableFile(BATCHES, None, os.path.getsize(path), rows, table.schema, scan, mapping, strict=strict)
    weakref.finalize(file, os.unlink, path)
    return file


def _by_batch(source: Iterator[Any]) -> Iterator[Any]:
    """Batches as they come, or rows, which are texts or have one value a field, by the thousand."""
    first = next(source, None)
    if first is None:
        return
    one = (str, int, float, type(None))
    rows = isinstance(first, str)
    rows = rows or (isinstance(first, Mapping) and any(isinstance(value, one) for value in first.values()))
    source = chain([first], source)
    if not rows:
        yield from source
    while rows and (batch := list(islice(source, _STEP))):
        yield batch


def _fitted(name: str, table: pa.Table, schema: pa.Schema) -> pa.Table:
    """A later batch of a table, with the fields and types of the first.

    Raises:
        DataError: it has others.
    """
    for field in table.schema.names:
        if field not in schema.names:
            raise DataError(f"{name}: {field}: a field that the first batch has not")
    columns = []
    for field in schema:
        there = field.name in table.schema.names
        values = table[field.name] if there else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        if values.type != field.type:
            try:
                values = values.cast(field.type)
            except (pa.ArrowException, NotImplementedError) as error:
                expected = f"expected {field.type} as in the first batch, got {values.type}"
                raise DataError(f"{name}: {field.name}: {expected}") from error
        columns.append(values)
    return pa.table(columns, schema=schema)


def _numbered(
    table: pa.Table, first: int, fields: list[str], step: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    row = first
    for batch in table.to_batches(max_chunksize=step):
        yield row, batch.select(fields)
        row += batch.num_rows
