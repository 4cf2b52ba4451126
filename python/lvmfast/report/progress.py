"""Progress on stderr: bars on a terminal, now and then a plain line in a log, nothing when quiet."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0


class RowRate(ProgressColumn):
    """Rows per second."""

    def render(self, task: Task) -> Text:
        """The rate, once there is one."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} rows/s", style="dim")


class Bars:
    """One bar per phase."""

    def __init__(self) -> None:
        """Draws on stderr, so that stdout stays with the answer."""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            RowRate(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        """Starts drawing."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bars away."""
        self._progress.stop()

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        """Moves the bar of `phase`; a phase that starts again starts at its beginning."""
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(phase, total=total)
        self._progress.update(self._tasks[phase], completed=done, total=total)


class Lines:
    """One line per phase every few seconds, for logs."""

    def __init__(self) -> None:
        """Prints on stderr."""
        self._phase = ""
        self._started = self._last = 0.0

    def __enter__(self) -> Lines:
        """Nothing to start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to take away."""

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
        print(f"{phase}: {done:,}{of} rows, {rate:,.0f} rows/s{left}", file=sys.stderr, flush=True)


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Silent:
        """Nothing to start."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to take away."""

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        """Does nothing."""


def progress_display(quiet: bool) -> Bars | Lines | Silent:
    """The display that fits: silent when asked, bars on a terminal, lines elsewhere."""
    if quiet:
        return Silent()
    return Bars() if sys.stderr.isatty() else Lines()
