"""`lvmfast triage`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.verdicts import run_notes
from lvmfast.training.history import Run, read_run
from lvmfast.training.triage import triage as run_triage


@app.command()
@exit_codes
def triage(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run, or any trainer's history.json.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the steps on stdout alone.")] = False,
) -> None:
    """What to try next after a failed gate: commands, with the evidence for each. Runs none of them."""
    found = read_run(run)
    if as_json:
        print(json.dumps(asdict(run_triage(found)), indent=2, ensure_ascii=False))
    else:
        show_triage(found)
        run_notes(found)


def show_triage(run: Run) -> None:
    """Prints symptoms and steps."""
    found = run_triage(run)
    for symptom in found.symptoms:
        print(f"symptom: {symptom}")
    for order, title in (
        ("customary", "The customary order"),
        ("measured", "What measurements suggest instead"),
    ):
        print(f"\n{title}:")
        for place, step in enumerate((s for s in found.steps if s.order == order), 1):
            print(f" {place}. {step.name}{' (already so)' if step.done else ''}: {step.evidence}")
            if not step.done:
                print(f"    {step.command}")
