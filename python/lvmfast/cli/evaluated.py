"""What `eval` prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from lvmfast.evals.evaluation import Evaluation

SHOWN = ("R@1", "R@5", "R@10", "Contain@50", "MRR", "Eff@5", "mean_cosine")


def show_evaluation(evaluation: Evaluation, out: Path | None, *, quiet: bool) -> None:
    """Prints the table of scores, what binds them, and a closing line."""
    console = Console()

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    if not quiet:
        for pool, context in dict.fromkeys((r["pool"], r["context"]) for r in evaluation.records):
            console.print(_table(evaluation, pool, context))
        for note in evaluation.details["notes"]:
            say(note)
        if out is not None:
            say(f"Evaluation: {out}/ eval.html, metrics.json, evaluation.json, documents.parquet")
    say(f"Split: {evaluation.status.sentence}")


def _table(evaluation: Evaluation, pool: str, context: str) -> Table:
    records = [r for r in evaluation.records if (r["pool"], r["context"]) == (pool, context)]
    first = records[0]
    stamp = f"{evaluation.details['stamp']}: " if evaluation.details["stamp"] else ""
    where = f"context {context}" + (" of the pool" if context == "out" else " the pool")
    title = f"{stamp}pool {pool} ({_candidates(first)}), {where}, {first['n_queries']:,} queries"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    table.add_column("model", overflow="fold")
    for name in SHOWN:
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        name = escape(record["model"]) + (" (an oracle)" if record["kind"] == "oracle" else "")
        table.add_row(name, *(_cell(record, metric) for metric in SHOWN))
    chance = first["chance"]
    table.add_row("[dim]chance[/]", *(f"[dim]{_number(name, chance.get(name))}[/]" for name in SHOWN))
    return table


def _candidates(record: Mapping[str, Any]) -> str:
    least, most = record["pool_size_least"], record["pool_size"]
    return f"{most:,} candidates" if least == most else f"{least:,} to {most:,} candidates"


def _cell(record: Mapping[str, Any], metric: str) -> str:
    low, high = record["interval"].get(metric, (None, None))
    value = _number(metric, record[metric])
    if low is None or high is None or metric not in ("R@1", "R@5", "MRR"):
        return value
    return f"{value} [dim]{_number(metric, low)} to {_number(metric, high)}[/]"


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if metric[0] in "RC" else f"{value:.3f}"
