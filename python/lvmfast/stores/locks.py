"""One process at a time writes to a place: locks that end with their process and say who holds them."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from lvmfast.errors import DataError
from lvmfast.locking import FLOCK, Lock, beside, lock_beside, lock_handle
from lvmfast.stores.uris import is_uri, local_path

#: The lock of a folder in whose parent nothing can be made; others stand beside their place.
INSIDE = ".lvmfast.lock"
_NAME_BYTES = 255
_SHOWN = 200
#: Folders and locks can vanish with the commands that made them, but not for ever.
_TRIES = 100

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

#: By real path: the process and the thread that hold it. A forked child holds nothing.
_holders: dict[str, tuple[int, int]] = {}


@contextmanager
def holding(place: str | os.PathLike[str] | None, *, parents: bool = True) -> Iterator[None]:
    """Keeps others from writing to a folder or file, there or not yet, until the block ends.

    The lock is a hidden file beside the place; it names its holder, ends with its process however that
    ends, and is removed with the block. So are `place` and the folders above it, where they came to be
    within the block and are empty. Within a thread that holds a place it can be held again. Objects in a
    store cannot be locked, nor files where the file system knows no locks: nothing is held then.

    Args:
        place: a path; of a URI or None nothing is done.
        parents: make the folders above it where they are missing.

    Raises:
        DataError: another process holds it; the message says which.
    """
    if place is None or is_uri(os.fspath(place)):
        yield
        return
    real = os.path.realpath(local_path(os.fspath(place)))
    me = os.getpid(), threading.get_ident()
    if _holders.get(real) == me:
        yield
        return
    there, made = os.path.lexists(real), list[str]()
    lock = None
    try:
        lock = _acquired(os.fspath(place), real, made if parents else None)
        if lock is not None:
            _holders[real] = me
        yield
    finally:
        if os.getpid() == me[0]:
            if lock is not None:
                del _holders[real]
                if not there:
                    _remove_empty(real)
                lock.release()
            for folder in reversed(made):
                _remove_empty(folder)


def alone_in(place: str) -> bool:
    """Whether this process holds the local folder `place`, so that nobody else writes there."""
    return _holders.get(os.path.realpath(place), (0, 0))[0] == os.getpid()


def holds(
    *names: str, parents: bool = True
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """A function that holds the places that its arguments of these names give, while it runs."""

    def wrapped(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        signature = inspect.signature(function)

        @wraps(function)
        def run(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
            given = signature.bind(*args, **options).arguments
            with ExitStack() as held:
                for name in names:
                    held.enter_context(holding(given.get(name), parents=parents))
                return function(*args, **options)

        return run

    return wrapped


def _acquired(given: str, real: str, made: list[str] | None) -> Lock | None:
    """A lock; None where there can be none. Folders that it makes go to `made`.

    Raises:
        DataError: another process has it.
    """
    if not FLOCK:
        return _acquired_beside(given, real, made)
    for _ in range(_TRIES):
        path = _beside(real)
        try:
            handle = _opened(path)
        except FileNotFoundError:
            if made is None or not _make_parents(real, made):
                return None
            continue
        except OSError:
            path = os.path.join(real, INSIDE)
            try:
                handle = _opened(path)
            except OSError:
                return None  # nothing can be written here, which the command will say itself
        try:
            lock_handle(handle)
        except BlockingIOError:
            held = DataError(f"{given}: in use by {_holder(handle)}; let it end, or give another place")
            os.close(handle)
            raise held from None
        except OSError:  # a file system without locks
            os.close(handle)
            with suppress(OSError):
                os.unlink(path)
            return None
        if _is_at(path, handle):
            _sign(handle)
            return Lock(partial(_let_go, path, handle))
        os.close(handle)  # of one who ended between the two steps
    return None


def _let_go(path: str, handle: int) -> None:
    with suppress(OSError):
        os.unlink(path)  # while it is held, so that nobody locks a file without a name
    os.close(handle)


def _acquired_beside(given: str, real: str, made: list[str] | None) -> Lock | None:
    """As `_acquired`, where a lock cannot say who holds it."""
    if not os.path.isdir(os.path.dirname(real)) and (made is None or not _make_parents(real, made)):
        return None
    lock = lock_beside(real)
    if lock is None and os.path.exists(beside(real)):
        raise DataError(f"{given}: in use by another process; let it end, or give another place")
    return lock


def _beside(real: str) -> str:
    folder, name = os.path.split(real)
    hidden = f".{name}.lock"
    if len(os.fsencode(hidden)) > _NAME_BYTES:
        hidden = f".{hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()}.lock"
    return os.path.join(folder, hidden)


def _opened(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)


def _make_parents(real: str, made: list[str]) -> bool:
    """Makes the missing folders above a place, the highest first; whether that was possible."""
    missing = []
    for folder in Path(real).parents:
        if folder.is_dir():
            break
        missing.append(str(folder))
    for name in reversed(missing):
        try:
            os.mkdir(name)
        except FileExistsError:  # of another process, meanwhile
            continue
        except OSError:
            return False
        if name not in made:
            made.append(name)
    return True


def _remove_empty(folder: str) -> None:
    with suppress(OSError):  # a file, in use, or gone
        os.rmdir(folder)


def _is_at(path: str, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _sign(handle: int) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": shlex.join([os.path.basename(sys.argv[0] or "python"), *sys.argv[1:]]),
    }
    with suppress(OSError):  # a full disk: the lock holds all the same
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode(), 0)


def _holder(handle: int) -> str:
    """Who signed a lock, in words."""
    try:
        said = json.loads(os.pread(handle, 1 << 16, 0))
        pid, host, since, command = (str(said[name]) for name in ("pid", "host", "since", "command"))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"
    command = command.encode("unicode_escape").decode() if not command.isprintable() else command
    command = command if len(command) <= _SHOWN else f"{command[:_SHOWN]}..."
    return f"process {pid} on {host} since {since} ({command})"
