"""The end of the process: Python's own work is done, and no library of C ends it with a code of its choice.

OpenBLAS, for one, calls `exit(1)` where it gets no memory, which would read as a leak.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import sys
import threading

_FAILED = 2
_SAID = b"lvmfast: a library ended the process (little memory, or few threads?); no verdict\n"
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
    with contextlib.suppress(OSError):
        os.write(2, _SAID)
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
