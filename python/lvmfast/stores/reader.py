"""`ObjectReader`: a seekable binary file over an object."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterable

from lvmfast.stores.ahead import PIECE_BYTES, Piece, Plan, Ranged, Stage, queue

#: What is fetched at once where nothing was expected: a footer, a directory, the head of a file.
UNEXPECTED_BYTES = 1 << 20


class ObjectReader(io.RawIOBase):
    """Reads what was expected from pieces that were fetched ahead, and anything else when it is asked for.

    When reading reaches a stage, what is left of those before it is given up.
    """

    def __init__(self, stored: Ranged, size: int, stages: Iterable[Stage] | None, most: int) -> None:
        """Begins to fetch `stages`."""
        super().__init__()
        self._stored, self._size, self._position = stored, size, 0
        self._aside: tuple[int, bytes] = (0, b"")
        self._plan = Plan(stored, stages or (), most)
        self._pieces = sorted(
            ((piece, place) for place, stage in enumerate(self._plan.stages) for piece in stage),
            key=lambda pair: pair[0].start,
        )
        self._starts = [piece.start for piece, _ in self._pieces]
        self._unread = {id(piece): piece.size for piece, _ in self._pieces}
        self._stage = 0  # stages below were given up
        queue.add(self._plan)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The byte that is read next."""
        return self._position

    def size(self) -> int:
        """In bytes."""
        return self._size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As `io.IOBase.seek`."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` bytes; fewer only at the end."""
        left = self._size - self._position
        left = max(0, left if size is None or size < 0 else min(size, left))
        parts = []
        while left:
            part = self._next(left)
            parts.append(part)
            self._position += len(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Gives up what was fetched and not read."""
        if not self.closed:
            queue.remove(self._plan)
            self._aside = (0, b"")
        super().close()

    def _next(self, most: int) -> bytes:
        """At least one byte from the position on, at most `most`."""
        at = self._position
        first, aside = self._aside
        if first <= at < first + len(aside):
            return aside[at - first : at - first + most]
        place = bisect_right(self._starts, at) - 1
        if place >= 0:
            piece, stage = self._pieces[place]
            if at < piece.stop and not piece.given_up:
                return self._from_piece(piece, stage, at, most)
        following = self._starts[place + 1] if place + 1 < len(self._starts) else self._size
        stop = max(at + 1, min(at + max(min(most, PIECE_BYTES), UNEXPECTED_BYTES), following, self._size))
        if place >= 0 and at < self._pieces[place][0].stop:  # once more, what was given up
            stop = min(at + max(min(most, PIECE_BYTES), UNEXPECTED_BYTES), self._size)
        self._aside = at, self._stored.read(at, stop)
        return self._aside[1][:most]

    def _from_piece(self, piece: Piece, stage: int, at: int, most: int) -> bytes:
        content = queue.content(piece)
        part = content[at - piece.start : at - piece.start + most]
        self._unread[id(piece)] -= len(part)
        done = [piece] if self._unread[id(piece)] <= 0 else []
        while self._stage < stage:
            done += self._plan.stages[self._stage]
            self._stage += 1
        if done:
            queue.drop(done)
        return part
