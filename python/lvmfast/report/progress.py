"""Progress on stderr: bars on a terminal, now and then a plain line in a log, nothing when quiet."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console
from rich.text import Text

from lvmfast.leaks.cost import Announce, say_nothing
from lvmfast.leaks.engine import Progress, silent

SECONDS_BETWEEN_LINES = 10.0


class Rate(bars.ProgressColumn):
    """Rows, or what else a phase counts, per second."""

    def render(self, task: bars.Task) -> Text:
        """The rate, once there is one."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {task.fields['unit']}/s", style="dim")


@contextmanager
def progress_display(quiet: bool, units: Mapping[str, str] | None = None) -> Iterator[Progress]:
    """The display that fits: silent when asked, bars on a terminal, lines elsewhere.

    `units` names what a phase counts, where that is not rows.
    """
    if quiet:
        yield silent
    elif sys.stderr.isatty():
        with bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            Rate(),
            bars.TimeRemainingColumn(),
            console=Console(stderr=True),  # stdout stays with the answer
            transient=True,
        ) as drawn:
            yield Bars(drawn, units or {})
    else:
        yield Lines(units or {})


def announcer(quiet: bool) -> Announce:
    """Prints lines on stderr, unless asked to be silent."""
    return say_nothing if quiet else lambda line: print(f"lvmfast: {line}", file=sys.stderr, flush=True)


class Bars:
    """One bar per phase; a phase that starts again starts at its beginning."""

    def __init__(self, drawn: bars.Progress, units: Mapping[str, str]) -> None:
        """Draws on `drawn`, which is running."""
        self._drawn = drawn
        self._units = units
        self._tasks: dict[str, bars.TaskID] = {}

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        """Moves the bar of `phase`."""
        if phase not in self._tasks:
            unit = self._units.get(phase, "rows")
            self._tasks[phase] = self._drawn.add_task(phase, total=total, unit=unit)
        self._drawn.update(self._tasks[phase], completed=done, total=total)


class Lines:
    """One line per phase every few seconds, for logs."""

    def __init__(self, units: Mapping[str, str]) -> None:
        """Prints on stderr."""
        self._units = units
        self._phase = ""
        self._started = self._last = 0.0

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        """Prints when the last line of this phase is some seconds old."""
        now = time.monotonic()
        if phase != self._phase or done == 0:
            self._phase, self._started, self._last = phase, now, now
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        rate = done / (now - self._started)
        of = f"/{total:,}" if total else ""
        left = f", {(total - done) / rate:,.0f} s left" if total and rate else ""
        unit = self._units.get(phase, "rows")
        print(f"{phase}: {done:,}{of} {unit}, {rate:,.0f} {unit}/s{left}", file=sys.stderr, flush=True)
