"""`lvmfast demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvmfast.api import leakscan
from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.formats import Format
from lvmfast.cli.render import render
from lvmfast.demo import build_demo
from lvmfast.exits import Answer
from lvmfast.report.progress import progress_display
from lvmfast.report.summary import EXIT_CODES
from lvmfast.shown import say
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out")
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the splits and the report.")] = Path(
        "lvmfast-demo"
    ),
) -> Answer:
    """Build two splits from Python's own documentation and scan them. Ends with exit code 1: they leak."""
    splits = build_demo(out)
    say(*splits.description.split("\n"), "", f"$ {splits.command}", "")
    with progress_display(quiet=False) as progress:
        report = leakscan(
            splits.train,
            splits.eval,
            train_payload=splits.train_payload,
            eval_payload=splits.eval_payload,
            progress=progress,
        )
    report.save(splits.report)
    render(report, splits.report, format=Format.text, quiet=False)
    say(*splits.next_steps.split("\n"))
    return Answer(EXIT_CODES[report.findings.verdict])
