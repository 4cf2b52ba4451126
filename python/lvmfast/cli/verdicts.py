"""How the verdicts of gates are printed."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from lvmfast.gates import Judged, Verdicts
from lvmfast.report.checks import Check, Checked, Outcome
from lvmfast.report.terminal import cell, show_table
from lvmfast.shown import say
from lvmfast.training.history import Run

#: Figures that are named where one that a gate needs is lacking.
_NAMED = 12
STYLES = {"passed": "green", "failed": "bold red", "proves_nothing": "yellow", "not_checkable": "dim"}


def show_verdicts(verdicts: Verdicts) -> None:
    """A row for each gate, and below them what there is to say of some."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("gate", "status", "found", "asked"):
        table.add_column(name, overflow="fold", no_wrap=name == "status")
    reasons: dict[str, list[str]] = {}
    for judged in verdicts.gates:
        status = Text(judged.status.replace("_", " "), style=STYLES[judged.status])
        table.add_row(cell(judged.gate.name), status, cell(_value(judged)), cell(judged.gate.asks))
        if judged.reason:
            reasons.setdefault(judged.reason, []).append(judged.gate.name)
    show_table(table)
    for reason, gates in reasons.items():
        say(f"{', '.join(gates)}: {reason}")


def checks_of_gates(verdicts: Verdicts, line: str, history: str) -> Checked:
    """A check for each gate; what a gate that has to be checked lacks is not decided."""
    whole: dict[str, Outcome] = {"passed": "passed", "failed": "failed", "incomplete": "undecided"}
    checks = tuple(_check(judged, history) for judged in verdicts.gates)
    return Checked("gate", line, whole[verdicts.verdict], checks)


def _check(judged: Judged, history: str) -> Check:
    outcome: Outcome = "skipped"
    if judged.status in ("passed", "failed"):
        outcome = "passed" if judged.status == "passed" else "failed"
    elif judged.awaited or (judged.status == "not_checkable" and judged.gate.required):
        outcome = "undecided"
    why = f" ({judged.reason})" if judged.reason else ""
    says = f"Found {_value(judged)}, asked {judged.gate.asks}: {judged.status.replace('_', ' ')}{why}."
    return Check(judged.gate.name, outcome, says, f"The gate asks {judged.gate.asks}.", history)


def run_notes(run: Run) -> None:
    """What is odd about the history."""
    for note in run.history.notes:
        say(f"note: {run.history.path}: {note}")


def verdict_line(verdicts: Verdicts, run: Run) -> str:
    """One line for people and logs."""
    epochs = sorted({j.gate.epoch for j in verdicts.gates if j.gate.epoch is not None})
    where = f"{run.path}, epoch {', '.join(map(str, epochs))}"
    stamp = (
        "LEAKED: validation was seen in training, no score counts. " if run.leak_status == "LEAKED" else ""
    )
    if verdicts.verdict == "failed":
        failed = ", ".join(j.gate.name for j in verdicts.gates if j.status == "failed")
        return f"{stamp}FAILED: {where}: {failed}"
    if verdicts.awaited:
        last = max(run.history.epochs, default=0)
        missing = ", ".join(str(epoch) for epoch in epochs if epoch not in run.history.epochs)
        left_out = any(epoch < last for epoch in epochs if epoch not in run.history.epochs)
        had = f"its epochs are {_ranges(list(run.history.epochs))}" if last else "no epoch is finished yet"
        why = "is missing from the history" if left_out else "is not there yet"
        return f"{stamp}INCOMPLETE: {run.path}: epoch {missing} {why}: {had}"
    if verdicts.verdict == "incomplete":
        lacking = [j.gate.name for j in verdicts.gates if j.status == "not_checkable" and j.gate.required]
        why = "no gate that was met proves anything"
        if lacking:
            had = ", ".join(run.history.figures[:_NAMED]) + (
                " and more" if run.history.figures[_NAMED:] else ""
            )
            why = f"not checkable: {', '.join(lacking)}; its figures are {had or 'none'}"
        return f"{stamp}INCOMPLETE: {where}: {why}"
    count = {status: sum(j.status == status for j in verdicts.gates) for status in STYLES}
    rest = [f"{count[s]} {s.replace('_', ' ')}" for s in ("proves_nothing", "not_checkable") if count[s]]
    counted = ", ".join([f"{count['passed']} passed", *rest])
    return f"{stamp}PASSED: {where}: {counted}"


def _value(judged: Judged) -> str:
    value = judged.value
    return "–" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def _ranges(epochs: list[int]) -> str:
    runs: list[list[int]] = []
    for epoch in epochs:
        if runs and epoch == runs[-1][-1] + 1:
            runs[-1].append(epoch)
        else:
            runs.append([epoch])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
