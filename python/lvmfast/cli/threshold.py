"""`lvmfast threshold`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lvmfast.calibration.threshold import threshold as run_threshold
from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.options import (
    EncoderName,
    EvalColumns,
    EvalTexts,
    Ignore,
    Json,
    MemoryLimit,
    Quiet,
    Threads,
    TrainColumns,
    TrainTexts,
)
from lvmfast.cli.values import behind, columns_of_sides, size, write_result
from lvmfast.errors import DataError
from lvmfast.exits import Answer
from lvmfast.report.progress import announcer, progress_display
from lvmfast.shown import say, say_json
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out", parents=False)
def threshold(
    train: Annotated[list[str], typer.Option(metavar="PATH", help="Training file, folder or quoted glob.")],
    eval: Annotated[list[str], typer.Option(metavar="PATH", help="Evaluation file, folder or quoted glob.")],
    encoder: EncoderName = None,
    train_payload: TrainTexts = None,
    eval_payload: EvalTexts = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FIELD", help="Read column NAME from FIELD.")
    ] = None,
    train_column: TrainColumns = None,
    eval_column: EvalColumns = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A picture of the distributions (.svg).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the edits: another seed, other edits.")] = 0,
    ignore: Ignore = None,
    threads: Threads = 0,
    memory_limit: MemoryLimit = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> Answer:
    """Measure which cosine means that two texts are the same, or say the same, for these sets and encoder."""
    # Here and not above: what draws is loaded where something is drawn.
    from lvmfast.calibration.shown import as_json as plain
    from lvmfast.calibration.shown import lines, picture

    if out is not None and out.suffix.lower() != ".svg":
        raise DataError(f"{out}: expected a name that ends in .svg")
    with progress_display(quiet or as_json) as progress:
        found = run_threshold(
            behind(train, ignore),
            behind(eval, ignore),
            encoder=encoder,
            train_payload=behind(train_payload, ignore),
            eval_payload=behind(eval_payload, ignore),
            columns=columns_of_sides(column, train_column, eval_column),
            seed=seed,
            threads=threads,
            memory_limit=None if memory_limit is None else size(memory_limit),
            progress=progress,
            announce=announcer(quiet or as_json),
        )
    if out is not None:
        write_result(out, picture(found) + "\n")
    if as_json:
        say_json(plain(found))
    else:
        for line in lines(found):
            say(line)
    return Answer.YES
