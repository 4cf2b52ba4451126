"""What learns: a model under its objective, one effective batch at a time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from lvmfast.errors import DataError
from lvmfast.models.next_vector import NextVectorModel
from lvmfast.training.batches import DROPOUT, generator
from lvmfast.training.compute import Compute
from lvmfast.training.config import TrainConfig
from lvmfast.training.device import Place
from lvmfast.training.interrupts import StopFlag
from lvmfast.training.loss import Objective
from lvmfast.training.optimiser import learning_rate, make_optimiser
from lvmfast.training.state import Position
from lvmfast.training.steps import Step, StepReader


class Diverged(DataError):
    """The loss is no number any more; the message says of which sequence."""


def _compute(config: TrainConfig, model: NextVectorModel, objective: Objective, place: Place) -> Compute:
    """How a model goes from windows to losses: by its own vectors, or by figures of candidates."""
    if not model.neighbours:
        return Compute(config, model, objective, place)
    from lvmfast.training.lists import ListCompute

    return ListCompute(config, model, objective, place)


class Learner:
    """A model, its objective and their optimiser, in one process of a run."""

    def __init__(self, model: NextVectorModel, reader: StepReader, place: Place) -> None:
        """`model` is on the device already; `reader` is of what is trained on."""
        self.config, self.reader, self.ranks = reader.config, reader, reader.ranks
        objective = Objective(self.config, reader.side.sequences.dim).to(place.device)
        self.compute = _compute(self.config, model, objective, place)
        self.modules: dict[str, nn.Module] = {"model": model, "objective": objective}
        named = [(name, p) for module in self.modules.values() for name, p in module.named_parameters()]
        self._parameters = [parameter for _, parameter in named]
        self.optimiser = make_optimiser(self.config, named)
        self.steps_per_epoch = reader.steps_per_epoch

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimiser.param_groups[0]["lr"])

    def step(self, step: Step, bank: Any, position: Position, stop: StopFlag) -> bool:
        """One step of the optimiser, added to the sums of `position`; whether any process is to stop.

        Raises:
            Diverged: the loss, or its gradient, is no number.
        """
        rate = learning_rate(self.config, position.total_steps, self.steps_per_epoch * self.config.epochs)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=False)
        sums, bad = self._forward_backward(step, bank, position)
        if not step.micros:  # fewer pieces than processes: this one adds nothing, in as many numbers
            for parameter in self._parameters:
                if parameter.grad is None and parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter)
        sums[-1] = stop.raised
        self.ranks.add_up([*(p.grad for p in self._parameters if p.grad is not None), sums])
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self.config.clip or float("inf")))
        *losses, stopping = sums.tolist()
        if not (math.isfinite(losses[0]) and math.isfinite(norm)):
            raise self._diverged(step, self.ranks.least(bad), losses[0])
        self.optimiser.step()
        position.sums.add(len(step.rows), losses)
        return bool(stopping > 0)

    def _forward_backward(self, step: Step, bank: Any, position: Position) -> tuple[Tensor, int]:
        """Gradients of this process's share; (7,) its `RowLosses.sums` and a 0, and the first bad place."""
        candidates = self.compute.candidates(step, bank)
        sums = torch.zeros(7, dtype=torch.float64, device=self.compute.place.device)
        bad = len(step.rows)
        for micro in step.micros:
            drawn = generator(self.config.seed, DROPOUT, position.epoch, position.step, int(micro.place[0]))
            torch.manual_seed(int(drawn.integers(1 << 62)))
            _, losses = self.compute.losses(micro, candidates)
            (losses.total.sum() / len(step.rows)).backward()
            with torch.no_grad():
                sums[:6] += losses.sums()
                finite = torch.isfinite(losses.total)
                if not finite.all():
                    bad = min(bad, int(micro.place[int((~finite).int().argmax())]))
        return sums, bad

    def _diverged(self, step: Step, place: int, loss: float) -> Diverged:
        what = "the loss is" if not math.isfinite(loss) else "the loss is a number but its gradient is not:"
        if place >= len(step.rows):
            return Diverged(f"{what} {loss}")
        return Diverged(f"{what} {loss}; its first such sequence is {self._named(int(step.rows[place]))}")

    def _named(self, place: int) -> str:
        """The sequence at a place in the side."""
        sequences, row = self.reader.side.sequences, int(self.reader.side.rows[place])
        file, in_file = sequences.locate(row)
        doc, chunk = sequences.keys[row].tolist()
        return f"row {in_file} of {file} (doc_id {doc}, chunk_id {chunk})"
