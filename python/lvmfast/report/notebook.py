"""What a notebook shows: the progress of a scan, and a report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

import pyarrow as pa

from lvmfast.leaks.findings import Findings
from lvmfast.leaks.progress import Progress
from lvmfast.shown import line

#: Matches that a report shows in a notebook, of all levels together.
MOST_SHOWN = 5
#: Characters of a text that it shows.
MOST_CHARS = 300


@contextmanager
def notebook_bars(units: Mapping[str, str]) -> Iterator[Progress]:
    """A bar for each phase below the cell: by tqdm where it is installed, else by rich."""
    if find_spec("tqdm") is None:
        from lvmfast.report.bars import drawn_bars

        with drawn_bars(units, on_stderr=False) as drawn:
            yield drawn
        return
    from tqdm.auto import tqdm

    with ExitStack() as open_bars:
        bars: dict[str, Any] = {}

        def told(phase: str, done: int, total: int | None) -> None:
            if phase not in bars:
                unit = units.get(phase, "rows")
                bar = tqdm(desc=line(phase), total=total, unit=f" {unit}", unit_scale=True, leave=False)
                bars[phase] = open_bars.enter_context(bar)
            bars[phase].total = total
            bars[phase].update(done - bars[phase].n)

        yield told


def report_html(
    summary: Mapping[str, Any], findings: Findings, matches: pa.Table, overlaps: pa.Table | None
) -> str:
    """A scan as HTML for the output of a cell: the verdict, a table by level, the worst matches."""
    from lvmfast.report.pairs import worst_pairs
    from lvmfast.report.sentences import not_checked
    from lvmfast.report.template import template

    return template("notebook.html.j2", shortened=_shortened).render(
        summary=summary,
        sides=list(findings.sides),
        not_checked=not_checked(findings, left_out=False),
        worst=worst_pairs(matches, overlaps)[:MOST_SHOWN],
        matches=len(matches),
    )


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]} …"
