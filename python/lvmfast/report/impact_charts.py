"""The charts of what a leak was worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import drawsvg
from markupsafe import Markup

from lvmfast.report.charts import inline, label
from lvmfast.report.impact_sentences import figure
from lvmfast.report.shares import rounded

BAR = (300.0, 14.0)
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420.0, 210.0, 46.0, 12.0, 14.0, 36.0
#: Models whose curves have colours of their own.
COLOURS = 5


def interval_bar(
    value: float | None, interval: Sequence[float | None], scale: tuple[float, float], kind: str, zero: bool
) -> Markup:
    """An estimate and its interval on a scale; the figures stand beside it, so no screen reader reads it."""
    width, height = BAR
    low, high = scale

    def x(at: float) -> float:
        return rounded(width * (at - low) / (high - low))

    drawing = drawsvg.Drawing(width, height, class_="forest", aria_hidden="true", preserveAspectRatio="none")
    drawing.append(drawsvg.Line(0, height / 2, width, height / 2, class_="track"))
    if zero:
        drawing.append(drawsvg.Line(x(0), 0, x(0), height, class_="zero"))
    if None not in interval:
        left, right = (x(end) for end in interval if end is not None)
        drawing.append(drawsvg.Rectangle(left, height / 2 - 2, rounded(right - left), 4, class_=kind))
    if value is not None:
        drawing.append(drawsvg.Line(x(value), 1, x(value), height - 1, class_=f"estimate {kind}"))
    return inline(drawing)


def sweep_chart(models: Sequence[Mapping[str, Any]]) -> Markup:
    """The score of what remains, with its interval, as the threshold goes down from left to right."""
    drawing = drawsvg.Drawing(WIDTH, HEIGHT, class_="sweep", role="img")
    drawing.append_title("score of the items that remain below each threshold of coverage; the table has it")
    points = {
        model["name"]: [p for p in model["sweep"]["points"] if p["remaining"]["items"]] for model in models
    }
    values = [
        end for own in points.values() for p in own for end in p["remaining"]["interval"] if end is not None
    ]
    ticks = _ticks(min(values, default=0.0), max(values, default=1.0))
    low, high = ticks[0], ticks[-1]

    def y(value: float) -> float:
        return rounded(TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low))

    for tick in ticks:
        drawing.append(drawsvg.Line(LEFT, y(tick), WIDTH - RIGHT, y(tick), class_="grid"))
        drawing.append(label(figure(models[0], tick), LEFT - 6, y(tick) + 4, "end"))
    _thresholds(drawing, "threshold of coverage")
    for place, (model, own) in enumerate(zip(models, points.values(), strict=True)):
        colour = f"c{place % COLOURS}"
        band = [p for p in own if None not in p["remaining"]["interval"]]
        if band:
            edges = [(p, p["remaining"]["interval"][0]) for p in band]
            edges += [(p, p["remaining"]["interval"][1]) for p in reversed(band)]
            corners = [at for p, end in edges for at in (_x(p["threshold"]), y(end))]
            drawing.append(drawsvg.Lines(*corners, close=True, class_=f"band {colour}"))
        at = [place_ for p in own for place_ in (_x(p["threshold"]), y(p["remaining"]["mean"]))]
        if at:
            drawing.append(drawsvg.Lines(*at, close=False, class_=f"curve {colour}"))
        chosen = model["sweep"]["largest_gain_at"]
        for p in own:
            if p["threshold"] == chosen:
                drawing.append(
                    drawsvg.Circle(_x(chosen), y(p["remaining"]["mean"]), 4, class_=f"dot {colour}")
                )
    return inline(drawing)


def remaining_chart(model: Mapping[str, Any]) -> Markup:
    """How many items remain below each threshold."""
    height = HEIGHT * 0.6
    drawing = drawsvg.Drawing(WIDTH, height, class_="sweep", role="img")
    drawing.append_title("items that remain below each threshold of coverage; the table has them")
    most = max(model["sweep"]["items"], 1)
    floor = height - BOTTOM
    for count in (0, most):
        at = rounded(TOP + (floor - TOP) * (1 - count / most))
        drawing.append(drawsvg.Line(LEFT, at, WIDTH - RIGHT, at, class_="grid"))
        drawing.append(label(f"{count:,}", LEFT - 6, at + 4, "end"))
    _thresholds(drawing, "threshold of coverage", floor)
    step = (WIDTH - LEFT - RIGHT) / len(model["sweep"]["points"])
    for p in model["sweep"]["points"]:
        size = rounded((floor - TOP) * p["remaining"]["items"] / most)
        left = rounded(_x(p["threshold"]) - step * 0.35)
        bar = drawsvg.Rectangle(left, rounded(floor - size), rounded(step * 0.7), size, class_="passed")
        bar.append_title(f"{p['threshold']:.2f}: {p['remaining']['items']:,} items")
        drawing.append(bar)
    return inline(drawing)


def _x(threshold: float) -> float:
    return rounded(LEFT + 8 + (WIDTH - LEFT - RIGHT - 16) * (1 - threshold))


def _thresholds(drawing: drawsvg.Drawing, name: str, floor: float = HEIGHT - BOTTOM) -> None:
    drawing.append(drawsvg.Line(LEFT, floor, WIDTH - RIGHT, floor, class_="axis"))
    for tenths in range(10, 0, -2):
        drawing.append(label(f"{tenths / 10:.1f}", _x(tenths / 10), floor + 16, "middle"))
    drawing.append(label(name, WIDTH - RIGHT, floor + 32, "end"))


def _ticks(low: float, high: float) -> list[float]:
    """Round values from at most the lowest to at least the highest."""
    reach = (high - low) or 1.0
    unit = 10 ** math.floor(math.log10(reach / 4))
    step = next(unit * n for n in (1, 2, 5, 10) if reach / (unit * n) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * n for n in range(first, max(last, first + 1) + 1)]
