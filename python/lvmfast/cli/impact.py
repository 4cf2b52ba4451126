"""`lvmfast impact`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.options import DecisionsFile
from lvmfast.exits import Answer
from lvmfast.report.impact_sentences import figure, interval_text
from lvmfast.report.terminal import Name, cell, show_table
from lvmfast.shown import say, say_json, tell
from lvmfast.stores import holds


@app.command()
@exit_codes
@holds("out")
def impact(
    report: Annotated[str, typer.Argument(metavar="REPORT", help="What `leakscan --out` wrote.")],
    scores: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]PATH",
            help="Scores of a model: a file or a folder of an evaluator (docs/impact.md). Repeat for many.",
        ),
    ],
    control: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]PATH", help="Scores of a model that did not see the training data."),
    ] = None,
    eval: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="The evaluation files, if they are no longer where they were."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="The score to read, if files have several.")
    ] = None,
    decisions: DecisionsFile = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write impact.html, impact.json and impact.parquet there."),
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap samples of the intervals.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap samples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result on stdout alone.")] = False,
) -> Answer:
    """Say what a leak was worth: scores on all, clean and leaked items. Exit 0, or 2: bad input."""
    from lvmfast.evals.write import check_place
    from lvmfast.gains.impact import impact as find

    if out is not None:
        check_place(out)
    found = find(
        report,
        _named(scores),
        control=_named(control or ()),
        eval=eval or (),
        metric=metric,
        decisions=decisions,
        resamples=resamples,
        seed=seed,
    )
    if out is not None:
        found.save(out)
    if as_json:
        say_json(found.content)
        return Answer.YES
    _show(found.content)
    if out is not None:
        say(f"Impact: {out}/ impact.html, impact.json, impact.parquet")
    say(*found.sentences)
    return Answer.YES


def _named(given: Sequence[str]) -> Any:
    """Paths as they are, or by the name before them."""
    parts = [(value, *value.partition("=")) for value in given]
    return [
        {name: path} if name and path and not os.path.exists(value) else value
        for value, name, _, path in parts
    ]


def _show(content: Mapping[str, Any]) -> None:
    for model in content["models"]:
        show_table(_by_group(model))
        for file in model["joined"]:
            say(f"{file['path']} ({file['reader']}): {_joined(file)}")
            if file["not_joined"]:
                say(f"  not joined: {_first(file['not_joined'], file['scores'] - file['joined'])}")
            if file["unscored"]:
                say(f"  {file['unscored']:,} have no score there (null or NaN), and are left out")
        if model["without_score"]:
            first = _first(model["first_without_score"], model["without_score"])
            say(f"{model['name']}: {model['without_score']:,} items of the scan have no score: {first}")
    if content["review"] is not None:
        items = content["items"]
        aside = f"{items['set_aside']:,} more matched and were set aside"
        say(f"Reviewed: {items['leaked']:,} items leaked; {aside}")
    tell(*content["notes"])


def _joined(file: Mapping[str, Any]) -> str:
    told = f"{file['joined']:,} of {file['scores']:,} scores joined by {file['by']}"
    if file["by"].startswith("text"):
        return told
    compared = file["texts_compared"]
    return f"{told}; texts compared: {f'{compared:,}' if compared else 'none, as a side has none'}"


def _first(names: Sequence[str], count: int) -> str:
    return ", ".join(names) + (f" and {count - len(names):,} more" if count > len(names) else "")


def _by_group(model: Mapping[str, Any]) -> Table:
    """A line for any level, one for each, and one for each file; where there is one, it is the first line."""
    role = ", the control" if model["control"] else ""
    table = Table(title=cell(f"{model['name']}{role}: {model['metric']}"), title_justify="left", box=None)
    table.add_column("leaked at")
    for name in ("leaked items", "all", "clean", "leaked", "gain, 95% interval", "z"):
        table.add_column(name, justify="right", no_wrap=name.startswith("gain"))
    groups = {"any level": model["overall"], **(model["levels"] if len(model["levels"]) > 1 else {})}
    if len(model["files"]) > 1:
        groups |= {found["file"]: found for found in model["files"]}
    for name, found in groups.items():
        table.add_row(Name(name), *_cells(model, found))
    return table


def _cells(model: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    counts = f"{found['leaked']['items']:,} of {found['all']['items']:,}"
    means = [figure(model, found[name]["mean"]) for name in ("all", "clean", "leaked")]
    if found["verdict"] == "too few":
        return [counts, *means, "too few items", ""]
    gain, interval = found["gain"]["difference"], found["gain"]["interval"]
    shown = f"{figure(model, gain, signed=True)} {interval_text(model, interval)}"
    return [counts, *means, shown, "–" if found["z"] is None else f"{found['z']:.1f}"]
