"""The curves of runs as one page, with the figures of their last epochs as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

from lvmfast.report.template import template


def curve_page(
    svg: str,
    runs: Sequence[str],
    last: Mapping[str, tuple[int, Mapping[str, float | None]]],
    notes: Sequence[str] = (),
    heading: str = "",
) -> str:
    """An HTML page without scripts that loads nothing.

    Args:
        svg: of `curves_svg`.
        runs: their names.
        last: by run its last epoch and the figures of it, by name; a run without epochs is left out.
        notes: what is odd about the histories.
        heading: as of `curves_svg`.
    """
    from markupsafe import Markup

    columns = list(dict.fromkeys(name for _, figures in last.values() for name in figures))
    rows = [
        {"run": run, "epoch": epoch, "figures": [_shown(figures.get(name)) for name in columns]}
        for run, (epoch, figures) in last.items()
    ]
    return template("curves.html.j2").render(
        css=Markup(files("lvmfast.report").joinpath("page.css").read_text("utf-8")),
        svg=Markup(svg),
        runs=runs,
        columns=columns,
        rows=rows,
        notes=notes,
        heading=heading,
    )


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
