"""`lvmfast convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.corpus.convert import convert_payload


@app.command()
@exit_codes
def convert(
    old: Annotated[Path, typer.Argument(help="The .npy file with a pickled payload.")],
    new: Annotated[Path, typer.Argument(help="The parquet file to write.")],
) -> None:
    """Turn an old pickled payload into parquet. Only numpy arrays and plain containers are unpickled."""
    rows = convert_payload(old, new)
    print(f"{new}: {rows:,} rows")
