"""Progress on a terminal: one bar per phase."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console
from rich.text import Text

from lvmfast.shown import line


class Rate(bars.ProgressColumn):
    """Rows, or what else a phase counts, per second."""

    def render(self, task: bars.Task) -> Text:
        """The rate, once there is one."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {task.fields['unit']}/s", style="dim")


@contextmanager
def drawn_bars(units: Mapping[str, str], *, on_stderr: bool = True) -> Iterator[Bars]:
    """Bars on stderr, or else on stdout, until the work is done.

    `units` names what a phase counts, where that is not rows.
    """
    with bars.Progress(
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        Rate(),
        bars.TimeRemainingColumn(),
        console=Console(stderr=on_stderr),  # stdout stays with the answer
        transient=True,
    ) as drawn:
        yield Bars(drawn, units)


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
            self._tasks[phase] = self._drawn.add_task(line(phase), total=total, unit=unit)
        self._drawn.update(self._tasks[phase], completed=done, total=total)
