"""Logs to Weights & Biases, or, without a key for it or without a network, to files for `wandb sync`.

WANDB_PROJECT names the project (`lvmfast`), WANDB_MODE says whether to send anything.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

import wandb

from lvmfast.training.loggers import Told

_PROJECT = "lvmfast"
_SECONDS = 30.0  # for which a run waits for the server to answer when it begins


class WandbLog:
    """One run of W&B, opened again by its id when the run goes on."""

    def __init__(self, told: Told) -> None:
        """Begins the run with the hyperparameters, or opens the one that it is to go on with."""
        identity = told.known.setdefault("run", secrets.token_hex(4))
        asked: dict[str, Any] = {
            "project": os.environ.get("WANDB_PROJECT") or _PROJECT,
            "id": identity,
            "resume": "allow",
            "name": told.folder.absolute().name,
            "dir": str(told.kept),
            "config": {**told.config, **told.summary},
            "settings": wandb.Settings(console="off", silent=True, init_timeout=_SECONDS),
        }
        told.kept.mkdir(parents=True, exist_ok=True)
        known = wandb.login(prompt=False, verify=False)  # whether there is a key; nobody is asked
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if known else "offline")
        try:
            self._run = wandb.init(mode=mode, **asked)
        except wandb.errors.CommError:
            self._run = wandb.init(mode="offline", **asked)
        here = str(told.kept / "wandb")
        self.where = f"{here} (offline: `wandb sync` sends it)" if self._run.offline else self._run.url

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """The figures at step `epoch`."""
        self._run.log(dict(figures), step=epoch)

    def end(self, status: str, *, finished: bool) -> None:
        """The status in the summary, and the exit code that marks a run finished or not."""
        self._run.summary["status"] = status
        self._run.finish(exit_code=0 if finished else 1)


def open_log(told: Told) -> WandbLog:
    """The log of a run that begins or goes on."""
    return WandbLog(told)
