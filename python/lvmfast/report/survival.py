"""How large a share of rows has at least which cosine, for several kinds of rows, as one SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import drawsvg
import numpy as np
import numpy.typing as npt

from lvmfast.report.charts import label
from lvmfast.report.curves import COLOURS, STYLE
from lvmfast.report.shares import rounded

WIDTH, HEIGHT = 860.0, 380.0
LEFT, RIGHT, TOP, BOTTOM = 56.0, 190.0, 34.0, 44.0
#: Points of a line.
_STEPS = 400


@dataclass(frozen=True)
class Line:
    """Rows of one kind."""

    name: str
    cosines: npt.NDArray[np.float64]  #: (n,), ascending, at least one
    emphasis: bool = False  #: drawn in the colour of what is wrong to match


@dataclass(frozen=True)
class Mark:
    """A cosine that is named."""

    name: str
    cosine: float


def survival_svg(lines: Sequence[Line], marks: Sequence[Mark]) -> str:
    """Draws a line for each kind, from the lowest cosine of any to 1, with the marks across."""
    lowest = min(float(line.cosines[0]) for line in lines)
    lowest = max(-1.0, math.floor(10 * min(lowest, 0.9)) / 10)
    floor, right = HEIGHT - BOTTOM, WIDTH - RIGHT

    def x(cosine: float) -> float:
        return rounded(LEFT + (right - LEFT) * (cosine - lowest) / (1.0 - lowest))

    def y(share: float) -> float:
        return rounded(floor - (floor - TOP) * share)

    drawing = drawsvg.Drawing(
        WIDTH, HEIGHT, class_="curves", role="img", aria_label="Share of rows at or above each cosine"
    )
    drawing.append_css(STYLE)
    drawing.append(drawsvg.Rectangle(0, 0, WIDTH, HEIGHT, class_="paper"))
    for tenth in range(0, 11, 2):
        drawing.append(drawsvg.Line(LEFT, y(tenth / 10), right, y(tenth / 10), class_="grid"))
        drawing.append(label(f"{10 * tenth}%", LEFT - 8, y(tenth / 10) + 4, "end"))
    for tenth in range(round(10 * lowest), 11):
        drawing.append(label(f"{tenth / 10:.1f}".replace("-", "−"), x(tenth / 10), floor + 17, "middle"))
    drawing.append(drawsvg.Line(LEFT, floor, right, floor, class_="axis"))
    drawing.append(label("cosine", right, HEIGHT - 6, "end"))
    drawing.append(label("rows with at least this cosine", LEFT, 16, "start"))
    for place, line in enumerate(lines):
        class_ = "curve gate" if line.emphasis else f"curve r{place % COLOURS}"
        path = drawsvg.Path(class_=class_)
        for step, cosine in enumerate(np.linspace(lowest, 1.0, _STEPS)):
            share = 1.0 - float(np.searchsorted(line.cosines, cosine - 1e-9)) / len(line.cosines)
            (path.L if step else path.M)(x(float(cosine)), y(share))
        path.append_title(line.name)
        drawing.append(path)
        height = TOP + 20 * place
        drawing.append(drawsvg.Line(right + 16, height - 4, right + 36, height - 4, class_=class_))
        drawing.append(label(line.name, right + 42, height, "start"))
    for place, mark in enumerate(marks):
        drawing.append(drawsvg.Line(x(mark.cosine), TOP, x(mark.cosine), floor, class_="baseline"))
        drawing.append(label(mark.name, x(mark.cosine) - 6, TOP + 14 + 16 * place, "end", "title"))
    svg: str = drawing.as_svg()
    return svg[svg.index("<svg") :]
