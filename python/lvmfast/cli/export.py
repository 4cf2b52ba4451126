"""`lvmfast export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.options import Ignore, Threads
from lvmfast.cli.values import behind
from lvmfast.errors import DataError
from lvmfast.exits import Answer
from lvmfast.shown import say
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out", parents=False)
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that takes densities off.")],
    payload: Annotated[
        str, typer.Option(metavar="PATH", help="What is searched: vectors by (doc_id, chunk_id).")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the vectors go, an .npz.")],
    queries: Annotated[
        str | None, typer.Option(metavar="PATH", help="Also write the queries of these sequences.")
    ] = None,
    faiss: Annotated[
        str | None,
        typer.Option(metavar="FACTORY", help="Also write a FAISS index, such as Flat, beside FILE (.faiss)."),
    ] = None,
    threads: Threads = 0,
    ignore: Ignore = None,
) -> Answer:
    """Write a run and a payload as vectors for any index of inner products or cosines."""
    from lvmfast.evals.export import export_linear

    if out.suffix != ".npz":
        raise DataError(f"{out}: expected a name that ends in .npz")
    made = export_linear(
        run,
        behind(payload, ignore),
        out,
        queries=behind(queries, ignore),
        faiss=faiss,
        threads=threads,
    )
    say(f"{out}: {made.rows:,} vectors of {made.width} values")
    if made.left_out:
        say(
            f"left out: {made.left_out:,} rows of the payload that are zero or not finite: nothing finds them"
        )
    if made.queries is not None:
        say(f"and {made.queries:,} queries; the inner product of a query and a vector is the score")
    if made.index is not None:
        say(made.index)
    return Answer.YES
