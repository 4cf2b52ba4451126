"""Logs to event files of TensorBoard, in the folder of the run: `tensorboard --logdir` finds those below."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from lvmfast.training.loggers import Told


class TensorBoardLog:
    """An event file for each call of the run, side by side, which TensorBoard shows as one."""

    def __init__(self, told: Told) -> None:
        """Begins an event file with the hyperparameters and what is known of the split."""
        self.where = str(told.kept)
        self._writer = SummaryWriter(str(told.kept))
        config = {name: _plain(value) for name, value in told.config.items()}
        experiment, started, self._ended = hparams(config | told.summary, {"val_mrr": None})
        for summary in (experiment, started):
            self._writer.file_writer.add_summary(summary)
        said = json.dumps(told.summary, indent=4)
        self._writer.add_text("run", "\n".join(f"    {line}" for line in said.splitlines()))
        self._writer.flush()

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """A scalar for each figure, at step `epoch`."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def end(self, status: str, *, finished: bool) -> None:
        """The status as a text, and, of a finished run, the end of its session."""
        self._writer.add_text("status", status)
        if finished:
            self._writer.file_writer.add_summary(self._ended)
        self._writer.close()


def open_log(told: Told) -> TensorBoardLog:
    """The log of a run that begins or goes on."""
    return TensorBoardLog(told)


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, (bool, int, float, str)) else ", ".join(map(str, value))
