"""The charts of the page, as SVG that takes its colours from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import drawsvg
from markupsafe import Markup

from lvmfast.report.shares import rounded

WIDTH, HEIGHT = 720.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 14.0, 26.0, 38.0
NARROWEST_VIEW = 0.1  #: in cosine
TEXT = 12.0


def nearest_histogram(nearest: Mapping[str, Any], threshold: float) -> Markup:
    """Rows by the cosine of their nearest neighbour on the other side, with the threshold.

    The counts stand on a logarithmic scale: one row that leaks is as visible as the crowd that does not.
    """
    histogram = nearest["histogram"]
    step, first, counts = histogram["bin_width"], histogram["first_edge"], histogram["counts"]
    taken = [place for place, n in enumerate(counts) if n]
    most = max(counts)
    lowest = min([first + step * taken[0], threshold, 1.0 - NARROWEST_VIEW]) if taken else -1.0
    tick = _tick_step(1.0 - lowest)
    lowest = max(-1.0, math.floor(round(lowest / tick, 6)) * tick)
    decades = max(1, math.ceil(math.log10(max(most, 2)) - 1e-9))

    def x(cosine: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (cosine - lowest) / (1.0 - lowest)

    def y(count: float) -> float:
        # Half a row is the floor, so that one row has a height.
        share = (math.log10(count) - math.log10(0.5)) / (decades - math.log10(0.5))
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    drawing = drawsvg.Drawing(
        WIDTH, HEIGHT, class_="histogram", role="img", aria_labelledby="nearest-title nearest-quantiles"
    )
    for power in range(decades + 1):
        height = rounded(y(10**power))
        drawing.append(drawsvg.Line(LEFT, height, WIDTH - RIGHT, height, class_="grid"))
        drawing.append(label(f"{10**power:,}", LEFT - 8, height + 4, "end"))
    for place in taken:
        low = first + step * place
        at_or_above = low >= threshold - 1e-9
        left, right = x(max(low, lowest)), x(min(low + step, 1.0))
        bar = drawsvg.Rectangle(
            rounded(left),
            rounded(y(counts[place])),
            rounded(max(right - left - 0.5, 1.0)),
            rounded(HEIGHT - BOTTOM - y(counts[place])),
            class_="matched" if at_or_above else "passed",
        )
        bar.append_title(f"{low:.3f} to {low + step:.3f}: {counts[place]:,} rows")
        drawing.append(bar)
    floor = HEIGHT - BOTTOM
    drawing.append(drawsvg.Line(LEFT, floor, WIDTH - RIGHT, floor, class_="axis"))
    for place in range(round((1.0 - lowest) / tick) + 1):
        cosine = lowest + tick * place
        drawing.append(label(f"{cosine:.2f}".replace("-", "−"), x(cosine), floor + 17, "middle"))
    drawing.append(label("cosine of the nearest row", WIDTH - RIGHT, HEIGHT - 4, "end"))
    drawing.append(label("rows (log scale)", LEFT - 8, 12, "start"))
    line = rounded(x(threshold))
    drawing.append(drawsvg.Line(line, TOP - 8, line, floor, class_="threshold"))
    side = "end" if threshold > (1.0 + lowest) / 2 else "start"
    drawing.append(
        label(
            f"threshold {threshold:g}", line + (-6 if side == "end" else 6), TOP - 2, side, "threshold-name"
        )
    )
    return inline(drawing)


def _tick_step(span: float) -> float:
    return next(step for step in (0.02, 0.05, 0.1, 0.2, 0.5) if span / step <= 11 or step == 0.5)


def label(text: str, x: float, y: float, anchor: str, class_: str = "label") -> drawsvg.Text:
    """A text of a chart, at its baseline."""
    return drawsvg.Text(text, TEXT, rounded(x), rounded(y), text_anchor=anchor, class_=class_)


def inline(drawing: drawsvg.Drawing) -> Markup:
    """The drawing as an element of an HTML page, which needs neither prolog nor namespaces."""
    svg: str = drawing.as_svg()
    body = svg[svg.index("viewBox") :]
    return Markup("<svg " + body)
