"""`lvmfast triage`."""

from __future__ import annotations

from dataclasses import asdict

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.options import Json, RunFolder
from lvmfast.cli.verdicts import run_notes
from lvmfast.exits import Answer
from lvmfast.shown import say, say_json
from lvmfast.training.history import Run, read_run
from lvmfast.training.triage import triage as run_triage


@app.command()
@exit_codes
def triage(
    run: RunFolder,
    as_json: Json = False,
) -> Answer:
    """Say what to try next after a failed gate: commands, with the evidence for each. Runs none of them."""
    found = read_run(run)
    if as_json:
        say_json(asdict(run_triage(found)))
    else:
        show_triage(found)
        run_notes(found)
    return Answer.YES


def show_triage(run: Run) -> None:
    """Prints symptoms and steps."""
    found = run_triage(run)
    for symptom in found.symptoms:
        say(f"symptom: {symptom}")
    if not found.steps:
        say("Nothing to suggest: a run of this recipe has no other objective to try.")
        return
    for order, title in (
        ("customary", "The customary order"),
        ("measured", "What measurements suggest instead"),
    ):
        say("", f"{title}:")
        for place, step in enumerate((s for s in found.steps if s.order == order), 1):
            say(f" {place}. {step.name}{' (already so)' if step.done else ''}: {step.evidence}")
            if not step.done:
                say(f"    {step.command}")
