"""`report.html`: the scan as one file for people, made of what `summary.json` and its tables of evidence say.

The page loads nothing, and its content policy admits one script, by its hash, whatever the data holds: that
of `script/`, by which the matches that the page carries are filtered and read. Without it nothing is missing.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from functools import cache, reduce
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lvmfast.leaks.rules import RULES
from lvmfast.levels import LEVELS
from lvmfast.report.lines import Lines
from lvmfast.report.shares import share_bar, side_bar, tenths
from lvmfast.report.template import template
from lvmfast.shown import percent

if TYPE_CHECKING:
    from lvmfast.report.carried import Carried

PAGE = "report.html"
FOLDER = Path(__file__).parent
UNKNOWN = "not known"
SCRIPTS = ("texts.js", "sources.js", "review.js")


def draw_page(
    summary: Mapping[str, Any],
    matches: pa.Table,
    overlaps: pa.Table | None = None,
    decided: pa.Table | None = None,
    *,
    served: Carried | None = None,
) -> str:
    """The page as HTML, from the contents of a saved scan's files.

    Args:
        served: what the script has to know where a server has the matches, and the page does not carry them.

    Raises:
        KeyError, TypeError, ValueError, jinja2.TemplateError: `summary` is not held to its schema.
    """
    # Here and not above: a scan that draws no page starts without them.
    from markupsafe import Markup

    from lvmfast.report.pairs import pairs_near_threshold, worst_pairs

    def number(path: str) -> Markup:
        """A count of the summary for people, with its place for programs."""
        value = _at(summary, path)
        shown = UNKNOWN if value is None else f"{value:,}"
        return Markup('<data value="{}" data-number="{}">{}</data>').format(
            "" if value is None else value, path, shown
        )

    def rate(path: str) -> Markup:
        value = _at(summary, path)
        return Markup('<data value="{}" data-number="{}">{}</data>').format(
            "" if value is None else repr(value), path, UNKNOWN if value is None else percent(value)
        )

    # Few pages have a chart, and what draws it takes as long to load as a small scan takes to run.
    def nearest_histogram(nearest: Mapping[str, Any], threshold: float) -> Markup:
        from lvmfast.report import charts

        return charts.nearest_histogram(nearest, threshold)

    review = served
    if review is None and len(matches):
        from lvmfast.report.carried import carried

        review = carried(summary, matches, overlaps, decided)
    script = _script() if review else None
    return template("page.html.j2", bytes=_bytes, percent=percent).render(
        review=review,
        config=None if review is None else Markup(_json(review.config)),
        script=None if script is None else Markup(script),
        script_hash=None if script is None else b64encode(sha256(script.encode()).digest()).decode(),
        summary=summary,
        sides=[side for side in ("train", "eval") if side in summary["inputs"]],
        number=number,
        rate=rate,
        line_of=Lines(summary).of,
        side_bar=side_bar,
        share_bar=share_bar,
        tenths=tenths,
        nearest_histogram=nearest_histogram,
        registry=LEVELS,
        lacking=_lacking(summary["levels"]),
        rules=RULES,
        worst=worst_pairs(matches, overlaps),
        near=pairs_near_threshold(matches, overlaps),
    )


@cache
def _script() -> str:
    """The script of a page that has matches: its files as one, which leaves no name behind."""
    parts = [(FOLDER / "script" / name).read_text("utf-8") for name in SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def _json(value: Any) -> str:
    """JSON that ends no element that it stands in."""
    return json.dumps(value).replace("<", "\\u003c")


def _lacking(levels: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The levels that could not be checked for want of columns, by which."""
    groups: dict[str, list[str]] = {}
    for name, found in levels.items():
        if "lacks" in found:
            groups.setdefault(found["lacks"], []).append(name)
    return groups


def _at(summary: Mapping[str, Any], path: str) -> Any:
    return reduce(
        lambda value, key: value[int(key)] if isinstance(value, list) else value[key],
        path.split("."),
        summary,
    )


def _bytes(size: int) -> str:
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
