"""A run logged elsewhere as well: each epoch once, however often it goes on. No logger ends a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from importlib import import_module
from typing import Any

from lvmfast.errors import missing_extra
from lvmfast.training.config import TrainConfig
from lvmfast.training.interrupts import Interrupted
from lvmfast.training.loggers import Logger, Told
from lvmfast.training.run_folder import RunFolder


def check_loggers(names: Sequence[str]) -> None:
    """Loads the clients of the loggers that are asked for, before anything is done.

    Raises:
        DataError: one is not installed.
    """
    for name in names:
        try:
            import_module(f"lvmfast.training.loggers.{name}")
        except ImportError as error:
            raise missing_extra(f"--log {name}", name, error) from error


class Logs:
    """The loggers of a run. What each has logged stands in `logs/logs.json`, so that a run goes on in it."""

    def __init__(self, config: TrainConfig, folder: RunFolder, run: dict[str, Any]) -> None:
        """Opens none yet. `run` is what run.json says; `logs` in it tells how each logger fared."""
        self._config, self._folder, self._run = config, folder, run
        self._known = folder.read_logs()
        self._open: dict[str, Logger] = {}
        if config.log:
            run["logs"] = {name: {"where": None, "failed": None} for name in config.log}

    def begin(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Opens each logger, and logs the epochs of `history` that it has not."""
        for name in self._config.log:
            self._attempt(name, partial(self._begin, name, history))

    def epochs(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Logs what is new in `history`. A logger that failed is not tried again before the end."""
        for name in self._config.log:
            if not self._state(name)["failed"]:
                self._attempt(name, partial(self._log, name, history))

    def end(self, history: Sequence[Mapping[str, Any]], status: str, *, finished: bool) -> None:
        """Logs what is left, those that failed included, and how the run ended."""
        for name in self._config.log:
            self._attempt(name, partial(self._end, name, history, status, finished))
            logged = self._logged(name)
            self._state(name)["missing"] = [row["epoch"] for row in history if row["epoch"] > logged]

    def _begin(self, name: str, history: Sequence[Mapping[str, Any]]) -> None:
        known = self._known.setdefault(name, {})
        told = Told(
            self._folder.path, self._folder.logs / name, asdict(self._config), self._run,
            known.setdefault("run", {}),
        )  # fmt: skip
        self._open[name] = import_module(f"lvmfast.training.loggers.{name}").open_log(told)
        self._state(name)["where"] = self._open[name].where
        self._log(name, history)

    def _log(self, name: str, history: Sequence[Mapping[str, Any]]) -> None:
        if name not in self._open:
            self._begin(name, history)
            return
        for row in history:
            if row["epoch"] > self._logged(name):
                self._open[name].epoch(row["epoch"], figures_of(row))
                self._known[name]["epoch"] = row["epoch"]
        self._folder.write_logs(self._known)

    def _end(self, name: str, history: Sequence[Mapping[str, Any]], status: str, finished: bool) -> None:
        self._log(name, history)
        self._open[name].end(status, finished=finished)

    def _logged(self, name: str) -> int:
        return int(self._known.get(name, {}).get("epoch", 0))

    def _state(self, name: str) -> dict[str, Any]:
        state: dict[str, Any] = self._run["logs"][name]
        return state

    def _attempt(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # a client, a network, a disk: whatever it is, the run is worth more
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            self._state(name)["failed"] = reason
        else:
            self._state(name)["failed"] = None


def figures_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite figures of a row of history.json, those of the baselines as `copy-last/val_r5`."""
    flat = {name: value for name, value in row.items() if name != "epoch"}
    for baseline, figures in (flat.pop("baselines", None) or {}).items():
        flat |= {f"{baseline}/{name}": value for name, value in figures.items()}
    return {
        name: float(value)
        for name, value in flat.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


@contextmanager
def logging(logs: Logs, history: Callable[[], Sequence[Mapping[str, Any]]]) -> Iterator[None]:
    """Logs a run from where it stands, and what becomes of it in the block; `history` gives its epochs."""
    logs.begin(history())
    try:
        yield
    except Interrupted:
        logs.end(history(), "interrupted and saved", finished=False)
        raise
    except BaseException as error:
        logs.end(history(), f"failed: {error}", finished=False)
        raise
    logs.end(history(), "finished", finished=True)
