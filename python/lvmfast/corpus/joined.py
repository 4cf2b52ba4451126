"""Record batches of a few rows, as writers leave them that flush after each row, become larger ones."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from lvmfast.corpus.arrow_types import is_list

#: A batch of fewer rows and bytes is small, and so many of both are made of small ones.
_SMALL_ROWS, _ROWS = 512, 4096
_SMALL_BYTES, _BYTES = 256 << 10, 4 << 20

_Numbered = tuple[int, pa.RecordBatch]


def joined(scanned: Iterator[_Numbered], most: int) -> Iterator[_Numbered]:
    """The (first row, batch)es of `scanned`, runs of small ones as one of at most `most` rows.

    Batches of one file can differ: a line of JSON that the core leaves to Python comes without the fields
    that nobody asked for.
    """
    held: list[_Numbered] = []
    rows = nbytes = 0
    for first, batch in scanned:
        small = batch.num_rows < _SMALL_ROWS and all(map(_joins, batch.schema.types))
        size = batch.nbytes if small else 0
        fits = rows + batch.num_rows <= min(most, _ROWS) and nbytes + size <= _BYTES
        follows = bool(held) and first == held[0][0] + rows and batch.schema.equals(held[0][1].schema)
        if held and not (small and size < _SMALL_BYTES and fits and follows):
            yield from _as_one(held)
            held, rows, nbytes = [], 0, 0
        if small and size < _SMALL_BYTES:
            held.append((first, batch))
            rows, nbytes = rows + batch.num_rows, nbytes + size
        else:
            yield first, batch
    yield from _as_one(held)


def _joins(type_: pa.DataType) -> bool:
    """Whether arrays of `type_` are put together at the cost of their bytes."""
    if is_list(type_) and not isinstance(type_, pa.BaseExtensionType):
        return _joins(type_.value_type)
    strings = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return bool(pa.types.is_primitive(type_) or any(is_one(type_) for is_one in strings))


def _as_one(held: list[_Numbered]) -> Iterator[_Numbered]:
    if len(held) < 2:
        yield from held
        return
    batches = [batch for _, batch in held]
    columns = [
        pa.concat_arrays([batch.column(place) for batch in batches])
        for place in range(batches[0].num_columns)
    ]
    if columns:
        yield held[0][0], pa.RecordBatch.from_arrays(columns, schema=batches[0].schema)
    else:
        yield from held
