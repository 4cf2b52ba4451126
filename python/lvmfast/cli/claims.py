"""`lvmfast claims`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.durable import write_text
from lvmfast.errors import DataError
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out", parents=False)
def claims(
    directories: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="What eval, leakscan and train wrote to --out.")
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write them there, as Markdown.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Say what the evidence supports, what it forbids, and what waits. Exit 0: said, 2: bad input."""
    from lvmfast.evals.claims import claims as read_claims
    from lvmfast.report.claims_text import claims_text

    found = read_claims(directories)
    stated = found.to_dict()
    if out is not None:
        try:
            write_text(out, claims_text(stated))
        except OSError as error:
            raise DataError(f"{out}: cannot be written: {error.strerror or error}") from error
    print(json.dumps(stated, indent=2, ensure_ascii=False) if as_json else claims_text(stated), end="")
