"""How much of what readers decode may be in memory at a time: a share of the limit that the user set.

What a file holds is no measure of what its rows are: a dictionary names one long text in every row. So blocks
are cut by what decoding makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

from lvmfast.errors import DataError

#: What the interpreter with numpy, pyarrow and all that a report needs is taken to hold.
BASE_BYTES = 200 << 20
#: Blocks that are alive at once: as read, the next one, in the core's own form, and the hits with all that is
#: made of them.
BLOCKS_HELD = 11
#: Bytes of a block of rows where memory is no matter; a tight limit makes blocks smaller.
BLOCK_BYTES = 64 << 20
LEAST_BLOCK_BYTES = 1 << 20
#: Windows that files of zstd and xz have where nobody asked for others.
LEAST_WINDOW_BYTES = 8 << 20
#: Blocks take a third of what the base leaves.
_BLOCKS_IN_ROOM = 3 * BLOCKS_HELD

_limit: ContextVar[int | None] = ContextVar("memory_limit", default=None)

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def reading_within(limit: int | None) -> Iterator[None]:
    """Readers keep to a share of `limit` bytes, in this thread and in those that read ahead for it."""
    token = _limit.set(_limit.get() if limit is None else limit)
    try:
        yield
    finally:
        _limit.reset(token)


def limited(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, whose readers keep to what is given to it as `memory_limit`."""

    @wraps(function)
    def held(*args: P.args, **kwargs: P.kwargs) -> R:
        limit = kwargs.get("memory_limit")
        with reading_within(limit if isinstance(limit, int) else None):
            return function(*args, **kwargs)

    return held


def share_of(limit: int | None) -> int:
    """Bytes of a block of rows under a limit."""
    if limit is None:
        return BLOCK_BYTES
    return min(BLOCK_BYTES, max(LEAST_BLOCK_BYTES, (limit - BASE_BYTES) // _BLOCKS_IN_ROOM))


def fixed_bytes(limit: int | None) -> int:
    """What every scan under a limit needs, whatever its rows: the interpreter, libraries, and blocks."""
    return BASE_BYTES + BLOCKS_HELD * share_of(limit)


class Budget:
    """What one reading may hold, settled when it begins."""

    def __init__(self) -> None:
        """By the limit of whoever reads."""
        self._limit = _limit.get()
        #: of a block of rows
        self.block_bytes = share_of(self._limit)
        #: of rows that are kept because a report may name them
        self.kept_bytes = self.block_bytes // 4

    @property
    def window_bytes(self) -> int | None:
        """What a decoder may hold of what it has decoded: half of what the base leaves; None for any."""
        return None if self._limit is None else max(LEAST_WINDOW_BYTES, (self._limit - BASE_BYTES) // 2)

    def check_row(self, size: int, where: str) -> None:
        """Refuses a row that all its copies would take beyond the limit.

        Raises:
            DataError: it is one; the message begins with `where`.
        """
        if self._limit is None:
            return
        most = max(LEAST_BLOCK_BYTES, (self._limit - BASE_BYTES) // BLOCKS_HELD)
        if size > most:
            raise DataError(
                f"{where}: expected at most {most / 2**20:.1f} MiB, for which the --memory-limit of "
                f"{self._limit / 2**20:.0f} MiB has room, got {size / 2**20:.1f} MiB; raise the limit to "
                f"{(BASE_BYTES + BLOCKS_HELD * size) / 2**20 + 1:.0f} MiB"
            )
