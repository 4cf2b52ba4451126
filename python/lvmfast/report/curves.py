"""The curves of training runs as one SVG, which stands alone or inside a page, light or dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import drawsvg

from lvmfast.shown import visible

Points = Sequence[tuple[int, float]]

WIDTH, PANEL_HEIGHT, COLUMNS = 960.0, 250.0, 2
LEFT, RIGHT, TOP, BOTTOM = 66.0, 84.0, 34.0, 40.0
TEXT, LINE = 12.0, 14.0
COLOURS = 8
LONGEST_NAME = 48

STYLE = """
svg.curves { color-scheme: light dark; --ink: #1d2126; --soft: #5a626c; --line: #dcdad5; --gate: #b3261e;
  --r0: #1c5d99; --r1: #b45309; --r2: #2f6f4f; --r3: #8e44ad; --r4: #c2185b; --r5: #00838f; --r6: #6d5c00;
  --r7: #5d4037; --paper: #ffffff; font-family: system-ui, "Liberation Sans", sans-serif; }
@media (prefers-color-scheme: dark) { svg.curves { --ink: #e6e8ea; --soft: #a3abb5; --line: #343a42;
  --gate: #ff8a80; --r0: #8cc1f2; --r1: #f0a35e; --r2: #7fcfa3; --r3: #cfa0e6; --r4: #f48fb1; --r5: #6fd3dd;
  --r6: #d9c75b; --r7: #bca79e; --paper: #1c2026; } }
.curves .paper { fill: var(--paper); } .curves text { fill: var(--soft); }
.curves .title { fill: var(--ink); font-weight: 600; } .curves .grid { stroke: var(--line); }
.curves .axis { stroke: var(--soft); } .curves .curve { fill: none; stroke-width: 2; }
.curves .minor { stroke-width: 1.25; stroke-dasharray: 2 3; }
.curves .baseline { stroke: var(--soft); stroke-dasharray: 7 4; }
.curves .gate { stroke: var(--gate); stroke-width: 1.5; }
.curves text.gate-name { fill: var(--gate); stroke: none; }
""" + "".join(
    f".curves .r{n} {{ stroke: var(--r{n}); }} .curves .dot.r{n} {{ fill: var(--r{n}); }}\n"
    for n in range(COLOURS)
)


@dataclass(frozen=True)
class Panel:
    """One figure over the epochs, for every run."""

    title: str
    curves: Mapping[str, Points]  #: by run; a run without points is named as lacking the figure
    minor: Mapping[str, Points] = field(default_factory=dict)  #: drawn thin and dotted, the training loss say
    minor_name: str = ""
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  #: by run, then by baseline
    gate: tuple[int, float] | None = None  #: from which epoch on which threshold holds
    gate_name: str = ""


def curves_svg(panels: Sequence[Panel], runs: Sequence[str], heading: str = "") -> str:
    """Draws the panels in two columns, with a legend of the runs.

    Args:
        panels: what is drawn, in order.
        runs: their names, unlike each other; the place of a name settles its colour.
        heading: a line above everything, say that a run is stamped LEAKED.
    """
    legend, legend_height = _legend(runs, heading)
    rows = math.ceil(len(panels) / COLUMNS)
    height = legend_height + rows * PANEL_HEIGHT
    titles = ", ".join(panel.title for panel in panels)
    drawing = drawsvg.Drawing(
        WIDTH, height, class_="curves", role="img", aria_label=f"Training curves: {titles}"
    )
    drawing.append_css(STYLE)
    drawing.append(drawsvg.Rectangle(0, 0, WIDTH, height, class_="paper"))
    drawing.append(legend)
    for place, panel in enumerate(panels):
        row, column = divmod(place, COLUMNS)
        x, y = column * WIDTH / COLUMNS, legend_height + row * PANEL_HEIGHT
        drawn = _Panel(panel, runs).draw()
        drawn.args["transform"] = f"translate({x:g},{y:g})"
        drawing.append(drawn)
    svg: str = drawing.as_svg()
    return svg[svg.index("<svg") :]


class _Panel:
    """One panel while it is drawn, in coordinates of its own."""

    def __init__(self, panel: Panel, runs: Sequence[str]) -> None:
        self.panel, self.runs = panel, runs
        self.width, self.floor = WIDTH / COLUMNS, PANEL_HEIGHT - BOTTOM
        groups = (panel.curves, panel.minor)
        points = [point for group in groups for curve in group.values() for point in curve]
        self.points = points
        values = [value for _, value in points]
        if points:
            values += [value for own in panel.baselines.values() for value in own.values()]
            values += [panel.gate[1]] if panel.gate else []
        self.epochs = (min((e for e, _ in points), default=1), max((e for e, _ in points), default=1))
        self.ticks = _ticks(min(values, default=0.0), max(values, default=1.0))
        self.group = drawsvg.Group(class_="panel")

    def x(self, epoch: float) -> float:
        first, last = self.epochs
        share = 0.5 if first == last else (epoch - first) / (last - first)
        return round(LEFT + (self.width - LEFT - RIGHT) * share, 2)

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return round(self.floor - (self.floor - TOP) * (value - low) / (high - low), 2)

    def draw(self) -> drawsvg.Group:
        self.text(self.panel.title, LEFT, 18, "title")
        lacking = [name for name in self.runs if not self.panel.curves.get(name)]
        if not self.points:
            self.text(
                "not in the history of any of these runs",
                self.width / 2,
                PANEL_HEIGHT / 2,
                "lacking",
                "middle",
            )
            return self.group
        self.axes()
        self.lines_across()
        for place, name in enumerate(self.runs):
            self.curve(place, name, self.panel.minor.get(name, ()), "curve minor")
            self.curve(place, name, self.panel.curves.get(name, ()), "curve")
        notes = [f"dotted: {self.panel.minor_name}"] if any(self.panel.minor.values()) else []
        if lacking:
            notes.append(
                f"not in {_short(lacking[0], 24)}" + (f" and {len(lacking) - 1} more" if lacking[1:] else "")
            )
        self.text("; ".join(notes), LEFT, PANEL_HEIGHT - 6, "lacking" if lacking else "aside")
        return self.group

    def axes(self) -> None:
        right = self.width - RIGHT
        for tick in self.ticks:
            y = self.y(tick)
            self.group.append(drawsvg.Line(LEFT, y, right, y, class_="grid"))
            self.text(_number(tick), LEFT - 8, y + 4, "label", "end")
        self.group.append(drawsvg.Line(LEFT, self.floor, right, self.floor, class_="axis"))
        first, last = self.epochs
        step = max(1, math.ceil((last - first) / 8))
        for epoch in range(first, last + 1, step):
            self.text(str(epoch), self.x(epoch), self.floor + 16, "label", "middle")
        self.text("epoch", right, PANEL_HEIGHT - 6, "label", "end")

    def lines_across(self) -> None:
        right = self.width - RIGHT
        labels: list[tuple[float, str, str]] = []
        values = [own for name in self.runs if (own := self.panel.baselines.get(name))]
        shared = all(own == values[0] for own in values)
        for place, name in enumerate(self.runs):
            own = self.panel.baselines.get(name) or {}
            if not own or (shared and own is not values[0]):
                continue
            colour = "" if shared else f" r{place % COLOURS}"
            for baseline, value in own.items():
                y = self.y(value)
                line = drawsvg.Line(LEFT, y, right, y, class_=f"baseline{colour}")
                line.append_title(
                    f"{visible(baseline)}{'' if shared else f' of {visible(name)}'}: {value:.4g}"
                )
                self.group.append(line)
                labels.append((y, _short(baseline, 12), "baseline-name"))
        if self.panel.gate is not None:
            epoch, value = self.panel.gate
            y = self.y(value)
            start = self.x(min(max(epoch, self.epochs[0]), self.epochs[1]))
            start = LEFT if self.epochs[0] == self.epochs[1] else start
            self.group.append(drawsvg.Line(start, y, right, y, class_="gate"))
            labels.append((y, self.panel.gate_name, "gate-name"))
        for y, label, class_ in _spread(labels, TOP, self.floor):
            self.text(label, right + 6, y + 4, class_)

    def curve(self, place: int, name: str, points: Points, class_: str) -> None:
        colour = f"r{place % COLOURS}"
        if len(points) > 1:
            path = drawsvg.Path(class_=f"{class_} {colour}")
            for start, (epoch, value) in enumerate(points):
                (path.L if start else path.M)(self.x(epoch), self.y(value))
            path.append_title(visible(name))
            self.group.append(path)
        if "minor" not in class_ or len(points) == 1:
            for epoch, value in points:
                dot = drawsvg.Circle(self.x(epoch), self.y(value), 2.5, class_=f"dot {colour}")
                dot.append_title(f"{visible(name)}, epoch {epoch}: {value:.4g}")
                self.group.append(dot)

    def text(self, text: str, x: float, y: float, class_: str, anchor: str = "start") -> None:
        if text:
            self.group.append(
                drawsvg.Text(text, TEXT, round(x, 2), round(y, 2), text_anchor=anchor, class_=class_)
            )


def _legend(runs: Sequence[str], heading: str) -> tuple[drawsvg.Group, float]:
    group = drawsvg.Group(class_="legend")
    y = 22.0
    if heading:
        group.append(drawsvg.Text(visible(heading), TEXT + 1, LEFT, y, class_="gate-name heading"))
        y += 22
    x = LEFT
    for place, name in enumerate(runs):
        shown = _short(name, LONGEST_NAME)
        width = 34 + 7.2 * len(shown)
        if x > LEFT and x + width > WIDTH - 20:
            x, y = LEFT, y + 20
        group.append(drawsvg.Line(x, y - 4, x + 20, y - 4, class_=f"curve r{place % COLOURS}"))
        label = drawsvg.Text(shown, TEXT, x + 26, y, class_="run-name")
        label.append_title(visible(name))
        group.append(label)
        x += width + 12
    return group, y + 14


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers around all values, about five."""
    if high - low < 1e-12 * max(abs(high), 1e-300):
        pad = abs(high) * 0.1 or 0.5
        low, high = low - pad, high + pad
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * part for part in (1, 2, 2.5, 5, 10) if power * part >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * place for place in range(first, last + 1)]


def _number(value: float) -> str:
    size = abs(value)
    text = (
        f"{value:.0e}" if size >= 1e6 else f"{value:.4g}" if size >= 1e-4 or size < 1e-12 else f"{value:.1e}"
    )
    return ("0" if size < 1e-12 else text).replace("-", "−")


def _spread(
    labels: Sequence[tuple[float, str, str]], top: float, floor: float
) -> list[tuple[float, str, str]]:
    """The labels, moved apart where they would lie on each other, and kept inside the panel."""
    placed: list[tuple[float, str, str]] = []
    for y, label, class_ in sorted(labels):
        placed.append((max(y, placed[-1][0] + LINE if placed else top), label, class_))
    limit = floor
    for place in range(len(placed) - 1, -1, -1):
        y, label, class_ = placed[place]
        placed[place] = (min(y, limit), label, class_)
        limit = placed[place][0] - LINE
    return placed


def _short(name: str, longest: int) -> str:
    name = visible(name).replace("\n", " ").replace("\t", " ")
    return name if len(name) <= longest else "…" + name[1 - longest :]
