"""`lvmfast monitor`."""

from __future__ import annotations

import shlex
from enum import Enum
from typing import Annotated

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.options import Epoch, Gates, RunFolder
from lvmfast.cli.triage import show_triage
from lvmfast.cli.verdicts import run_notes, show_verdicts, verdict_line
from lvmfast.exits import Answer
from lvmfast.gates import TRAINING, at_epoch, read_gates
from lvmfast.shown import say, tell
from lvmfast.training.heartbeat import SECONDS_TO_STALL
from lvmfast.training.monitor import monitor as run_monitor


class OnFail(str, Enum):
    """What to do when a gate fails."""

    stop = "stop"
    triage = "triage"
    warn = "warn"


@app.command()
@exit_codes
def monitor(
    run: RunFolder,
    epoch: Epoch = 2,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two checks.")] = 120.0,
    on_fail: Annotated[
        OnFail, typer.Option(help="stop: the trainer saves and ends; triage: what to try next; warn: say so.")
    ] = OnFail.warn,
    gates: Gates = None,
    stall_after: Annotated[
        float, typer.Option(min=1.0, help="Seconds without a sign of life after which a run is stalled.")
    ] = SECONDS_TO_STALL,
) -> Answer:
    """Follow a run until its gates are decided, and act once. Exit 0: passed, 1: failed, 3: not decided."""
    outcome = run_monitor(
        run,
        at_epoch(TRAINING if gates is None else read_gates(gates), epoch),
        every=every,
        on_fail=on_fail.value,
        stall_after=stall_after,
        say=tell,
    )
    show_verdicts(outcome.verdicts)
    run_notes(outcome.run)
    if outcome.verdicts.awaited or outcome.state.life in ("died", "stalled"):
        say(outcome.state.sentence)
    if outcome.state.life == "died" and outcome.run.config:
        say(f"{shlex.join(['lvmfast', 'train', '--resume', '--out', str(run)])} continues from what it saved")
    say(verdict_line(outcome.verdicts, outcome.run))
    if outcome.stopped is not None:
        say(outcome.stopped)
    if outcome.verdicts.verdict == "failed" and on_fail is OnFail.triage:
        show_triage(outcome.run)
    return Answer(outcome.exit_code)
