"""`lvmfast clean`."""

from __future__ import annotations

from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.certified import show_split
from lvmfast.cli.options import (
    BenchmarkNames,
    BenchmarkTable,
    DecisionsFile,
    EvalTexts,
    Ignore,
    Json,
    MemoryLimit,
    NewFolder,
    Quiet,
    RayAddress,
    Threads,
    TrainTexts,
)
from lvmfast.cli.values import behind, evaluation_side, size
from lvmfast.errors import DataError
from lvmfast.exits import Answer
from lvmfast.report.progress import progress_display
from lvmfast.splits.clean import clean as run_clean
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out")
def clean(
    train: Annotated[
        list[str], typer.Option(metavar="PATH", help="Training files of the scan. Repeat for many.")
    ],
    report: Annotated[str, typer.Option(metavar="DIR", help="What `leakscan --out` wrote.")],
    out: NewFolder,
    eval: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Evaluation files of the scan. Repeat for many.")
    ] = None,
    benchmark: BenchmarkNames = None,
    benchmark_table: BenchmarkTable = None,
    drop: Annotated[str, typer.Option(metavar="SIDE", help="Side to drop rows from: eval, train.")] = "eval",
    cut: Annotated[
        int | None,
        typer.Option(
            metavar="CHARS",
            help="With --drop train: cut evaluation texts out of training texts, with so many characters on "
            "either side, instead of dropping the rows. Pieces under 200 characters, and rows in over 10 "
            "pieces, are dropped.",
        ),
    ] = None,
    decisions: DecisionsFile = None,
    payload: Annotated[
        str | None, typer.Option(metavar="PATH", help="Texts of both sides, if moved since the scan.")
    ] = None,
    train_payload: TrainTexts = None,
    eval_payload: EvalTexts = None,
    ignore: Ignore = None,
    threads: Threads = 0,
    memory_limit: MemoryLimit = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            help="Where the closing scan reads the larger side: local, or ray for a cluster.",
        ),
    ] = "local",
    ray_address: RayAddress = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> Answer:
    """Write a side without the rows that leaked, and prove it. Exit 0: proven clean, 1: not, 2: bad input."""
    evaluated = evaluation_side(eval, ignore, benchmark, benchmark_table)
    if evaluated is None:
        raise DataError("nothing to clean: --eval PATH or --benchmark NAMES is missing")
    with progress_display(quiet or as_json) as progress:
        result = run_clean(
            behind(train, ignore),
            evaluated,
            report,
            out=out,
            drop=drop,  # type: ignore[arg-type]
            cut=cut,
            decisions=decisions,
            payload=behind(payload, ignore),
            train_payload=behind(train_payload, ignore),
            eval_payload=behind(eval_payload, ignore),
            threads=threads,
            memory_limit=None if memory_limit is None else size(memory_limit),
            engine=engine,  # type: ignore[arg-type]
            ray_address=ray_address,
            progress=progress,
        )
    show_split(result, as_json=as_json, quiet=quiet)
    return Answer.YES if result.passed else Answer.NO
