"""What of the histories of runs is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lvmfast.errors import DataError
from lvmfast.gates import TRAINING
from lvmfast.report.curves import Panel
from lvmfast.training.history import Run

#: Title and name in the history of what is drawn, in the order of the panels.
DRAWN = {
    "val_cosine": "val_cosine",
    "R@5 (%)": "val_r5",
    "MRR": "val_mrr",
    "nats below chance": "val_below_chance",
    "loss": "val_loss",
    "lr": "lr",
}
#: What stands dotted beside it. Losses are over different numbers of candidates in training and validation,
#: so they stand beside each other only where nothing better is known.
BESIDE = {"val_r5": "train_r5", "val_below_chance": "train_below_chance", "val_loss": "train_loss"}


def named(runs: Sequence[Run]) -> dict[str, Run]:
    """The runs by their paths as given.

    Raises:
        DataError: one is named twice, or none has a finished epoch.
    """
    found: dict[str, Run] = {}
    for run in runs:
        if str(run.path) in found:
            raise DataError(f"{run.path}: named twice")
        found[str(run.path)] = run
    if not any(run.history.epochs for run in runs):
        raise DataError(f"{', '.join(found)}: no epoch is finished yet, so there is nothing to draw")
    if not any(run.history.curve(metric) for run in runs for metric in DRAWN.values()):
        had = ", ".join(dict.fromkeys(name for run in runs for name in run.history.figures)) or "none"
        raise DataError(
            f"{', '.join(found)}: expected one of {', '.join(DRAWN.values())}, found the figures {had}"
        )
    return found


def panels(runs: Mapping[str, Run], epoch: int) -> list[Panel]:
    """A panel for each figure; the customary gate stands in that of val_cosine, from `epoch` on."""
    threshold = TRAINING[0].at_least
    drawn = []
    for title, metric in DRAWN.items():
        beside = BESIDE.get(metric, "")
        gate = (epoch, threshold) if metric == TRAINING[0].metric and threshold is not None else None
        drawn.append(
            Panel(
                title,
                {name: run.history.curve(metric) for name, run in runs.items()},
                minor={
                    name: run.history.curve(beside)
                    for name, run in runs.items()
                    if beside and not (metric == "val_loss" and run.history.curve("train_below_chance"))
                },
                minor_name=beside,
                baselines={name: run.history.baselines(metric) for name, run in runs.items()},
                gate=gate,
                gate_name="" if gate is None else f"gate {gate[1]:g}",
            )
        )
    return drawn


def last_epochs(runs: Mapping[str, Run]) -> dict[str, tuple[int, dict[str, float | None]]]:
    """The last epoch of each run that has one, and its figures by title."""
    found = {}
    for name, run in runs.items():
        if run.history.epochs:
            epoch = max(run.history.epochs)
            curves = {title: dict(run.history.curve(metric)) for title, metric in DRAWN.items()}
            found[name] = (epoch, {title: curve.get(epoch) for title, curve in curves.items()})
    return found


def leak_heading(runs: Mapping[str, Run]) -> str:
    """Names the runs whose validation was seen in training; empty where there is none."""
    leaked = [name for name, run in runs.items() if run.leak_status == "LEAKED"]
    return f"LEAKED: validation was seen in training, no score counts: {', '.join(leaked)}" if leaked else ""
