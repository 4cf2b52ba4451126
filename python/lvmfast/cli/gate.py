"""`lvmfast gate`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lvmfast.cli.app import app, exit_codes
from lvmfast.cli.formats import Format, FormatOption, chosen_format, say_checked
from lvmfast.cli.options import Epoch, Gates, Json, RunFolder
from lvmfast.cli.verdicts import checks_of_gates, run_notes, show_verdicts, verdict_line
from lvmfast.exits import Answer
from lvmfast.gates import TRAINING, at_epoch, judge, read_gates
from lvmfast.shown import say, say_json
from lvmfast.training.history import read_run


@app.command()
@exit_codes
def gate(
    run: RunFolder,
    epoch: Epoch = 2,
    gates: Gates = None,
    as_json: Json = False,
    format: FormatOption = Format.text,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the closing line.")] = False,
) -> Answer:
    """Judge an epoch of a run. Exit 0: passed, 1: failed, 3: the epoch is not finished yet."""
    asked = at_epoch(TRAINING if gates is None else read_gates(gates), epoch)
    found = read_run(run)
    found.history.refuse_ambiguous(gate.metric for gate in asked)
    verdicts = judge(asked, found.evidence)
    chosen = chosen_format(format, as_json)
    line = verdict_line(verdicts, found)
    if chosen is Format.json:
        answer: dict[str, Any] = {"run": str(run), "leak_status": found.leak_status, **verdicts.to_dict()}
        say_json(answer | {"notes": found.history.notes})
    elif not say_checked(chosen, lambda: checks_of_gates(verdicts, line, str(found.history.path))):
        if not quiet:
            show_verdicts(verdicts)
            run_notes(found)
        say(line)
    return Answer(verdicts.exit_code)
