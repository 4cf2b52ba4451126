"""How far a scan is, and how long its phases took."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from lvmfast.corpus.dataset import Batch, Column, Dataset
from lvmfast.leaks import memory
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.tally import Rows


class Progress(Protocol):
    """Told how far a scan is."""

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        """`done` of `total` rows (None: not known) of `phase` are through."""


def silent(phase: str, done: int, total: int | None) -> None:
    """Shows nothing."""


@dataclass
class Clock:
    """Seconds spent in each phase of a scan."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time spent inside to `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def read(
    dataset: Dataset,
    columns: Sequence[Column],
    phase: str,
    options: ScanOptions,
    progress: Progress,
    wanted: Rows | None = None,
) -> Iterator[Batch]:
    """Streams `dataset`, or what holds `wanted` rows, telling `progress` after each batch dealt with."""
    total, done = dataset.rows if wanted is None else None, 0
    progress(phase, 0, total)
    for batch in dataset.batches(columns, memory.block_rows(dataset, columns, options), wanted):
        yield batch
        done += batch.rows
        progress(phase, done, total)
