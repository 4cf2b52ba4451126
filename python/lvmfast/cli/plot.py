"""`lvmfast plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.values import write_result
from lvmfast.errors import DataError
from lvmfast.exits import Answer
from lvmfast.shown import say, tell
from lvmfast.stores import holds
from lvmfast.training.history import read_run


@app.command()
@exit_codes
@holds("out", parents=False)
def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Folders of runs, or histories of any trainer (docs/gates.md)."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="An image (.svg) or a page (.html).")],
    epoch: Annotated[int, typer.Option(min=0, help="From which epoch on the gate is drawn.")] = 2,
) -> Answer:
    """Draw the curves of runs side by side, with their baselines and the gate."""
    # Here and not above: what draws is loaded where something is drawn.
    from lvmfast.report.curve_page import curve_page
    from lvmfast.report.curves import curves_svg
    from lvmfast.training.curves import last_epochs, leak_heading, named, panels

    if out.suffix.lower() not in (".svg", ".html"):
        raise DataError(f"{out}: expected a name that ends in .svg or .html")
    found = named([read_run(run) for run in runs])
    notes = [f"{name}: {note}" for name, run in found.items() for note in run.history.notes]
    tell(*[f"note: {note}" for note in notes])
    heading = leak_heading(found)
    drawn = curves_svg(panels(found, epoch), list(found), heading)
    if out.suffix.lower() == ".html":
        drawn = curve_page(drawn, list(found), last_epochs(found), notes, heading)
    write_result(out, drawn + "\n")
    say(out)
    return Answer.YES
