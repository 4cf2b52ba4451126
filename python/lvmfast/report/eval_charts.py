"""The charts of an evaluation's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import drawsvg
from markupsafe import Markup

from lvmfast.report.charts import inline, label
from lvmfast.report.shares import rounded

WIDTH, ROW, RIGHT, TOP, FOOT = 720.0, 30.0, 24.0, 14.0, 40.0
STEPS = (1, 2, 5, 10, 20, 25)
LONGEST_NAME = 40
#: Width of a letter, about.
LETTER = 7.4


def recall_chart(records: Sequence[Mapping[str, Any]], metric: str = "R@5") -> Markup:
    """One metric in percent of every model in one pool, with its interval; chance as a dashed line.

    What was told the truth is no result, and is not drawn.
    """
    records = [record for record in records if record["kind"] != "oracle"]
    longest = max(min(len(record["model"]), LONGEST_NAME) for record in records)
    left = max(150.0, LETTER * longest + 20)
    height = TOP + ROW * len(records) + FOOT
    most = max([5.0, *(_high(record, metric) for record in records)])
    step = next((step for step in STEPS if most / step <= 8), STEPS[-1])
    most = min(100.0, step * -(-most // step))

    def x(value: float) -> float:
        return rounded(left + (WIDTH - left - RIGHT) * value / most)

    drawing = drawsvg.Drawing(WIDTH, height, class_="histogram recalls", role="img")
    drawing.append_title(f"{metric} of every model with its interval; the table has the figures")
    floor = rounded(height - FOOT)
    for place in range(int(most // step) + 1):
        drawing.append(drawsvg.Line(x(step * place), TOP, x(step * place), floor, class_="grid"))
        drawing.append(label(f"{step * place}", x(step * place), floor + 17, "middle"))
    drawing.append(label(f"{metric}, %", WIDTH - RIGHT, height - 6, "end"))
    chance = records[0]["chance"].get(metric)
    if chance is not None and chance <= most:
        drawing.append(drawsvg.Line(x(chance), TOP - 6, x(chance), floor, class_="threshold"))
    for place, record in enumerate(records):
        middle = rounded(TOP + ROW * (place + 0.5))
        name = record["model"]
        shown = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        drawing.append(label(shown, left - 10, middle + 4, "end"))
        low, high = record["interval"][metric]
        if low is not None and high is not None:
            drawing.append(
                drawsvg.Line(x(low), middle, x(min(high, most)), middle, class_=f"interval {record['kind']}")
            )
        dot = drawsvg.Circle(x(record[metric]), middle, 5, class_=f"dot {record['kind']}")
        drawing.append(dot)
    return inline(drawing)


def _high(record: Mapping[str, Any], metric: str) -> float:
    high = record["interval"][metric][1]
    return float(record[metric] if high is None else high)
