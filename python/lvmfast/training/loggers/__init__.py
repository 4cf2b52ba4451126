"""Where a run is logged besides its own folder: `tensorboard`, `wandb`, `mlflow`, a file each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

#: What `--log` takes. Each is a module of this folder with an `open_log`, and an extra of that name.
LOGGERS = ("tensorboard", "wandb", "mlflow")


@dataclass(frozen=True)
class Told:
    """What a logger is told of a run when it begins, or goes on."""

    folder: Path  #: the run's; its name is the name of the run
    kept: Path  #: a folder of the logger's own, for what it keeps on this machine
    config: Mapping[str, Any]  #: every figure by its name: the hyperparameters
    run: Mapping[str, Any]  #: what run.json says: the leak status of the split is one thing of it
    known: dict[str, str] = field(default_factory=dict)  #: what it is to know again when the run goes on

    @property
    def summary(self) -> dict[str, Any]:
        """What a logger shows beside the hyperparameters: the split and whether it leaks, the machine."""
        run = self.run
        said = {name: run[name] for name in ("leak_status", "version", "torch", "device", "parameters")}
        said |= {name: run[name] for name in ("n_train", "n_val", "train_documents", "val_documents")}
        said["scan"] = run["scan"]["verdict"]
        return said | {f"scan.{level}": status for level, status in run["scan"]["levels"].items()}


class Logger(Protocol):
    """One place where a run is logged. Any of its calls may raise anything: the run goes on without it."""

    where: str  #: what to open to see the run, in words

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Logs the figures of an epoch, by their names in history.json."""

    def end(self, status: str, *, finished: bool) -> None:
        """Logs how the run ended, in words, and closes it; called once, and after this nothing is."""
