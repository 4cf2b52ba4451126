"""`lvmfast convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.corpus.convert import convert_payload
from lvmfast.exits import Answer
from lvmfast.shown import say
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("new", parents=False)
def convert(
    old: Annotated[Path, typer.Argument(help="The .npy or .npz file with pickled values.")],
    new: Annotated[Path, typer.Argument(help="The parquet file to write.")],
) -> Answer:
    """Turn pickled arrays and payloads into parquet. Only numpy arrays and plain containers are unpickled."""
    converted = convert_payload(old, new)
    for reason in converted.left_out:
        say(f"left out: {reason}")
    say(f"{new}: {converted.rows:,} rows")
    return Answer.YES
