"""Record batches are cut where their rows, decoded, would be too much at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.budget import Budget

_OFFSETS = {
    pa.string(): np.int32,
    pa.binary(): np.int32,
    pa.large_string(): np.int64,
    pa.large_binary(): np.int64,
}


def spans(
    batch: pa.RecordBatch, fields: Sequence[str], rows: int, budget: Budget, name: str, first: int
) -> Iterator[tuple[int, int]]:
    """Runs of at most `rows` rows of a batch, whose values of variable length make no more than a block.

    `first` is the row of the file `name` at which the batch starts.

    Raises:
        DataError: one row is more than there is room for.
    """
    sizes = np.zeros(batch.num_rows, np.int64)
    for field in fields:
        of_field = decoded_bytes(batch.column(field))
        if of_field is not None:
            longest = int(of_field.argmax()) if len(of_field) else 0
            if len(of_field):
                budget.check_row(int(of_field[longest]), f"{name}: {field}: row {first + longest}")
            sizes += of_field
    ends = np.cumsum(sizes)
    start = before = 0
    while start < batch.num_rows:
        stop = int(np.searchsorted(ends, before + budget.block_bytes, side="right"))
        stop = min(max(stop, start + 1), start + rows, batch.num_rows)
        yield start, stop
        start, before = stop, int(ends[stop - 1])


def decoded_bytes(array: pa.Array) -> npt.NDArray[np.int64] | None:
    """What each value will take as plain text; None where its type says that.

    Raises:
        pyarrow.ArrowInvalid: a dictionary lacks what a value names, as in a corrupt file.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    if pa.types.is_dictionary(kind):
        of_value = decoded_bytes(array.dictionary)
        if of_value is None or not len(of_value):
            return None
        indices = np.asarray(array.indices.fill_null(0) if array.null_count else array.indices, np.int64)
        if len(indices) and not (indices.min() >= 0 and indices.max() < len(of_value)):
            raise pa.ArrowInvalid("a value points to an entry that its dictionary lacks")
        sizes = of_value[indices]
        return np.where(array.is_valid(), sizes, 0) if array.null_count else sizes
    if kind in _OFFSETS:
        buffer = array.buffers()[1]
        if buffer is None or not len(array):
            return np.zeros(len(array), np.int64)
        offsets = np.frombuffer(buffer, _OFFSETS[kind], len(array) + 1 + array.offset)[array.offset :]
        return np.diff(offsets).astype(np.int64)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        import pyarrow.compute as pc

        lengths = pc.binary_length(array.cast(pa.large_binary())).fill_null(0)
        return np.asarray(lengths, np.int64)
    return None
