"""Reads a whole split through its batches, so that tests can compare it with a naive reading."""

import numpy as np
import pyarrow as pa

from lvmfast.corpus import COLUMNS, load_split


def read_all(split, rows=8192, columns=COLUMNS):
    """Columns of a split as whole arrays (lists for ids and text), with every promise of Batch checked."""
    pieces = {column: [] for column in columns}
    start, file, file_row = 0, 0, 0
    for batch in split.batches(columns, rows):
        assert 0 < batch.rows <= rows
        if batch.file != file:
            file, file_row = batch.file, 0
        assert (batch.start, batch.file_row) == (start, file_row)
        start, file_row = start + batch.rows, file_row + batch.rows
        for column in columns:
            value = getattr(batch, column)
            if value is None:
                assert column not in split.files[batch.file].fields
                pieces[column].append(None)
                continue
            assert len(value) == batch.rows
            if column in ("vector", "context"):
                assert value.dtype == np.float32
                assert value.flags.c_contiguous
                assert value.flags.aligned
                assert type(value) is np.ndarray
            else:
                assert value.type in (
                    (pa.large_string(),) if column == "text" else (pa.large_string(), pa.int64())
                )
            pieces[column].append(value)
    assert split.rows == start
    whole = {}
    for column, values in pieces.items():
        if all(value is None for value in values):
            whole[column] = None
        elif column in ("vector", "context"):
            whole[column] = np.concatenate(values)
        else:
            whole[column] = [item for value in values for item in value.to_pylist()]
    return whole


def read(source, rows=8192, **options):
    """`read_all` of what `load_split` makes of `source`."""
    return read_all(load_split(source, **options), rows)
