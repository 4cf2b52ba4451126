"""The loop: effective batches, epochs, validation, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from lvmfast.errors import DataError
from lvmfast.gates import TRAINING, Verdicts, at_epoch, gate_set, judge
from lvmfast.leaks.progress import Progress
from lvmfast.models.checkpoint import CheckpointInfo, save_checkpoint
from lvmfast.training.batches import DROPOUT, generator
from lvmfast.training.compute import Compute
from lvmfast.training.config import HIGHER_IS_BETTER, TrainConfig
from lvmfast.training.data import CLEAN
from lvmfast.training.device import Place
from lvmfast.training.heartbeat import FINISHED, STOPPED, Heartbeat
from lvmfast.training.interrupts import Interrupted, StopFlag
from lvmfast.training.judging import Judge
from lvmfast.training.loss import Objective
from lvmfast.training.optimiser import learning_rate, make_optimiser
from lvmfast.training.ranks import Ranks
from lvmfast.training.run_folder import RunFolder
from lvmfast.training.state import Position, Sums, load_state, save_state
from lvmfast.training.steps import Step, StepReader

#: Called with each row of history.json, once it is written.
EpochDone = Callable[[Mapping[str, Any]], None]


class Trainer:
    """One process of a run, from where it stands to its end."""

    def __init__(
        self,
        config: TrainConfig,
        model: nn.Module,
        train: StepReader,
        val: StepReader,
        folder: RunFolder,
        complete: Callable[[], CheckpointInfo],
        place: Place,
        ranks: Ranks,
        mix: Any,
    ) -> None:
        """Nothing is computed yet.

        Args:
            config: the figures.
            model: on the device.
            train: what is trained on.
            val: what it is judged by.
            folder: where it writes.
            complete: gives what every checkpoint states; called when the first is due.
            place: the device.
            ranks: of this process.
            mix: the weights of the lag-mix baseline.
        """
        self.config, self.model, self.folder = config, model, folder
        self._train, self._place, self._ranks = train, place, ranks
        self._complete, self._mix = complete, mix
        dim = train.side.sequences.dim
        self.objective = Objective(config, dim).to(place.device)
        self.optimiser = make_optimiser(config, self._named_parameters())
        self.steps_per_epoch = train.batching.steps(train.document)
        self._parameters = [parameter for _, parameter in self._named_parameters()]
        self._compute = Compute(config, model, place)
        self.judge = Judge(self._compute, self.objective, train, val, config.threads)
        self._seconds: dict[int, float] = {}  # by epoch
        self._saved = time.monotonic()
        self._heartbeat = Heartbeat(folder.path) if ranks.first else None
        self.verdicts: Verdicts | None = None  #: of the gates, once their epoch is there

    @cached_property
    def info(self) -> CheckpointInfo:
        """What every checkpoint states."""
        return self._complete()

    @cached_property
    def baselines(self) -> dict[str, dict[str, float]]:
        """The validation figures of each baseline."""
        return self.judge.baselines(self._mix)

    @property
    def parameters(self) -> int:
        """Trained figures of the model, without those of the objective's head."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_per_epoch * self.config.epochs

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return {"model": self.model, "objective": self.objective}

    def _named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        return [
            (f"{prefix}.{name}", parameter)
            for prefix, module in self._modules.items()
            for name, parameter in module.named_parameters()
        ]

    def position(self, identity: str) -> Position:
        """Where the run stands: at its saved state, or at its beginning."""
        self._seconds = self.folder.read_times()
        if not self.folder.state.is_file():
            return Position()
        return load_state(self.folder.state, self._modules, self.optimiser, identity)

    def fit(
        self, position: Position, identity: str, stop: StopFlag, progress: Progress, epoch_done: EpochDone
    ) -> Position:
        """Trains to the end.

        Args:
            position: where the run stands.
            identity: what the run's figures are known by.
            stop: raised where the run is to be saved and left.
            progress: called as ("train", sequences done, sequences in all).
            epoch_done: called after each epoch.

        Raises:
            DataError: the loss is no number any more, data turned out to be broken, or a file cannot be
                written.
            Interrupted: `stop` was raised; the state is saved.
        """
        if position.total_steps == 0 and self.config.residual != "none":
            self._consider_untrained(position)
        self._publish(position)
        while position.epoch <= self.config.epochs and position.stopped is None:
            self._train_epoch(position, identity, stop, progress)
            self._beat(position, "validate")
            row = self._row(position)
            self._finish(position, row, identity)
            epoch_done(self.timed(position)[-1])
            if position.stopped is None and position.epoch <= self.config.epochs and self._agreed(stop):
                self._beat(position, STOPPED)
                raise Interrupted(f"saved after epoch {row['epoch']}")
        self._beat(position, FINISHED)
        return position

    def _beat(self, position: Position, phase: str) -> None:
        if self._heartbeat is None:
            return
        epoch, step = position.epoch, position.step
        if phase in (FINISHED, STOPPED) and step == 0 and epoch > 1:  # the next one, which was not begun
            epoch, step = epoch - 1, self.steps_per_epoch
        self._heartbeat.beat(epoch=epoch, step=step, phase=phase)

    def timed(self, position: Position) -> list[dict[str, Any]]:
        """The rows of history.json: those of the state, with the seconds that each epoch took."""
        return [{**row, "time": row.get("time", self._seconds.get(row["epoch"]))} for row in position.history]

    def _train_epoch(self, position: Position, identity: str, stop: StopFlag, progress: Progress) -> None:
        n, epoch = len(self._train.side), position.epoch
        bank_places = self._train.bank(epoch)
        bank = self._compute.bank(self._train, bank_places)
        started, before = time.monotonic(), self._seconds.get(epoch, 0.0)
        self.model.train()
        with closing(self._train.steps(epoch, position.step, bank_places)) as steps:
            for step in steps:
                stopping = self._step(step, bank, position, stop)
                position.step += 1
                position.total_steps += 1
                self._seconds[epoch] = before + time.monotonic() - started
                progress("train", (epoch - 1) * n + position.sums.rows, self.config.epochs * n)
                self._beat(position, "train")
                if position.step == self.steps_per_epoch:
                    return
                if stopping or time.monotonic() - self._saved > self.config.save_every:
                    self._save(position, identity)
                if stopping:
                    self._beat(position, STOPPED)
                    raise Interrupted(
                        f"saved in epoch {epoch}, after step {position.step} of {self.steps_per_epoch}"
                    )

    def _step(self, step: Step, bank: Tensor | None, position: Position, stop: StopFlag) -> bool:
        """One step of the optimiser; whether any process was asked to stop."""
        rate = learning_rate(self.config, position.total_steps, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=False)
        compute = self._compute
        candidates = self.objective.candidates(compute.tensor(step.targets), bank)
        sums = torch.zeros(7, dtype=torch.float64, device=self._place.device)
        bad = len(step.rows)
        for micro in step.micros:
            torch.manual_seed(self._dropout_seed(position, int(micro.place[0])))
            losses = self.objective(
                compute.predict(micro.contexts),
                compute.tensor(micro.place),
                candidates,
                compute.negatives(micro),
            )
            (losses.total.sum() / len(step.rows)).backward()
            with torch.no_grad():
                sums[:6] += losses.sums()
                finite = torch.isfinite(losses.total)
                if not finite.all():
                    bad = min(bad, int(micro.place[int((~finite).int().argmax())]))
        sums[6] = stop.raised
        gradients = [p.grad for _, p in self._named_parameters() if p.grad is not None]
        self._ranks.add_up([*gradients, sums])
        loss, infonce, cosine, same_document, met, chance, stopping = sums.tolist()
        norm = float(nn.utils.clip_grad_norm_(self._parameters, self.config.clip or float("inf")))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise self._diverged(position, step, self._ranks.least(bad), loss)
        self.optimiser.step()
        done = position.sums
        done.rows += len(step.rows)
        done.loss += loss
        done.infonce += infonce
        done.cosine += cosine
        done.same_document += round(same_document)
        done.candidates += round(met)
        done.chance += chance
        return bool(stopping > 0)

    def _dropout_seed(self, position: Position, place: int) -> int:
        drawn = generator(self.config.seed, DROPOUT, position.epoch, position.step, place)
        return int(drawn.integers(1 << 62))

    def _diverged(self, position: Position, step: Step, place: int, loss: float) -> DataError:
        epochs = [path.name for path in [self.folder.checkpoint(position.epoch - 1)] if path.is_file()]
        kept = f"{epochs[0]} is the last good checkpoint" if epochs else "no epoch was finished"
        what = "the loss is" if not math.isfinite(loss) else "the loss is a number but its gradient is not:"
        where = ""
        if place < len(step.rows):
            row = int(self._train.side.rows[step.rows[place]])
            file, in_file = self._train.side.sequences.locate(row)
            doc, chunk = self._train.side.sequences.keys[row].tolist()
            where = f"; its first such sequence is row {in_file} of {file} (doc_id {doc}, chunk_id {chunk})"
        return DataError(
            f"{self.folder.path}: epoch {position.epoch}, batch {position.step + 1} of "
            f"{self.steps_per_epoch}: {what} {loss}{where}; {kept}"
        )

    def _row(self, position: Position) -> dict[str, Any]:
        """The epoch's row of history.json without its time, as the first process has it."""
        started, sums = time.monotonic(), position.sums
        contrastive = self.config.infonce > 0
        judged = self.judge.figures()

        def row() -> dict[str, Any]:
            return {
                "epoch": position.epoch,
                "train_loss": sums.loss / sums.rows,
                "train_infonce": sums.infonce / sums.rows if contrastive else None,
                "train_candidates": sums.candidates / sums.rows if contrastive else None,
                "train_below_chance": (sums.chance - sums.infonce) / sums.rows if contrastive else None,
                "train_ar_cosine": sums.cosine / sums.rows,
                **judged,
                "lr": self.optimiser.param_groups[0]["lr"],
                "negatives_same_document": sums.same_document if contrastive else None,
                "baselines": self.baselines,
                **({} if self.info.leak_status == CLEAN else {"leak_status": self.info.leak_status}),
            }

        agreed: dict[str, Any] = self._ranks.told(row)
        self._seconds[position.epoch] += time.monotonic() - started
        return agreed

    def _consider_untrained(self, position: Position) -> None:
        """The residual as it starts, which is its baseline: checkpoint 0."""
        found = self.judge.figures()
        judged = self._ranks.told(lambda: found)
        self._checkpoint(0, {"epoch": 0, **judged, "baselines": self.baselines})
        position.best_epoch, position.best_value = 0, judged[self.config.best_by]

    def _finish(self, position: Position, row: dict[str, Any], identity: str) -> None:
        """Checkpoint, state, history: in this order, so that what history tells of is safe."""
        self._checkpoint(position.epoch, row)
        value, best = row[self.config.best_by], position.best_value
        higher = HIGHER_IS_BETTER[self.config.best_by]
        if best is None or (value > best if higher else value < best):
            position.best_epoch, position.best_value, position.waited = position.epoch, value, 0
        else:
            position.waited += 1
        if self.config.patience and position.waited >= self.config.patience:
            position.stopped = (
                f"no epoch was better by {self.config.best_by} than epoch {position.best_epoch}"
            )
        position.history.append(row)
        self._judge_gates(position)
        position.epoch += 1
        position.step, position.sums = 0, Sums()
        self._save(position, identity)
        self._publish(position)

    def _judge_gates(self, position: Position) -> None:
        """Holds the run to its gates, once, and ends it where it is to stop on them."""
        if position.epoch != self.config.gate_epoch:
            return
        asked = at_epoch(gate_set(self.config.gates) if self.config.gates else TRAINING, position.epoch)
        evidence = {
            "epochs": {row["epoch"]: row for row in position.history},
            "same_document_masked": self.config.mask_same_document,
        }
        self.verdicts = judge(asked, evidence)
        failed = ", ".join(judged.gate.name for judged in self.verdicts.gates if judged.status == "failed")
        if failed and self.config.on_fail == "stop":
            position.stopped = f"gates failed at epoch {position.epoch}: {failed}"

    def _checkpoint(self, epoch: int, row: Mapping[str, Any]) -> None:
        if self._ranks.first:
            with self.folder.writing():
                info = replace(self.info, epoch=epoch, metrics=dict(row))
                save_checkpoint(self.folder.checkpoint(epoch), self.model.state_dict(), info)

    def _save(self, position: Position, identity: str) -> None:
        if self._ranks.first:
            with self.folder.writing():
                save_state(self.folder.state, self._modules, self.optimiser, position, identity)
            times = {str(epoch): seconds for epoch, seconds in self._seconds.items()}
            self.folder.write_json(self.folder.times, times)
        self._saved = time.monotonic()

    def _publish(self, position: Position) -> None:
        """history.json and best.json as the saved state has them."""
        if not self._ranks.first:
            return
        if position.history:
            self.folder.write_json(self.folder.history, self.timed(position))
        if position.best_epoch is not None:
            best = {
                "epoch": position.best_epoch,
                "checkpoint": self.folder.checkpoint(position.best_epoch).name,
                "by": self.config.best_by,
                self.config.best_by: position.best_value,
                "leak_status": self.info.leak_status,
            }
            self.folder.write_json(self.folder.best, best)

    def _agreed(self, stop: StopFlag) -> bool:
        raised = torch.tensor(float(stop.raised), device=self._place.device)
        self._ranks.add_up([raised])
        return bool(raised > 0)
