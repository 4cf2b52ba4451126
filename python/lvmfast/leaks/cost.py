"""How long a comparison of vectors will take, measured on a few rows before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lvmfast.corpus.dataset import Dataset, Vectors
from lvmfast.errors import DataError
from lvmfast.leaks.devices import near_index
from lvmfast.leaks.options import ScanOptions

#: Vectors that are indexed and streamed to measure how fast they are compared.
INDEXED_SAMPLE = 16_384
STREAMED_SAMPLE = 4_096
#: Multiplications of a comparison that is worth measuring: below, it takes seconds.
WORTH_A_WORD = 10**13

#: Told in one line what a scan is about to do.
Announce = Callable[[str], None]


def say_nothing(line: str) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class Cost:
    """What a comparison of vectors will take."""

    pairs: int  #: of vectors
    pairs_per_second: float
    reads: int  #: times that the streamed side goes by

    @property
    def seconds(self) -> float:
        """In all, reading aside."""
        return self.pairs / self.pairs_per_second

    def __str__(self) -> str:
        """One line."""
        read = "" if self.reads == 1 else f", the larger side read {self.reads} times"
        return (
            f"vectors: {self.pairs:.2g} pairs at {self.pairs_per_second:.2g} a second: "
            f"about {duration(self.seconds)}{read}"
        )


def duration(seconds: float) -> str:
    """Seconds in the unit that fits."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def estimate(
    indexed: Dataset, streamed: Dataset, pairs: int, reads: int, options: ScanOptions
) -> Cost | None:
    """The cost of `pairs` comparisons, by a measurement on the first rows; None where there are no such rows.

    A sieve goes over a larger index faster, and near rows slow it down, so this is a figure to plan by.
    """
    left, right = _first_vectors(indexed, INDEXED_SAMPLE), _first_vectors(streamed, STREAMED_SAMPLE)
    if left is None or right is None:
        return None
    index = near_index(left.shape[1], options)
    index.add(left)
    index.scan(right[:1])  # what is made once is not measured
    start = time.perf_counter()
    index.scan(right)
    seconds = max(time.perf_counter() - start, 1e-9)
    return Cost(pairs, len(left) * len(right) / seconds, reads)


def _first_vectors(dataset: Dataset, rows: int) -> Vectors | None:
    parts: list[Vectors] = []
    for batch in dataset.batches(("vector",), rows):
        if batch.vector is not None:
            parts.append(batch.vector[: rows - sum(map(len, parts))].copy())
        if sum(map(len, parts)) >= rows:
            break
    return np.concatenate(parts) if parts else None


def settle(cost: Cost, options: ScanOptions, announce: Announce) -> None:
    """Says the cost.

    Raises:
        DataError: it is above what the options allow.
    """
    announce(str(cost))
    if options.most_seconds is not None and cost.seconds > options.most_seconds:
        raise DataError(f"{cost}, over {duration(options.most_seconds)}; confirm with --yes")
