"""Threads that work beside their asker, where a thread can start."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

#: Address space that a thread may take as it starts: its stack, and the arena of its allocator.
_ROOM = 256 << 20


def threads(count: int, name: str) -> Executor:
    """So many threads, named so; where little address space is left, none: work is done as it is submitted.

    CPython waits without end for a thread that gets no memory for its first call.
    """
    return ThreadPoolExecutor(count, thread_name_prefix=name) if _has_room() else _AtOnce()


def _has_room() -> bool:
    with suppress(OSError, ValueError), mmap.mmap(-1, _ROOM):  # nothing of it is touched, or takes memory
        return True
    return False


class _AtOnce(Executor):
    """Does what is submitted in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        """As of `Executor`."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **named))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            future.set_exception(error)
        return future
