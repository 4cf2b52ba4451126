"""What is kept of a run, and how it goes on from there. The first process writes; all of them read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from lvmfast.models.checkpoint import CheckpointInfo, save_checkpoint
from lvmfast.training.conclusion import concluded
from lvmfast.training.learner import Learner
from lvmfast.training.run_folder import RunFolder
from lvmfast.training.state import Position, load_state, save_state
from lvmfast.training.toml import check_same_run


class Keeper:
    """The files of a run, as its learner comes to write them."""

    def __init__(self, folder: RunFolder, learner: Learner, complete: Callable[[], CheckpointInfo]) -> None:
        """Nothing is written yet; `complete` gives what every checkpoint states, when the first is due."""
        self.folder, self._learner, self._complete = folder, learner, complete
        self._config, self._first = learner.config, learner.ranks.first
        self._saved = time.monotonic()
        self.seconds: dict[int, float] = {}  #: by epoch

    @cached_property
    def info(self) -> CheckpointInfo:
        """What every checkpoint states."""
        return self._complete()

    @property
    def due(self) -> bool:
        """Whether the state is to be saved again inside an epoch."""
        return time.monotonic() - self._saved > self._config.save_every

    def resumed(self) -> Position:
        """Where the run stands: at its saved state, or at its beginning."""
        self.seconds = self.folder.read_times()
        if not self.folder.state.is_file():
            return Position()
        learner, place = self._learner, self.folder.state
        check = partial(check_same_run, self.folder.config, self._config, place)
        return load_state(place, learner.modules, learner.optimiser, check)

    def timed(self, position: Position) -> list[dict[str, Any]]:
        """The rows of history.json: those of the state, with the seconds that each epoch took."""
        return [{**row, "time": row.get("time", self.seconds.get(row["epoch"]))} for row in position.history]

    def checkpoint(self, epoch: int, row: Mapping[str, Any]) -> None:
        """The weights after an epoch, and what is said of it."""
        if self._first:
            with self.folder.writing():
                info = replace(self.info, epoch=epoch, metrics=dict(row))
                tensors = self._learner.modules["model"].state_dict()
                save_checkpoint(self.folder.checkpoint(epoch), tensors, info)

    def save(self, position: Position) -> None:
        """All that it takes to go on from here."""
        if self._first:
            learner = self._learner
            with self.folder.writing():
                save_state(self.folder.state, learner.modules, learner.optimiser, position, self._config)
            times = {str(epoch): seconds for epoch, seconds in self.seconds.items()}
            self.folder.write_json(self.folder.times, times)
        self._saved = time.monotonic()

    def publish(self, position: Position) -> None:
        """history.json and best.json as the saved state has them."""
        if not self._first:
            return
        if position.history:
            self.folder.write_json(self.folder.history, self.timed(position))
        if position.best_epoch is not None:
            best = {
                "epoch": position.best_epoch,
                "checkpoint": self.folder.checkpoint(position.best_epoch).name,
                "by": self._config.best_by,
                self._config.best_by: position.best_value,
                "leak_status": self.info.leak_status,
            }
            if (over := position.over_start) is not None:
                best |= {"over_start": over, "conclusion": concluded(position, self._config.residual)}
            self.folder.write_json(self.folder.best, best)

    def last_good(self, epoch: int) -> str:
        """Which checkpoint is left where `epoch` went wrong, in words."""
        path = self.folder.checkpoint(epoch - 1)
        return f"{path.name} is the last good checkpoint" if path.is_file() else "no epoch was finished"
