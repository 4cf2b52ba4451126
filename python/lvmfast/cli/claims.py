"""`lvmfast claims`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.options import Json
from lvmfast.cli.values import write_result
from lvmfast.exits import Answer
from lvmfast.shown import say, say_json
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out", parents=False)
def claims(
    directories: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", help="Folders that eval, leakscan, train and impact wrote to --out."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the claims to this file, as Markdown.")
    ] = None,
    as_json: Json = False,
) -> Answer:
    """Say which claims the evidence supports, which it refutes, and which are open. Exit 2: bad input."""
    from lvmfast.evals.claims import claims as read_claims
    from lvmfast.report.claims_text import claims_text

    found = read_claims(directories)
    stated = found.to_dict()
    if out is not None:
        write_result(out, claims_text(stated))
    if as_json:
        say_json(stated)
    else:
        say(*claims_text(stated).removesuffix("\n").split("\n"))
    return Answer.YES
