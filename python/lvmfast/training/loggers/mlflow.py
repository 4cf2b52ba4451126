"""Logs to MLflow: to the server that MLFLOW_TRACKING_URI names, else to a database in the folder of the run.

MLFLOW_EXPERIMENT_NAME names the experiment (`lvmfast`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import alembic  # noqa: F401
import sqlalchemy  # noqa: F401
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.utils.time import get_current_time_millis

from lvmfast.training.loggers import Told

_EXPERIMENT = "lvmfast"
logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # that a database is made is no news


class MlflowLog:
    """One run of MLflow, opened again when the run goes on."""

    def __init__(self, told: Told) -> None:
        """Begins the run with the hyperparameters, or opens the one that it is to go on with."""
        uri = os.environ.get("MLFLOW_TRACKING_URI") or told.known.get("uri") or _here(told.kept)
        self._client = MlflowClient(uri)
        self.where = uri
        tags = [RunTag(name, str(value)) for name, value in told.summary.items()]
        if "run" in told.known and uri == told.known.get("uri"):
            self._run = told.known["run"]
            self._client.update_run(self._run, status="RUNNING")
            self._client.log_batch(self._run, tags=tags)
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or _EXPERIMENT
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        self._run = self._client.create_run(experiment, run_name=told.folder.absolute().name).info.run_id
        told.known.update(run=self._run, uri=uri)
        params = [Param(name, str(value)) for name, value in told.config.items()]
        self._client.log_batch(self._run, params=params, tags=tags)

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """A metric for each figure, at step `epoch`."""
        now = get_current_time_millis()
        metrics = [Metric(name, value, now, epoch) for name, value in figures.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def end(self, status: str, *, finished: bool) -> None:
        """The status as a tag, and FINISHED or KILLED."""
        self._client.set_tag(self._run, "status", status)
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")


def _here(folder: Path) -> str:
    """A database in `folder`; MLflow keeps no runs in plain files any more."""
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder.absolute() / 'mlflow.db'}"


def open_log(told: Told) -> MlflowLog:
    """The log of a run that begins or goes on."""
    return MlflowLog(told)
