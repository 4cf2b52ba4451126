"""`lvmfast report`."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.exits import Answer
from lvmfast.report.redraw import redraw_page
from lvmfast.shown import say
from lvmfast.stores import holds, is_uri


@app.command()
@exit_codes
@holds("directory", parents=False)
def report(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="What `leakscan --out DIR` wrote.")],
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> Answer:
    """Draw report.html again from a saved scan's summary.json and matches.parquet."""
    page = redraw_page(directory)
    say(page)
    address = page if is_uri(page) else Path(page).resolve().as_uri()
    if show and not webbrowser.open(address):
        say("no browser could be started; open the file above")
    return Answer.YES
