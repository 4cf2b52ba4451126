"""`lvmfast verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.formats import Format, FormatOption, chosen_format, say_checked
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
from lvmfast.corpus.leftovers import CERTIFICATE
from lvmfast.exits import Answer
from lvmfast.report.checks import Check, Checked
from lvmfast.report.progress import progress_display
from lvmfast.shown import say, say_json
from lvmfast.splits.verify import Verification
from lvmfast.splits.verify import verify as run_verify
from lvmfast.stores import joined


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
    format: FormatOption = Format.text,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; the closing line stays.")] = False,
) -> Answer:
    """Check a clean split again: files and scans. Exit 0: verified, 1: not, 3: a side is missing."""
    asked = chosen_format(format, as_json)
    with progress_display(quiet or asked is not Format.text) as progress:
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
    if asked is Format.json:
        found = {"verified": result.verified, "failures": result.failures, "missing": result.missing}
        say_json(found)
    elif asked is Format.text and not quiet:
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
            if found["status"] in ("clean", "reviewed")
        ]
        verdict = result.certificate["scans"][0]["verdict"]
        said = verdict if verdict == "clean" else f"{verdict},"
        line, code = f"VERIFIED: {directory}: {said} at {', '.join(levels)}", Answer.YES
    if (
        not say_checked(asked, lambda: _checked(result, line, joined(directory, CERTIFICATE)))
        and asked is Format.text
    ):
        say(line)
    return code


def _checked(result: Verification, line: str, where: str) -> Checked:
    """A check for each thing that does not hold or could not be looked at; one where all holds."""
    about = "A clean split is as it was certified: its files, and scans of them that are run again."
    checks = [Check("certificate", "failed", f"{says}.", about, where) for says in result.failures]
    checks += [Check("certificate", "undecided", f"{says}.", about, where) for says in result.missing]
    if not checks:
        return Checked("verify", line, "passed", (Check("certificate", "passed", f"{line}.", about, where),))
    return Checked("verify", line, "failed" if result.failures else "undecided", tuple(checks))
