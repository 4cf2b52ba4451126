"""The state of a run between two steps: all that it takes to go on as if it had never stopped.

Random numbers need no place in it: each is drawn from the seed, its purpose, the epoch and the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lvmfast.corpus.failures import one_line
from lvmfast.errors import DataError
from lvmfast.models.checkpoint import VERSION, read_tensors, write_tensors
from lvmfast.training.config import HIGHER_IS_BETTER, TrainConfig

KIND = "lvmfast training state"


@dataclass
class Sums:
    """What an epoch has added up so far, in float64."""

    rows: int = 0
    loss: float = 0.0
    infonce: float = 0.0
    cosine: float = 0.0
    same_document: int = 0
    candidates: int = 0
    chance: float = 0.0  #: of a random order: the logarithm of each sequence's candidates

    def add(self, rows: int, sums: Sequence[float]) -> None:
        """Adds a step: its rows, and its `RowLosses.sums`."""
        loss, infonce, cosine, same_document, candidates, chance = sums
        self.rows += rows
        self.loss += loss
        self.infonce += infonce
        self.cosine += cosine
        self.same_document += round(same_document)
        self.candidates += round(candidates)
        self.chance += chance


@dataclass
class Position:
    """Where a run stands."""

    epoch: int = 1  #: the one that is running
    step: int = 0  #: steps of it that are done
    total_steps: int = 0  #: steps done in all
    sums: Sums = field(default_factory=Sums)
    history: list[dict[str, Any]] = field(default_factory=list)  #: rows of finished epochs
    best_epoch: int | None = None
    best_value: float | None = None  #: of `best_by`
    waited: int = 0  #: epochs since the best one
    stopped: str | None = None  #: why the run ended before its last epoch, if it did

    def ended(self, config: TrainConfig) -> bool:
        """Whether nothing is left to train."""
        return self.epoch > config.epochs or self.stopped is not None

    def take(self, row: dict[str, Any], config: TrainConfig) -> None:
        """Keeps the row of the epoch that is done, and ends the run where its patience is."""
        value, best = row[config.best_by], self.best_value
        if best is None or (value > best if HIGHER_IS_BETTER[config.best_by] else value < best):
            self.best_epoch, self.best_value, self.waited = self.epoch, value, 0
        else:
            self.waited += 1
        if config.patience and self.waited >= config.patience:
            self.stopped = f"no epoch was better by {config.best_by} than epoch {self.best_epoch}"
        self.history.append(row)

    def next_epoch(self) -> None:
        """To the beginning of the next one."""
        self.epoch, self.step, self.sums = self.epoch + 1, 0, Sums()


def save_state(
    path: Path,
    modules: dict[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    position: Position,
    config: str,
) -> None:
    """Writes weights, moments and position, whole or not at all.

    Raises:
        OSError: it cannot be written; the state that stood there still does.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, module in modules.items():
        tensors |= {f"{prefix}.{name}": value for name, value in module.state_dict().items()}
    state = optimiser.state_dict()["state"]
    for number, moments in state.items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in moments.items()}
    stated = {"kind": KIND, "version": VERSION, "position": asdict(position), "config": config}
    write_tensors(path, tensors, stated)


def load_state(
    path: Path, modules: dict[str, nn.Module], optimiser: torch.optim.Optimizer, config: str
) -> Position:
    """Brings modules and optimiser to where `save_state` left them.

    Raises:
        DataError: the file is broken, or is the state of another run.
    """
    tensors, stated = read_tensors(path, KIND)
    if stated.get("config") != config:
        raise DataError(f"{path}: the state of a run with other figures")
    try:
        found = dict(stated["position"])
        sums = {name: value for name, value in found["sums"].items() if name != "seconds"}  # of older files
        position = Position(**{**found, "sums": Sums(**sums)})
        for prefix, module in modules.items():
            own = {n.removeprefix(f"{prefix}."): t for n, t in tensors.items() if n.startswith(f"{prefix}.")}
            module.load_state_dict(own, strict=True)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimiser."):
                _, number, moment = name.split(".")
                moments.setdefault(int(number), {})[moment] = tensor
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": moments, "param_groups": groups})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: does not fit this run: {one_line(error)}") from error
    return position
