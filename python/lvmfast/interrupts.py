"""Ctrl-C at any moment: one line and exit code 130, also while libraries load and while Python ends."""

from __future__ import annotations

import _signal as signal  # signal itself loads enum first, and Ctrl-C may come meanwhile
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TYPE_CHECKING = False  # of a name that type checkers know; typing itself takes its time to load
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

EXIT_INTERRUPTED = 130
NO_THREADS = "lvmfast: the system gives no more threads; a higher limit helps (ulimit -u, -v, pids.max)"
_SECONDS_TO_REPEAT = 0.05


class Interrupts:
    """The handler of SIGINT. While a command works it raises KeyboardInterrupt; else it ends the process."""

    def __init__(self) -> None:
        """Not installed."""
        self.seen = False  #: whether there was one: then nothing that follows is a verdict
        self._working = False
        self.loading = False  #: whether libraries load that start threads

    def install(self) -> None:
        """From here on; a process that was told to ignore SIGINT goes on ignoring it."""
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self)
            sys.unraisablehook = self._unraisable

    @contextmanager
    def working(self) -> Iterator[None]:
        """A command is at work, and has something to put in order when it is interrupted."""
        self._working = True
        try:
            yield
        finally:
            self._working = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        self.seen = True
        if self._working:
            raise KeyboardInterrupt
        self._end()

    def _end(self) -> NoReturn:
        from lvmfast.shown import tell

        self._working = False
        if self.loading and not _threads_can_start():
            # OpenBLAS sends SIGINT to its own process where it gets no thread.
            tell(NO_THREADS)
            os._exit(2)
        tell("lvmfast: interrupted")
        os._exit(EXIT_INTERRUPTED)

    def _unraisable(self, error: sys.UnraisableHookArgs) -> None:
        """An interrupt that hit a destructor or a callback, where it cannot be raised, comes again."""
        if isinstance(error.exc_value, KeyboardInterrupt):
            import threading

            again = threading.Timer(_SECONDS_TO_REPEAT, signal.raise_signal, [signal.SIGINT])
            again.daemon = True
            again.start()
        else:
            sys.__unraisablehook__(error)


def _threads_can_start() -> bool:
    import threading

    wait = threading.Event()
    try:
        for _ in range(os.cpu_count() or 1):
            threading.Thread(target=wait.wait, daemon=True).start()
    except RuntimeError:
        return False
    finally:
        wait.set()
    return True


INTERRUPTS = Interrupts()
