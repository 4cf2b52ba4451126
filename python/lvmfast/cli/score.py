"""`lvmfast score`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.options import Json
from lvmfast.cli.values import write_result
from lvmfast.errors import DataError
from lvmfast.evals.hits import HitScores, load_hits, load_truth, score_hits
from lvmfast.exits import Answer
from lvmfast.report.terminal import show_table
from lvmfast.shown import say, say_json
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out", parents=False)
def score(
    hits: Annotated[
        Path, typer.Argument(metavar="HITS.jsonl", help="A line per query: query_idx, hit_indices.")
    ],
    truth: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The evaluation set; query_idx is its row. Else: field truth_idx."),
    ] = None,
    payload: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="What hits name the rows of; default: the truth's own."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the result as JSON.")] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap samples of the intervals.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap samples.")] = 0,
    allow_leaked: Annotated[
        bool, typer.Option("--allow-leaked", help="Score a quarantined set; the result says LEAKED.")
    ] = False,
    as_json: Json = False,
) -> Answer:
    """Score hits that were made elsewhere: recall, MRR and nDCG with intervals over articles."""
    if payload is not None and truth is None:
        raise DataError("--payload needs --truth")
    goal = None if truth is None else load_truth(truth, payload, allow_leaked=allow_leaked)
    found = score_hits(load_hits(hits), goal, resamples=resamples, seed=seed)
    content = _plain(found)
    if out is not None:
        write_result(out, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    if as_json:
        say_json(content)
    else:
        print_scores(found)
    return Answer.YES


def _plain(found: HitScores) -> dict[str, object]:
    """The result as JSON has it: NaN is null."""

    def number(value: float | None) -> float | None:
        return None if value is None or math.isnan(value) else value

    return {
        "split_status": "LEAKED" if found.leaked else "not checked",
        "leaked": list(found.leaked),
        "n_queries": found.queries,
        "depth": found.depth,
        **{name: number(value) for name, value in found.metrics.items()},
        "interval": {name: [number(end) for end in ends] for name, ends in found.intervals.items()},
        "counts": found.counts,
        "clusters": found.clusters,
        "clustered_by": "article" if found.by_article else "query",
        "notes": list(found.notes),
    }


def print_scores(found: HitScores) -> None:
    """The metrics as a table."""
    over = f"{found.clusters:,} {'articles' if found.by_article else 'queries'}"
    title = f"{found.queries:,} queries, intervals over {over}" + (" LEAKED" if found.leaked else "")
    table = Table(title=title, title_justify="left", box=None)
    for name in ("metric", "value", "95% interval", "queries"):
        table.add_column(name, justify="left" if name == "metric" else "right")
    for name, value in found.metrics.items():
        percent = name.startswith(("R@", "Contain@"))
        shown = "{:.1f}%" if percent else "{:.3f}"
        low, high = found.intervals.get(name, (math.nan, math.nan))
        table.add_row(
            name,
            "-" if value is None or math.isnan(value) else shown.format(value),
            "-" if math.isnan(low) else f"{shown.format(low)} to {shown.format(high)}",
            f"{found.counts[name]:,}" if name in found.counts else "",
        )
    show_table(table)
    for note in found.notes:
        say(note)
    if found.leaked:
        say(f"LEAKED: {', '.join(found.leaked)}")
