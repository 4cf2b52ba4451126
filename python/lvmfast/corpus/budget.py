"""How much of what readers decode may be in memory at a time: a share of the limit that the user set.

What a file holds is no measure of what its rows are: a dictionary names one long text in every row. So blocks
are cut by what decoding makes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
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
#: Files that are read at a time, however many cores there are.
MOST_FILES_AT_ONCE = 8
#: What a file takes that is read before its turn: blocks as they are read, parsed and decoded.
_FILE_BYTES = 96 << 20
#: Batches of files that wait for their turn, all files together.
_WAITING_BYTES = 16 << 20
#: Runs of short compressed streams that are decompressed at a time, and what is worth while as room for one.
_MOST_STREAMS_AT_ONCE = 4
_LEAST_RUN_BYTES = 4 << 20
#: Blocks take a third of what the base leaves.
_BLOCKS_IN_ROOM = 3 * BLOCKS_HELD

_limit: ContextVar[int | None] = ContextVar("memory_limit", default=None)
_threads: ContextVar[int] = ContextVar("threads", default=0)
#: Files that are read at a time.
_beside: ContextVar[int] = ContextVar("beside", default=1)

P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")


@contextmanager
def reading_within(limit: int | None, threads: int | None = None) -> Iterator[None]:
    """Readers keep to a share of `limit` bytes, in this thread and in those that read ahead for it.

    They read no more files at a time than there are `threads`; 0 is one per core. None leaves what was said.
    """
    with (
        _set(_limit, _limit.get() if limit is None else limit),
        _set(_threads, _threads.get() if threads is None else threads),
    ):
        yield


def reading_beside(files: int) -> AbstractContextManager[None]:
    """Readers share what there is with those of other files: so many at a time."""
    return _set(_beside, files)


@contextmanager
def _set(variable: ContextVar[V], value: V) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def limited(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, whose readers keep to what is given to it as `memory_limit` and `threads`."""

    @wraps(function)
    def held(*args: P.args, **kwargs: P.kwargs) -> R:
        limit, threads = kwargs.get("memory_limit"), kwargs.get("threads")
        with reading_within(
            limit if isinstance(limit, int) else None, threads if isinstance(threads, int) else None
        ):
            return function(*args, **kwargs)

    return held


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        """What a decoder may hold of what it has decoded: of half of what the base leaves; None for any."""
        if self._limit is None:
            return None
        return max(LEAST_WINDOW_BYTES, (self._limit - BASE_BYTES) // 2 // _beside.get())

    @property
    def files_at_once(self) -> int:
        """How many files may be read at a time: all but one share an eighth of what the base leaves."""
        most = min(MOST_FILES_AT_ONCE, _threads.get() or cores())
        if self._limit is None:
            return most
        return max(1, min(most, 1 + (self._limit - BASE_BYTES) // 8 // _FILE_BYTES))

    @property
    def streams_at_once(self) -> int:
        """How many threads may decompress one file: those that other files, and the parser, leave."""
        most = min(_MOST_STREAMS_AT_ONCE, (_threads.get() or cores()) // _beside.get() - 1)
        return max(1, min(most, self._ahead_bytes // _LEAST_RUN_BYTES - 1))

    @property
    def run_bytes(self) -> int:
        """What each may take: with the run that is passed on, they take a block, all files together."""
        return self._ahead_bytes // (self.streams_at_once + 1)

    @property
    def _ahead_bytes(self) -> int:
        return self.block_bytes // _beside.get()

    @property
    def waiting_bytes(self) -> int:
        """Batches that may wait for the turn of their file."""
        return min(_WAITING_BYTES, self.block_bytes)

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
