"""Progress: bars on a terminal and in a notebook, now and then a plain line in a log, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar, cast

from lvmfast.errors import DataError
from lvmfast.leaks.cost import Announce, say_nothing
from lvmfast.leaks.progress import Progress, silent
from lvmfast.levels import LEVELS
from lvmfast.shown import Display, progress_shown, tell

SECONDS_BETWEEN_LINES = 10.0

P = ParamSpec("P")
R = TypeVar("R")


def _of_a_scan() -> dict[str, str]:
    """What phases of a scan count that do not count rows."""
    return {f"{phase} {name}": unit for name, level in LEVELS.items() for phase, unit in level.phases.items()}


@contextmanager
def progress_display(quiet: bool, units: Mapping[str, str] | None = None) -> Iterator[Progress]:
    """The display that fits: silent when asked, bars on a terminal, lines elsewhere.

    `units` names what a phase counts, where that is not rows; of those of a scan it is known.
    """
    known = {**_of_a_scan(), **(units or {})}
    display = progress_shown()
    if quiet or display is Display.none:
        yield silent
    elif display is Display.auto and in_notebook():
        from lvmfast.report.notebook import notebook_bars

        with notebook_bars(known) as drawn:
            yield drawn
    elif display is Display.rich or (display is Display.auto and sys.stderr.isatty()):
        from lvmfast.report.bars import drawn_bars

        with drawn_bars(known) as drawn:
            yield drawn
    else:
        yield Lines(known)


@contextmanager
def shown(progress: Progress | bool, units: Mapping[str, str] | None = None) -> Iterator[Progress]:
    """What a call of the API tells its progress: what was given to it, or for True the display that fits.

    `units` are those of `progress_display`.

    Raises:
        DataError: it is neither True or False nor something to call.
    """
    if isinstance(progress, bool):
        with progress_display(not progress, units) as display:
            yield display
    elif not callable(progress):
        raise DataError(
            f"progress: expected True, False or a function of (phase, done, total), got {progress!r:.60}"
        )
    else:
        yield progress


def shows_progress(call: Callable[P, R]) -> Callable[P, R]:
    """A call that takes `progress` by keyword, and is given what is told: never True or False itself."""

    @wraps(call)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        asked = cast("Progress | bool", kwargs.get("progress", False))
        with shown(asked) as told:
            kwargs["progress"] = told
            return call(*args, **kwargs)

    return run


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, whose stderr is no terminal."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def announcer(quiet: bool) -> Announce:
    """Prints lines on stderr, unless asked to be silent."""
    return say_nothing if quiet else lambda line: tell(f"lvmfast: {line}")


class Lines:
    """One line per phase every few seconds, for logs."""

    def __init__(self, units: Mapping[str, str]) -> None:
        """Prints on stderr."""
        self._units = units
        self._phase = ""
        self._started = self._last = 0.0
        self._from = 0  # where the phase was when it began here: a run that goes on begins in its middle

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        """Prints when the last line of this phase is some seconds old."""
        now = time.monotonic()
        if phase != self._phase or done == 0:
            self._phase, self._started, self._last, self._from = phase, now, now, done
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = (done - self._from) / (now - self._started)
        of = f"/{total:,}" if total else ""
        left = f", {(total - done) / rate:,.0f} s left" if total and rate else ""
        unit = self._units.get(phase, "rows")
        tell(f"{phase}: {done:,}{of} {unit}, {rate:,.0f} {unit}/s{left}")
