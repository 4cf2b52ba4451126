"""Locks that end with their process: by ``flock`` where there is one, else by filelock on a file beside.

Windows has no ``flock``; filelock takes what it has instead.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from lvmfast.errors import DataError

#: Whether files and folders themselves can be locked.
FLOCK = fcntl is not None


@dataclass(frozen=True)
class Lock:
    """A lock that this process holds."""

    release: Callable[[], None]


def lock_handle(handle: int, *, wait: bool = False) -> None:
    """Locks an open file or folder until the handle is closed; only where `FLOCK` is true.

    Raises:
        BlockingIOError: another process has it, and that was not to be waited for.
        OSError: the file system knows no locks.
    """
    fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def locked(path: str | os.PathLike[str], *, wait: bool = False) -> Lock | None:
    """A lock on a file or folder that is there; None where another process holds it, or none can be had.

    Raises:
        OSError: it is not there, or, while it is waited for, the file system knows no locks.
    """
    if not FLOCK:
        return lock_beside(path, wait=wait)
    handle = os.open(path, os.O_RDONLY)
    try:
        lock_handle(handle, wait=wait)
    except OSError:
        os.close(handle)
        if wait:
            raise
        return None
    return Lock(lambda: os.close(handle))


def beside(path: str | os.PathLike[str]) -> str:
    """The hidden file next to a file or folder that is locked in its place."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(folder, f".{name}.lock")


def lock_beside(path: str | os.PathLike[str], *, wait: bool = False) -> Lock | None:
    """As `locked`, of a path that need not be there; the file beside it is removed with the lock.

    Raises:
        DataError: filelock is not installed.
    """
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise DataError("a lock on a system without flock needs filelock: pip install filelock") from error
    place = beside(path)
    lock = FileLock(place, timeout=-1 if wait else 0, thread_local=False)
    try:
        lock.acquire()
    except (Timeout, OSError):
        return None

    def release() -> None:
        lock.release()
        with suppress(OSError):
            os.unlink(place)

    return Lock(release)
