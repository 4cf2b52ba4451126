"""`lvmfast merge`."""

from __future__ import annotations

from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.formats import Format, FormatOption, chosen_format
from lvmfast.cli.options import Json
from lvmfast.cli.render import render
from lvmfast.exits import Answer
from lvmfast.merging import merge as run_merge
from lvmfast.report.summary import EXIT_CODES
from lvmfast.report.write import prepare_directory
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out")
def merge(
    parts: Annotated[
        list[str],
        typer.Argument(metavar="PART...", help="Folders of `leakscan --shard`, all of them."),
    ],
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder or URI for the summary and the tables.")
    ] = None,
    as_json: Json = False,
    format: FormatOption = Format.text,
    quiet: Annotated[bool, typer.Option("--quiet", help="No tables; the closing line stays.")] = False,
) -> Answer:
    """Make one report of all parts of a scan. Exit 0: clean, 1: leak, 2: bad input, 3: a part is missing."""
    asked = chosen_format(format, as_json)
    if out is not None:
        prepare_directory(out)
    report = run_merge(parts)
    if out is not None:
        report.save(out)
    render(report, out, format=asked, quiet=quiet)
    return Answer(EXIT_CODES[report.findings.verdict])
