"""`lvmfast verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.options import (
    BenchmarkNames,
    BenchmarkTable,
    EvalTexts,
    Ignore,
    Json,
    MemoryLimit,
    Threads,
    TrainTexts,
)
from lvmfast.cli.values import behind, evaluation_side, size
from lvmfast.exits import Answer
from lvmfast.report.progress import progress_display
from lvmfast.shown import say, say_json
from lvmfast.splits.verify import verify as run_verify


@app.command()
@exit_codes
def verify(
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder, or URI of one, that clean or split wrote.")
    ],
    train: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Where the training side is now.")
    ] = None,
    eval: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="Where the evaluation side is now.")
    ] = None,
    benchmark: BenchmarkNames = None,
    benchmark_table: BenchmarkTable = None,
    payload: Annotated[
        str | None, typer.Option(metavar="PATH", help="Where the texts of all sides are now.")
    ] = None,
    train_payload: TrainTexts = None,
    eval_payload: EvalTexts = None,
    ignore: Ignore = None,
    threads: Threads = 0,
    memory_limit: MemoryLimit = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option(help="No progress; the closing line stays.")] = False,
) -> Answer:
    """Check a clean split again: files and scans. Exit 0: verified, 1: not, 3: a side is missing."""
    with progress_display(quiet or as_json) as progress:
        result = run_verify(
            directory,
            train=behind(train, ignore),
            eval=evaluation_side(eval, ignore, benchmark, benchmark_table),
            payload=behind(payload, ignore),
            train_payload=behind(train_payload, ignore),
            eval_payload=behind(eval_payload, ignore),
            threads=threads,
            memory_limit=None if memory_limit is None else size(memory_limit),
            progress=progress,
        )
    if as_json:
        found = {"verified": result.verified, "failures": result.failures, "missing": result.missing}
        say_json(found)
    elif not quiet:
        for line in (*result.failures, *result.missing):
            say(line)
    if result.failures:
        line, code = f"NOT VERIFIED: {directory}", Answer.NO
    elif result.missing:
        line, code = (
            f"INCOMPLETE: {directory}: its files are as certified, but were not scanned again",
            Answer.INCOMPLETE,
        )
    else:
        levels = [
            level
            for level, found in result.certificate["scans"][0]["levels"].items()
            if found["status"] == "clean"
        ]
        line, code = f"VERIFIED: {directory}: clean at {', '.join(levels)}", Answer.YES
    if not as_json:
        say(line)
    return code
