"""Runs of whole streams of a compressed file, decompressed by threads before their turn.

Where a stream begins is guessed by its first bytes, and a guess is never relied on: a run counts only if it
decompresses to its very end, for then whoever reads the file stands between two streams there, too. What
comes to nothing (a wrong guess, broken data, more than there is room for) is given back as it stands in the
file, to be read in its turn, and so every error is that of reading alone.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from lvmfast.corpus.blocks import BlockMemory
from lvmfast.threads import threads

#: Puts what a run holds into memory; how many bytes that are, or None where it comes to nothing.
Decode = Callable[[bytes, memoryview], int | None]

#: Runs may come to nothing so often before the rest of their file is left to its reader.
_TRIES = 3


class Runs:
    """A compressed file, read forward: by runs, or by bytes where no run ends within reach."""

    def __init__(self, raw: Any, begins: re.Pattern[bytes], decode: Decode, at_once: int, room: int) -> None:
        """Nothing is read yet.

        Args:
            raw: is read forward, and closed by whoever opened it.
            begins: finds the first bytes of a stream.
            decode: what threads do.
            at_once: how many of them there are.
            room: bytes that a run may take, compressed and decompressed.
        """
        self._raw, self._begins, self._decode = raw, begins, decode
        self._at_once = at_once
        self._shortest, self._longest = room // 32, room // 4
        self._memory, self._most = BlockMemory(), room - self._longest
        self._held, self._at = b"", 0  # read of the file; what is behind this place is not passed on
        self._place = 0  # in the file, of what is passed on next
        self._begun: deque[tuple[bytes, memoryview, Future[int | None]]] = deque()
        self._pool: Executor | None = None
        self._tries = _TRIES
        self._pause = 0  # bytes that are read before it is worth while to look for runs again

    @property
    def may_follow(self) -> bool:
        """Whether to ask for one, between two streams."""
        return bool(self._begun) or (self._tries > 0 and self._pause <= 0)

    def following(self) -> memoryview | None:
        """What the next run holds; None where the next stream is to be read by bytes."""
        while len(self._begun) < self._at_once and self.may_follow and (run := self._cut()):
            memory = self._memory.lend(self._most).data
            try:
                self._pool = self._pool or threads(self._at_once, "lvmfast-streams")
                self._begun.append((run, memory, self._pool.submit(self._decode, run, memory)))
            except RuntimeError:  # no thread can start
                self._tries = 0
                self.back(run)
        if not self._begun:
            return None
        run, memory, made = self._begun.popleft()
        size = made.result()
        if size is not None:
            return memory[:size]
        for _, _, other in self._begun:
            other.cancel()
        self.back(b"".join([run, *(other for other, _, _ in self._begun)]))
        self._begun.clear()
        self._tries, self._pause = self._tries - 1, len(run)
        return None

    def _cut(self) -> bytes:
        """The next bytes, up to where a stream seems to begin; none if it does nowhere within reach."""
        while True:
            found = self._begins.search(self._held, self._at + self._shortest)
            if found:
                run, self._at = self._held[self._at : found.start()], found.start()
                self._place += len(run)
                return run
            missing = self._longest - (len(self._held) - self._at)
            if missing <= 0:
                self._pause = self._longest
                return b""
            more = self._raw.read(missing)
            if not more:
                self._tries = 0  # what is left is short
                return b""
            self._held, self._at = self._held[self._at :] + more, 0

    def read(self, size: int) -> bytes:
        """The next bytes of the file, up to a multiple of `size`; none at its end.

        So they come in the same pieces as from the file, and a library says the same of what is broken.
        """
        wanted = size - self._place % size
        data = self._held[self._at : self._at + wanted]
        self._at += len(data)
        if len(data) < wanted:
            data += self._raw.read(wanted - len(data))
        self._place += len(data)
        self._pause -= len(data)
        return data

    def back(self, data: bytes) -> None:
        """Gives back what was read last."""
        self._held, self._at = data + self._held[self._at :], 0
        self._place -= len(data)

    def tell(self) -> int:
        """How much of the file was read."""
        return int(self._raw.tell())

    def close(self) -> None:
        """Ends the threads, which come to the end of their runs first."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
