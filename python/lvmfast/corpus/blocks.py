"""Blocks of a file: in memory that is used again, and each read while the one before it is dealt with."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from lvmfast.errors import DataError
from lvmfast.threads import threads

Bytes = npt.NDArray[np.uint8]
Span = TypeVar("Span")
Block = TypeVar("Block")


class _Lease:
    """What an array over borrowed memory has for its base: it dies with the last view of that memory."""

    def __init__(self, memory: Bytes) -> None:
        self.__array_interface__: dict[str, Any] = memory.__array_interface__


class BlockMemory:
    """Memory for one block after the other. What no array looks at any more is lent again.

    New memory for every block would cost more than reading it: the system clears each page first.
    """

    def __init__(self) -> None:
        """Nothing lent yet."""
        self._free: list[Bytes] = []

    def lend(self, size: int) -> Bytes:
        """(size,) bytes of any content, that nobody else holds."""
        fitting = [place for place, memory in enumerate(self._free) if len(memory) >= size]
        memory = self._free.pop(fitting[0]) if fitting else np.empty(size, np.uint8)
        lease = _Lease(memory)
        weakref.finalize(lease, self._free.append, memory).atexit = False
        return np.asarray(lease)[:size]


def read_into(file: BinaryIO, offset: int, block: Bytes, where: str) -> None:
    """Fills `block` with the bytes of `file` from `offset` on.

    Raises:
        DataError: the file ends before that; `where` names it.
    """
    file.seek(offset)
    view, done = memoryview(block.data), 0
    while done < len(view):
        got = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise DataError(
                f"{where}: expected {len(view)} bytes at {offset}, got {done}: "
                "the file was cut short while it was read"
            )
        done += got


def read_ahead(read: Callable[[Span], Block], spans: Iterable[Span]) -> Iterator[Block]:
    """Yields `read` of each span in turn; a thread is at the next one meanwhile.

    Raises what `read` raises, in its turn.
    """
    return ahead(map(read, spans))


def ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """Yields what `blocks` yields; a thread asks for the next one meanwhile, under the asker's limits.

    Raises what `blocks` raises, in its turn.
    """
    context = copy_context()

    def one() -> Block | None:
        return next(blocks, None)

    with threads(1, "lvmfast-read") as reader:
        following: Future[Block | None] = reader.submit(context.run, one)
        while (block := following.result()) is not None:
            following = reader.submit(context.run, one)
            yield block
