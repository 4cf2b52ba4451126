"""`lvmfast benchmarks`."""

from __future__ import annotations

from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.options import BenchmarkTable, Json
from lvmfast.cli.values import listed
from lvmfast.exits import Answer
from lvmfast.shown import say, say_json, tell


@app.command()
@exit_codes
def benchmarks(
    benchmark_table: BenchmarkTable = None,
    fetch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES", help="First fetch those of them that are not on this machine from the hub."
        ),
    ] = None,
    as_json: Json = False,
) -> Answer:
    """List the benchmarks that are known by name, and which are on this machine. Exit 0, or 2: bad input."""
    from lvmfast.corpus.benchmarks import benchmarks_named, known_benchmarks

    for benchmark in benchmarks_named(listed("--fetch", fetch), benchmark_table):
        tell(f"{benchmark.name}: fetching {benchmark.dataset}")
        benchmark.fetch()
    known = known_benchmarks(benchmark_table).values()
    if as_json:
        say_json([benchmark.told() for benchmark in known])
        return Answer.YES
    rows = [("benchmark", "data set", "split", "licence", "on this machine")]
    rows += [
        (
            each.name,
            each.dataset or str(each.files),
            each.split,
            each.licence or "see its page",
            each.at_hand(),
        )
        for each in known
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return Answer.YES
