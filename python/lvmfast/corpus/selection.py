"""Some rows of a split as a split of its own, without a copy on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Batch, Column, Dataset, Rows, SplitFile
from lvmfast.corpus.vector_column import VectorColumn


def select_rows(dataset: Dataset, keep: npt.NDArray[np.bool_]) -> Dataset:
    """The rows that `keep`, (rows,), holds, numbered anew in each file; files that hold none are left out."""
    files: list[SplitFile] = []
    start = 0
    for file in dataset.files:
        rows = np.flatnonzero(keep[start : start + (file.rows or 0)])
        start += file.rows or 0
        if len(rows):
            files.append(SelectedFile(file, rows))
    return replace(dataset, files=tuple(files))


class SelectedFile:
    """A `SplitFile` of the rows `kept` of another one."""

    def __init__(self, file: SplitFile, kept: Rows) -> None:
        """`kept`: ascending rows of `file`."""
        self.name, self.path, self.fields, self.id_types = file.name, file.path, file.fields, file.id_types
        self.dim, self.context_length, self.provenance = file.dim, file.context_length, file.provenance
        self.notes, self.origin, self.unreadable = file.notes, file.origin, file.unreadable
        self.nbytes = file.nbytes * len(kept) // max(1, file.rows or 1)
        self.rows: int | None = len(kept)
        self.first_line: int | None = None
        places = None if file.starts is None else np.unique(np.searchsorted(kept, file.starts))
        self.starts: Rows | None = None if places is None else places[places < len(kept)]
        self._file, self._kept = file, kept

    def estimated_rows(self) -> int:
        """`rows`: they are known."""
        return len(self._kept)

    def batches(self, columns: Sequence[Column], rows: int, wanted: Rows | None = None) -> Iterator[Batch]:
        """As `SplitFile.batches`."""
        inner = self._kept if wanted is None else self._kept[wanted]
        for batch in self._file.batches(columns, rows, inner):
            low, high = np.searchsorted(self._kept, (batch.file_row, batch.file_row + batch.rows))
            if low == high:
                continue
            first = int(low)
            if high - low == batch.rows:
                yield replace(batch, file_row=first, start=first, keeper=None)
                continue
            places = self._kept[low:high] - batch.file_row
            index = pa.array(places)
            taken: dict[str, Any] = {
                name: values[places] if isinstance(values, VectorColumn) else values.take(index)
                for name, values in batch.stored().items()
            }
            yield replace(batch, file_row=first, start=first, rows=int(high - low), keeper=None, **taken)
