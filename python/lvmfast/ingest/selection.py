"""Which articles of a dump are wanted."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Generic, TypeVar

from lvmfast.errors import DataError

T = TypeVar("T")


@dataclass(frozen=True)
class Selection:
    """Articles by place, page id or title; the union of what is named, everything where nothing is.

    Raises:
        DataError: a range is empty or negative, or `random` is under 1.
    """

    ranges: tuple[tuple[int, int], ...] = ()  #: half-open, of indexes
    page_ids: frozenset[int] = frozenset()
    titles: frozenset[str] = frozenset()
    random: int | None = None  #: so many of these, drawn without replacement
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what selects nothing."""
        for start, stop in self.ranges:
            if not 0 <= start < stop:
                raise DataError(f"articles: expected START:STOP with 0 <= START < STOP, got {start}:{stop}")
        if self.random is not None and self.random < 1:
            raise DataError(f"random: expected at least 1 article, got {self.random}")

    def wants(self, index: int, page_id: int | None, title: str) -> bool:
        """Whether the article at `index` is one of those named."""
        if not (self.ranges or self.page_ids or self.titles):
            return True
        return (
            any(start <= index < stop for start, stop in self.ranges)
            or page_id in self.page_ids
            or title in self.titles
        )

    @property
    def last_index(self) -> int | None:
        """The index behind which nothing is wanted; None where that cannot be known."""
        if self.page_ids or self.titles or not self.ranges:
            return None
        return max(stop for _, stop in self.ranges) - 1

    def priority(self, index: int) -> bytes:
        """What a random draw sorts by: the index and the seed, and not what else is there."""
        return blake2b(f"{self.seed}:{index}".encode(), digest_size=16).digest()


@dataclass
class Sample(Generic[T]):
    """The items of the lowest priorities seen so far; no more are held than were asked for."""

    size: int
    _heap: list[tuple[bytes, int, T]] = field(default_factory=list)

    def offer(self, priority: bytes, index: int, item: T) -> None:
        """Keeps `item` if it is among the lowest."""
        entry = (bytes(255 - b for b in priority), index, item)  # heapq keeps the smallest on top
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, entry)
        else:
            heapq.heappushpop(self._heap, entry)

    def items(self) -> Iterator[T]:
        """The sample in the order of the indexes."""
        return (item for _, _, item in sorted(self._heap, key=lambda entry: entry[1]))


def parse_ranges(texts: Collection[str]) -> tuple[tuple[int, int], ...]:
    """Ranges written as ``START:STOP``.

    Raises:
        DataError: one is written otherwise.
    """
    ranges = []
    for text in texts:
        start, colon, stop = text.partition(":")
        if not (colon and start.isdecimal() and stop.isdecimal()):
            raise DataError(f"articles: expected START:STOP, such as 10000:10200, got {text!r}")
        ranges.append((int(start), int(stop)))
    return tuple(ranges)
