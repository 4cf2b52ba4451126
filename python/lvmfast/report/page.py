"""`report.html`: the scan as one file for people, made of what `summary.json` and `matches.parquet` say.

The page has no script and loads nothing: its content policy forbids both, whatever the data holds.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import reduce
from typing import Any

import pyarrow as pa

PAGE = "report.html"

#: Characters that change the order of the text around them, or that nobody sees.
INVISIBLE = frozenset(
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)


def draw_page(summary: Mapping[str, Any], matches: pa.Table) -> str:
    """The page as HTML, from the contents of a saved scan's files.

    Raises:
        KeyError, TypeError, ValueError, jinja2.TemplateError: `summary` is not held to its schema.
    """
    # Here and not above: a scan that draws no page starts without them.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    from lvmfast.report import charts
    from lvmfast.report.pairs import pairs_near_threshold, worst_pairs

    def number(path: str) -> Markup:
        """A count of the summary for people, with its place for programs."""
        value = _at(summary, path)
        shown = "–" if value is None else f"{value:,}"
        return Markup('<data value="{}" data-number="{}">{}</data>').format(
            "" if value is None else value, path, shown
        )

    def percent(path: str) -> Markup:
        value = _at(summary, path)
        return Markup('<data value="{}" data-number="{}">{}</data>').format(
            "" if value is None else repr(value), path, _percent(value)
        )

    environment = Environment(
        loader=PackageLoader("lvmfast", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters |= {"words": lambda name: str(name).replace("_", " "), "bytes": _bytes}
    return environment.get_template("page.html.j2").render(
        summary=summary,
        sides=[side for side in ("train", "eval") if side in summary["inputs"]],
        number=number,
        percent=percent,
        charts=charts,
        worst=worst_pairs(matches),
        near=pairs_near_threshold(matches),
    )


def visible(text: str) -> str:
    """`text` with control characters and changes of direction written out: it reads as it is stored."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    plain = character not in INVISIBLE and unicodedata.category(character) not in ("Cc", "Cs", "Cn")
    if character in "\n\t" or plain:
        return character
    return f"\u27e8U+{ord(character):04X}\u27e9"


def _at(summary: Mapping[str, Any], path: str) -> Any:
    return reduce(
        lambda value, key: value[int(key)] if isinstance(value, list) else value[key],
        path.split("."),
        summary,
    )


def _percent(rate: float | None) -> str:
    """A rate that reads 0% or 100% only where it is."""
    if rate is None:
        return "–"
    if 0 < rate < 0.0005:
        return "<0.1%"
    if 0.9995 <= rate < 1:
        return ">99.9%"
    return f"{rate:.1%}"


def _bytes(size: int) -> str:
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
