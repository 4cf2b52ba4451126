"""`BlocksFile`: vectors that come block by block from an iterator, and only once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from lvmfast.corpus.dataset import Batch, Column, Rows, SplitFile
from lvmfast.corpus.memory import open_memory
from lvmfast.errors import DataError
from lvmfast.stores import Source


class BlocksFile:
    """A `SplitFile` over an iterator of (n, d) arrays or tensors, n as it comes and d the same in all.

    Raises:
        DataError: on construction, when there is no block, or the first is no array of vectors.
    """

    path: str | None = None
    origin: Source | None = None
    nbytes = 0
    context_length: int | None = None
    provenance: dict[str, Any] | None = None
    starts: Rows | None = None
    first_line: int | None = None

    def __init__(self, name: str, blocks: Iterator[Any]) -> None:
        """Takes the first block, which says how wide they are."""
        self.name = name
        self.fields: dict[Column, str] = {"vector": "vector"}
        self.id_types: dict[Column, pa.DataType] = {}
        self.unreadable: dict[Column, str] = {}
        self.rows: int | None = None
        first = next(blocks, None)
        if first is None:
            raise DataError(f"{name}: expected blocks of (n, d) float, the iterator gave none")
        opened = self._open(0, first)
        self.dim = opened.dim
        self.notes = opened.notes
        self._blocks: Iterator[Any] | None = chain([first], blocks)

    def _open(self, place: int, block: Any) -> SplitFile:
        try:
            file = open_memory(block, {})
            if file is None or "vector" not in file.fields:
                raise DataError(f"expected (n, d) float, got {type(block).__name__}")
        except DataError as error:
            raise DataError(f"{self.name}: block {place}: {error}") from error
        return file

    def estimated_rows(self) -> int:
        """More than any other side has: what comes once is to be streamed."""
        return sys.maxsize if self.rows is None else self.rows

    def batches(self, columns: Sequence[Column], rows: int, wanted: Rows | None = None) -> Iterator[Batch]:
        """As `SplitFile.batches`, once.

        Raises:
            DataError: a block of another width or kind, or a second reading.
        """
        blocks, self._blocks = self._blocks, None
        if blocks is None:
            raise DataError(f"{self.name}: an iterator of blocks can be read only once")
        start = 0
        for place, block in enumerate(blocks):
            file = self._open(place, block)
            if file.dim != self.dim:
                raise DataError(f"{self.name}: block {place}: expected d = {self.dim}, got {file.dim}")
            for batch in file.batches(columns, rows, None):
                yield Batch.of(start, batch.rows, {"vector": batch.targets})
                start += batch.rows
        self.rows = start
