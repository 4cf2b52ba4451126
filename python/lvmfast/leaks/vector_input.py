"""What the array functions take for a set of vectors: an array, a memory map, a tensor, or their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from lvmfast.corpus import Dataset, load_split
from lvmfast.corpus.iterators import BlocksFile
from lvmfast.errors import DataError
from lvmfast.leaks.cells import Cells
from lvmfast.leaks.memory import block_rows
from lvmfast.leaks.options import ScanOptions


def open_vectors(name: str, vectors: Any) -> Dataset:
    """(n, d) floats, or an iterator of (n, d) blocks, as a dataset of the one column.

    Raises:
        DataError: they are something else; the message starts with `name`.
    """
    if isinstance(vectors, Iterator):
        return Dataset((BlocksFile(name, vectors),))
    array = vectors if hasattr(vectors, "shape") else np.asarray(vectors)
    try:
        return load_split({"vector": array})
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def read_cells(vectors: Dataset, options: ScanOptions) -> Iterator[Cells]:
    """The vectors in blocks of bounded size."""
    for batch in vectors.batches(("vector",), block_rows(vectors, ("vector",), options)):
        if batch.vector is not None:
            yield Cells(batch.vector, batch.start)
