"""`lvmfast fingerprint`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.options import Columns, Ignore, MinChars, Normalize, RayAddress, Texts, Threads
from lvmfast.cli.values import assignments, behind
from lvmfast.exits import Answer
from lvmfast.leaks.options import DEFAULT_MIN_CHARS
from lvmfast.report.progress import progress_display
from lvmfast.shown import percent, say
from lvmfast.splits.fingerprint import fingerprint as run_fingerprint
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out", parents=False)
def fingerprint(
    train: Annotated[
        list[str], typer.Argument(metavar="TRAIN...", help="Training files, folders or quoted globs.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The .lvfp file to write.")],
    payload: Texts = None,
    normalize: Normalize = "default",
    min_chars: MinChars = DEFAULT_MIN_CHARS,
    overlap: Annotated[
        bool,
        typer.Option(
            "--overlap",
            help="Also keep a filter of all runs of five words: it proves that a text stands in none of "
            "the training texts. Much of these texts can be reconstructed from it.",
        ),
    ] = False,
    column: Columns = None,
    ignore: Ignore = None,
    threads: Threads = 0,
    engine: Annotated[
        str, typer.Option(metavar="local|ray", help="Where the files are read: local, or ray for a cluster.")
    ] = "local",
    ray_address: RayAddress = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
) -> Answer:
    """Write what `leakscan --train FILE` needs, without the texts and vectors themselves."""
    with progress_display(quiet) as progress:
        written = run_fingerprint(
            behind(train, ignore),
            out,
            payload=behind(payload, ignore),
            columns=dict(assignments("--column", column, str)),
            normalize=normalize,  # type: ignore[arg-type]
            min_chars=min_chars,
            overlap=overlap,
            threads=threads,
            engine=engine,  # type: ignore[arg-type]
            ray_address=ray_address,
            progress=progress,
        )
    rows = written.rows or 0
    say(f"{out}: {rows:,} rows, {written.size:,} bytes ({written.size / max(1, rows):.1f} a row)")
    say(f"columns: {', '.join(sorted(written.columns))}")
    if (grams := written.grams) is not None:
        wrong = f"wrong about {percent(grams.false_positive_rate)} of the runs of words that it lacks"
        say(f"overlap: a filter of {grams.blocks.nbytes:,} bytes, {wrong}")
    say(f"identity: {written.identity}")
    return Answer.YES
