"""What `eval` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from lvmfast.report.eval_sentences import phase_1_sentence
from lvmfast.report.terminal import Name, cell, show_table
from lvmfast.shown import percent, say

if TYPE_CHECKING:
    from lvmfast.evals.evaluation import Evaluation

SHOWN = ("R@1", "R@5", "Contain@50", "MRR", "mean_cosine")


def show_evaluation(evaluation: Evaluation, out: Path | None, *, quiet: bool) -> None:
    """Prints the table of scores, what binds them, and a closing line."""

    details = evaluation.details
    if not quiet:
        places = list(dict.fromkeys((r["pool"], r["context"]) for r in evaluation.records))
        pools = [pool for pool, _ in places]
        # What a query's own context cannot help with comes first.
        for pool, context in sorted(places, key=lambda place: (pools.index(place[0]), place[1] != "out")):
            show_table(_table(evaluation, pool, context))
            if gated := [g for g in details["gated"] if (g["pool"], g["context"]) == (pool, context)]:
                show_table(_gated(gated))
            nearby = details["approximate"]
            if found := [
                f for f in (nearby or {"found": []})["found"] if (f["pool"], f["context"]) == (pool, context)
            ]:
                show_table(_approximate(nearby["index"], found))
        for note in details["notes"]:
            say(note)
        for line in _timed(details["latency"]):
            say(line)
        if out is not None:
            files = "eval.html, metrics.json, evaluation.json, hits.parquet, documents.parquet"
            say(f"Evaluation: {out}/ {files}")
    for line in _judged(details):
        say(line)
    say(f"Split: {evaluation.status.sentence}")


def _timed(latencies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [
        f"{model}: {found['P50']:.2f} ms a query (P95 {found['P95']:.2f}, P99 {found['P99']:.2f}; "
        f"{found['cpu_P50']:.2f} ms of processor), one at a time, {found['queries']} of them, model on "
        f"{found['model_device']}, exact search on {found['search_device']} over {found['pool_size']:,} rows"
        for model, found in latencies.items()
    ]


def _judged(details: Mapping[str, Any]) -> list[str]:
    """What the gates that were asked for say, and the verdict of phase 1."""
    lines = []
    if asked := details["gates_asked"]:
        where = "pool {pool}, context {context}".format(**details["judged_on"])
        found = details["gates"][details["chief"]][asked]
        for gate in found["gates"]:
            value = "" if gate["value"] is None else f", is {_plain(gate['value'])}"
            reason = f" ({gate['reason']})" if gate["reason"] else ""
            lines.append(f"  {gate['status'].replace('_', ' ')}: {gate['asks']}{value}{reason}")
        lines.insert(0, f"Gates {asked} for {details['chief']} ({where}): {found['verdict']}")
    if compared := details["phase_1"]:
        lines.append(phase_1_sentence(compared))
    return lines


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(evaluation: Evaluation, pool: str, context: str) -> Table:
    records = [r for r in evaluation.records if (r["pool"], r["context"]) == (pool, context)]
    first = records[0]
    stamp = f"{evaluation.details['stamp']}: " if evaluation.details["stamp"] else ""
    where = f"context {context}" + (" of the pool" if context == "out" else " the pool")
    title = f"{stamp}pool {pool} ({_candidates(first)}), {where}, {first['n_queries']:,} queries"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    table.add_column("model")
    for name in SHOWN:
        table.add_column(name, justify="right", no_wrap=True)
    for record in records:
        model = record["model"] + (" (an oracle)" if record["equals_oracle"] else "")
        table.add_row(Name(model), *(_cell(record, metric) for metric in SHOWN))
    chance = first["chance"]
    table.add_row("[dim]chance[/]", *(f"[dim]{_number(name, chance.get(name))}[/]" for name in SHOWN))
    return table


def _gated(found: Sequence[Mapping[str, Any]]) -> Table:
    """What limiting candidates to the query's domain takes and gives."""
    title = "candidates of the query's domain alone: without the gate -> with it"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    table.add_column("model")
    for name in ("left", "shut out", "R@5", "Contain@50", "P50 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found:
        pairs = [_pair(row[name], 1) for name in ("R@5", "Contain@50")] + [_pair(row["P50"], 2)]
        table.add_row(
            Name(row["name"]),
            percent(row["share_of_candidates"]),
            f"{row['shut_out']:,}",
            *pairs,
        )
    return table


def _approximate(index: str, found: Sequence[Mapping[str, Any]]) -> Table:
    """What an approximate index misses and saves."""
    title = cell(f"through the index {index}: exact -> index", "italic")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    table.add_column("model")
    for name in ("recall", "R@5", "Contain@50", "P50 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found:
        pairs = [_pair(row[name], 1) for name in ("R@5", "Contain@50")] + [_pair(row["P50"], 2)]
        table.add_row(Name(row["model"]), percent(row["recall"]), *pairs)
    return table


def _pair(change: Mapping[str, float | None], digits: int) -> str:
    without, within = change.values()
    return "–" if without is None or within is None else f"{without:.{digits}f} -> {within:.{digits}f}"


def _candidates(record: Mapping[str, Any]) -> str:
    least, most = record["pool_size_least"], record["pool_size"]
    return f"{most:,} candidates" if least == most else f"{least:,} to {most:,} candidates"


def _cell(record: Mapping[str, Any], metric: str) -> str:
    low, high = record["interval"].get(metric, (None, None))
    value = _number(metric, record[metric])
    if low is None or high is None or metric not in ("R@5",):
        return value
    return f"{value} [dim][{_number(metric, low)}, {_number(metric, high)}][/]"


def _number(metric: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.1f}" if metric[0] in "RC" else f"{value:.3f}"
