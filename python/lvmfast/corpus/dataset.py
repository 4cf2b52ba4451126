"""What every reader yields: a `Dataset` of `SplitFile`s, streamed as `Batch`es."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Column = Literal["doc_id", "chunk_id", "text", "vector", "context"]
COLUMNS: tuple[Column, ...] = ("doc_id", "chunk_id", "text", "vector", "context")

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of one file. A column is None where the file has none or none was asked for.

    Ids are int64 or large_string arrays with nulls; text is large_string with nulls; vectors are aligned,
    C-contiguous float32 of shape (rows, d), contexts (rows, length, d).
    """

    file: int  #: place of the file in ``Dataset.files``
    file_row: int  #: row of the file at which the batch starts
    start: int  #: row of the dataset at which the batch starts
    rows: int
    doc_id: pa.Array | None = None
    chunk_id: pa.Array | None = None
    text: pa.Array | None = None
    vector: Vectors | None = None
    context: Vectors | None = None


class SplitFile(Protocol):
    """One input of a split, opened: its columns and shapes are known, its rows are not in memory."""

    name: str  #: the path as the user gave or found it, or a label such as ``<arrays>``
    path: str | None  #: the local file behind it, if there is one
    rows: int | None  #: None where only reading to the end tells (jsonl, csv)
    nbytes: int  #: size on disk or in memory, to guess the smaller side by when rows are unknown
    fields: dict[Column, str]  #: which field of the file each column is read from
    dim: int | None  #: d of ``vector`` (of ``context`` where there is no ``vector``)
    context_length: int | None
    provenance: dict[str, Any] | None  #: the file's own statement of encoder, norm and metric
    notes: tuple[str, ...]  #: what the reader did to the values ("targets: float64 rounded to float32")

    def batches(self, columns: Sequence[Column], rows: int) -> Iterator[Batch]:
        """Streams the rows in order, at most `rows` at a time; ``file`` and ``start`` are left 0."""
        ...
