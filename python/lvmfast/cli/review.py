"""`lvmfast review`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.exits import Answer
from lvmfast.review.serve import review as run_review
from lvmfast.shown import say


@app.command()
@exit_codes
def review(
    report: Annotated[str, typer.Argument(metavar="REPORT", help="What `leakscan --out` wrote.")],
    port: Annotated[
        int,
        typer.Option(
            help="Port of the page, on this machine alone. Default: a free one.", show_default=False
        ),
    ] = 0,
    decisions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where decisions are added. Default: decisions.jsonl in the report."
        ),
    ] = None,
) -> Answer:
    """Decide in a browser which matches are real, boilerplate or unsure. Ctrl-C ends it."""
    run_review(report, port=port, decisions=decisions, announce=_say_at_once)
    return Answer.YES


def _say_at_once(said: str) -> None:
    """Prints a line for who waits for the address, be it a program."""
    say(said)
    sys.stdout.flush()
