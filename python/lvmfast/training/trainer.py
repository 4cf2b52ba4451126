"""The loop: effective batches, epochs, validation, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from lvmfast.errors import DataError
from lvmfast.gates import Verdicts
from lvmfast.leaks.progress import Progress
from lvmfast.training.heartbeat import FINISHED, STOPPED, Heartbeat
from lvmfast.training.interrupts import Interrupted, StopFlag
from lvmfast.training.judging import Judge, judge_gates
from lvmfast.training.keeper import Keeper
from lvmfast.training.learner import Diverged, Learner
from lvmfast.training.state import Position

#: Called with each row of history.json, once it is written.
EpochDone = Callable[[Mapping[str, Any]], None]


class Trainer:
    """One process of a run, from where it stands to its end."""

    def __init__(self, learner: Learner, judge: Judge, keeper: Keeper) -> None:
        """Nothing is computed yet."""
        self.learner, self.judge, self.keeper = learner, judge, keeper
        self.config, self._ranks = learner.config, learner.ranks
        self._heartbeat = Heartbeat(keeper.folder.path) if learner.ranks.first else None
        self.verdicts: Verdicts | None = None  #: of the gates, once their epoch is there

    def fit(self, position: Position, stop: StopFlag, progress: Progress, epoch_done: EpochDone) -> None:
        """Trains from `position`, which moves on, to the end.

        Args:
            position: where the run stands.
            stop: raised where the run is to be saved and left.
            progress: called as ("train", sequences done, sequences in all).
            epoch_done: called after each epoch.

        Raises:
            DataError: the loss is no number any more, data turned out to be broken, or a file cannot be
                written.
            Interrupted: `stop` was raised; the state is saved.
        """
        if position.total_steps == 0 and self.config.residual != "none":
            self._judge_untrained(position)
        self.keeper.publish(position)
        while not position.ended(self.config):
            self._train_epoch(position, stop, progress)
            self._beat(position, "validate")
            row = self._judged(position)
            # In this order, so that what history tells of is safe.
            self.keeper.checkpoint(position.epoch, row)
            position.take(row, self.config)
            self.verdicts = judge_gates(self.config, position) or self.verdicts
            position.next_epoch()
            self.keeper.save(position)
            self.keeper.publish(position)
            epoch_done(self.keeper.timed(position)[-1])
            if not position.ended(self.config) and self._ranks.any(stop.raised):
                self._beat(position, STOPPED)
                raise Interrupted(f"saved after epoch {row['epoch']}")
        self._beat(position, FINISHED)

    def _judge_untrained(self, position: Position) -> None:
        """The residual as it starts, which is its baseline: checkpoint 0.

        Raises:
            DataError: its loss is no number: no run could stand on it.
        """
        self.learner.compute.start(self.learner.reader)
        found = self.judge.figures()
        loss = found.figures["val_loss"]
        if loss is None or not math.isfinite(loss):
            raise DataError(f"{self.keeper.folder.path}: before the first epoch: the loss is {loss}")
        figures, sums = self._ranks.told(lambda: (found.figures, found.sums))
        self.keeper.checkpoint(0, {"epoch": 0, **figures, "baselines": self.judge.baselines})
        position.begin(figures, sums, self.config)

    def _train_epoch(self, position: Position, stop: StopFlag, progress: Progress) -> None:
        learner, keeper, epoch, n = self.learner, self.keeper, position.epoch, len(self.learner.reader.side)
        places = learner.reader.bank(epoch)
        bank = learner.compute.bank(learner.reader, places)
        started, before = time.monotonic(), keeper.seconds.get(epoch, 0.0)
        learner.compute.model.train()
        with closing(learner.reader.steps(epoch, position.step, places)) as steps:
            for step in steps:
                try:
                    stopping = learner.step(step, bank, position, stop)
                except Diverged as error:
                    raise DataError(
                        f"{keeper.folder.path}: epoch {epoch}, batch {position.step + 1} of "
                        f"{learner.steps_per_epoch}: {error}; {keeper.last_good(epoch)}"
                    ) from error
                position.step += 1
                position.total_steps += 1
                keeper.seconds[epoch] = before + time.monotonic() - started
                progress("train", (epoch - 1) * n + position.sums.rows, self.config.epochs * n)
                self._beat(position, "train")
                if position.step == learner.steps_per_epoch:
                    return
                if stopping or keeper.due:
                    keeper.save(position)
                if stopping:
                    self._beat(position, STOPPED)
                    raise Interrupted(
                        f"saved in epoch {epoch}, after step {position.step} of {learner.steps_per_epoch}"
                    )

    def _judged(self, position: Position) -> dict[str, Any]:
        """The epoch's row of history.json without its time, as the first process has it."""
        started, found = time.monotonic(), self.judge.figures()

        def told() -> dict[str, Any]:
            start: Any = position.start
            figures: dict[str, Any] = dict(found.figures)
            if start is not None:
                figures["over_start"] = self.judge.over_start(found.sums, start["sums"])
            return self.judge.row(position, figures, self.learner.rate, self.keeper.info.leak_status)

        row: dict[str, Any] = self._ranks.told(told)
        self.keeper.seconds[position.epoch] += time.monotonic() - started
        return row

    def _beat(self, position: Position, phase: str) -> None:
        if self._heartbeat is None:
            return
        epoch, step = position.epoch, position.step
        if phase in (FINISHED, STOPPED) and step == 0 and epoch > 1:  # the next one, which was not begun
            epoch, step = epoch - 1, self.learner.steps_per_epoch
        self._heartbeat.beat(epoch=epoch, step=step, phase=phase)
