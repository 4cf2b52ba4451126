"""`lvmfast embed`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.options import BatchSize, Bf16, Columns, Ignore, Quiet, RayAddress, Texts
from lvmfast.cli.values import assignments, behind
from lvmfast.encoding.embed import EmbeddedTexts
from lvmfast.encoding.embed import embed as run_embed
from lvmfast.exits import Answer
from lvmfast.report.progress import announcer, progress_display
from lvmfast.shown import say
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out")
def embed(
    data: Annotated[list[str], typer.Argument(metavar="DATA...", help="Files, folders or quoted globs.")],
    encoder: Annotated[
        str, typer.Option(metavar="MODEL", help="A sentence-transformers folder, or a name on the hub.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The .npz file to write.")],
    items: Annotated[
        bool, typer.Option("--items", help="The rows are evaluation items: the question is their text.")
    ] = False,
    payload: Texts = None,
    column: Columns = None,
    ignore: Ignore = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE", help="Where the encoder runs: cpu, cuda, ... Default: a GPU if there is one."
        ),
    ] = None,
    bf16: Bf16 = False,
    batch_size: BatchSize = 64,
    engine: Annotated[
        str, typer.Option(metavar="local|ray", help="Where texts are embedded: local, or ray for a cluster.")
    ] = "local",
    ray_address: RayAddress = None,
    quiet: Quiet = False,
) -> Answer:
    """Write a vector for the text of every row. If it was interrupted, the same command continues."""
    with progress_display(quiet) as progress:
        done = run_embed(
            behind(data, ignore),
            out,
            encoder=encoder,
            items=items,
            payload=behind(payload, ignore),
            columns=dict(assignments("--column", column, str)),
            device=device,
            bf16=bf16,
            batch_size=batch_size,
            engine=engine,  # type: ignore[arg-type]
            ray_address=ray_address,
            progress=progress,
            announce=announcer(quiet),
        )
    for line in _lines(done):
        say(line)
    return Answer.YES


def _lines(done: EmbeddedTexts) -> Iterator[str]:
    where = f", made on {done.device}" if done.device else ""
    kept = f", {done.resumed:,} of them by an earlier run" if done.resumed else ""
    yield f"{done.out}: {done.rows:,} vectors of {done.dim} values{where}{kept}"
    if done.empty:
        yield f"{done.empty:,} rows have no text: their vectors are zeros, which a scan counts as unchecked"
    if done.truncated:
        texts = "text is" if done.truncated == 1 else "texts are"
        yield (
            f"{done.truncated:,} {texts} longer than the {done.window} tokens that the encoder reads: "
            "their vectors do not cover the rest"
        )
    yield from done.notes
