"""Ctrl-C and a scheduler's SIGTERM: the step is finished and saved before the run stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """A run that was stopped and saved; the message says where it stands."""


class StopFlag:
    """Whether the user asked to stop. A second Ctrl-C stops at once, and nothing more is saved."""

    def __init__(self) -> None:
        """Not yet."""
        self.raised = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """A signal's handler."""
        if self.raised and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.raised = True


@contextmanager
def stop_flag() -> Iterator[StopFlag]:
    """Signals raise the flag until the block ends; outside the main thread there are none to catch."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before: dict[int, Any] = {
        number: signal.signal(number, flag) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
