"""The state of a run between two steps: all that it takes to go on as if it had never stopped.

Random numbers need no place in it: each is drawn from the seed, its purpose, the epoch and the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lvmfast.corpus.failures import one_line
from lvmfast.errors import DataError
from lvmfast.models.checkpoint import VERSION, read_tensors, write_tensors
from lvmfast.models.config import ON_LINEAR
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
    waited: int = 0  #: epochs since the highest one
    #: `figures` of the untrained model and `sums` of `best_by` over each document's sequences, where it is
    #: a baseline that is to be surpassed
    start: dict[str, Any] | None = None
    peak_epoch: int | None = None  #: that of the highest value, which need not be shown to be above the start
    stopped: str | None = None  #: why the run ended before its last epoch, if it did

    def ended(self, config: TrainConfig) -> bool:
        """Whether nothing is left to train."""
        return self.epoch > config.epochs or self.stopped is not None

    def take(self, row: dict[str, Any], config: TrainConfig) -> None:
        """Keeps the row of the epoch that is done, and ends the run where its patience is.

        The best epoch is the highest of those that are shown to be above the start, where there is one.
        """
        value, sign = row[config.best_by], 1 if HIGHER_IS_BETTER[config.best_by] else -1
        peak = self._value(self.peak_epoch, config)
        if peak is None or sign * value > sign * peak:
            self.peak_epoch, self.waited = self.epoch, 0
        else:
            self.waited += 1
        shown = self.start is None or row["over_start"]["above"]
        if shown and (self.best_value is None or sign * value > sign * self.best_value):
            self.best_epoch, self.best_value = self.epoch, value
        if config.patience and self.waited >= config.patience and self.epoch < config.epochs:
            self.stopped = f"no epoch had a better {config.best_by} than epoch {self.peak_epoch}"
        self.history.append(row)

    def begin(self, figures: dict[str, Any], sums: list[float], config: TrainConfig) -> None:
        """Takes the untrained model as epoch 0, and as what the others are to surpass."""
        self.start = {"figures": figures, "sums": sums}
        self.best_epoch = self.peak_epoch = 0
        self.best_value = figures[config.best_by]

    def beside(self, config: TrainConfig) -> dict[str, dict[str, float]]:
        """The start as one more baseline of the history, where it is none of the others."""
        if self.start is None or config.residual != ON_LINEAR:
            return {}
        return {ON_LINEAR: told_of_baseline(self.start["figures"])}

    @property
    def over_start(self) -> dict[str, Any] | None:
        """The best epoch against the start; where that is the start itself, the highest of the others."""
        rows = [row for row in self.history if "over_start" in row]
        if not rows:
            return None
        by = rows[0]["over_start"]["by"]
        sign = 1 if HIGHER_IS_BETTER[by] else -1
        shown = [row for row in rows if row["epoch"] == self.best_epoch]
        row = max(shown or rows, key=lambda row: sign * row[by])
        return {"epoch": row["epoch"], **row["over_start"]}

    def _value(self, epoch: int | None, config: TrainConfig) -> float | None:
        """`best_by` of an epoch that is done."""
        if epoch == self.best_epoch:
            return self.best_value
        found = [row[config.best_by] for row in self.history if row["epoch"] == epoch]
        return found[0] if found else None

    def next_epoch(self) -> None:
        """To the beginning of the next one."""
        self.epoch, self.step, self.sums = self.epoch + 1, 0, Sums()


def told_of_baseline(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What the history says of a baseline, of all validation figures."""
    return {key: figures[key] for key in ("val_cosine", "val_r5", "val_mrr", "val_margin")}


def save_state(
    path: Path,
    modules: dict[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    position: Position,
    config: TrainConfig,
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
    figures = config.of_outcome()
    stated = {"kind": KIND, "version": VERSION, "position": asdict(position), "figures": figures}
    write_tensors(path, tensors, stated)


def load_state(
    path: Path,
    modules: dict[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    check: Callable[[Mapping[str, Any]], None],
) -> Position:
    """Brings modules and optimiser to where `save_state` left them, if `check` passes what the file states.

    Raises:
        DataError: the file is broken, or is the state of another run.
    """
    tensors, stated = read_tensors(path, KIND)
    try:
        check(stated)
        found = dict(stated["position"])
        found = {"peak_epoch": found.get("best_epoch"), **found}  # of older files
        # older files have other sums, which matter inside an epoch
        sums = {spec.name: found["sums"][spec.name] for spec in fields(Sums)} if found["step"] else {}
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
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: does not fit this run: {one_line(error)}") from error
    return position
