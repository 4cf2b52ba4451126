"""`lvmfast report`."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.formats import Format, FormatOption, say_checked
from lvmfast.exits import Answer
from lvmfast.report.checks import checks_of_scan
from lvmfast.report.redraw import redraw_page
from lvmfast.report.saved import SavedScan
from lvmfast.shown import say, say_json
from lvmfast.stores import holds, is_uri


@app.command()
@exit_codes
@holds("directory", parents=False)
def report(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="What `leakscan --out DIR` wrote.")],
    format: FormatOption = Format.text,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> Answer:
    """Draw report.html again from a saved scan's summary.json and matches.parquet.

    With --format, print what the scan found in that format instead.
    """
    if format is not Format.text:
        saved = SavedScan.open(directory)
        if format is Format.json:
            say_json(saved.summary)
        say_checked(format, lambda: checks_of_scan(saved.summary, saved.matches, saved.decided))
        return Answer.YES
    page = redraw_page(directory)
    say(page)
    address = page if is_uri(page) else Path(page).resolve().as_uri()
    if show and not webbrowser.open(address):
        say("no browser could be started; open the file above")
    return Answer.YES
