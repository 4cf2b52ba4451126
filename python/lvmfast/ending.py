"""The end of the process: Python's own work is done, and no library of C ends it with a code of its choice.

OpenBLAS, for one, calls `exit(1)` where it gets no memory, which would read as a leak. A thread of Python's
that gets none as it starts is, on the other hand, waited for without end.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import sys
import threading
from typing import Any

_FAILED = 2
_SAID = b"lvmfast: a library ended the process (little memory, or few threads?); no verdict\n"
_NO_MEMORY = b"lvmfast: out of memory in a thread; no verdict\n"
_kept: list[object] = []  # what C holds a pointer to


def guard_exit() -> None:
    """From here on a call of C's `exit` is exit code 2: `leave` alone ends the process otherwise."""
    at_exit = ctypes.CFUNCTYPE(None)(_at_exit)
    _kept.append(at_exit)
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no C library that all of a process shares
        return
    if hasattr(libc, "atexit"):
        libc.atexit(at_exit)
    else:  # glibc has it in what is linked statically, and exports what it calls
        libc.__cxa_atexit(at_exit, None, None)


def _at_exit() -> None:
    _fail(_SAID)


def guard_threads() -> None:
    """From here on a thread that dies for want of memory ends the process with exit code 2.

    It may not have said yet that it started, or what came of its work, and is waited for without end.
    """
    import logging  # what concurrent.futures tells such an end to

    of_interpreter, of_threading = sys.unraisablehook, threading.excepthook

    def unraisable(error: Any) -> None:
        _fail_without_memory(error.exc_value)
        of_interpreter(error)

    def in_thread(error: Any) -> None:
        _fail_without_memory(error.exc_value)
        of_threading(error)

    def logged(record: logging.LogRecord) -> bool:
        _fail_without_memory(record.exc_info[1] if record.exc_info else None)
        return True

    sys.unraisablehook, threading.excepthook = unraisable, in_thread
    logging.getLogger("concurrent.futures").addFilter(logged)


def _fail_without_memory(error: BaseException | None) -> None:
    while error is not None:  # putting the thread in order may have failed in its turn
        if isinstance(error, MemoryError):
            _fail(_NO_MEMORY)
        error = error.__context__


def _fail(said: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(2, said)
    os._exit(_FAILED)


def leave(code: int) -> None:
    """Ends the process as Python does: threads are waited for, what was registered is called."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)
