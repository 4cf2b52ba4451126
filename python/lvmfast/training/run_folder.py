"""The folder of a run: which file is what, and how each is written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvmfast.durable import write_text
from lvmfast.errors import DataError
from lvmfast.gates import Verdicts
from lvmfast.models.checkpoint import BEST, CHECKPOINTS, SUFFIX
from lvmfast.parse import read_json
from lvmfast.stores import holding
from lvmfast.stores.locks import INSIDE
from lvmfast.training.heartbeat import HEARTBEAT

CONFIG, RUN, HISTORY, FINGERPRINT = "config.toml", "run.json", "history.json", "train.lvfp"
TIMES = "times.json"
SPLIT, DOCUMENTS, LEAKSCAN = "split", "documents.parquet", "leakscan"
STATE = f"last{SUFFIX}"
LOGS = "logs"

#: What a run writes before it saves its first state.
_FIRST = (CONFIG, RUN, FINGERPRINT, HEARTBEAT, SPLIT, CHECKPOINTS, LOGS)


def _staged(path: Path) -> bool:
    """Whether a killed process left it half written."""
    return path.name.startswith(".") and path.suffix in (".part", ".lock")


def _ours(name: str) -> bool:
    return name in _FIRST or _staged(Path(name))


class RunFolder:
    """`RUN/` and what stands in it."""

    def __init__(self, path: Path) -> None:
        """Nothing is read or made."""
        self.path = path
        self.config, self.run, self.history = path / CONFIG, path / RUN, path / HISTORY
        self.best, self.fingerprint = path / BEST, path / FINGERPRINT
        self.times = path / TIMES
        self.split = path / SPLIT
        self.documents, self.leakscan = self.split / DOCUMENTS, self.split / LEAKSCAN
        self.checkpoints = path / CHECKPOINTS
        self.logs = path / LOGS
        self.state = self.checkpoints / STATE

    def checkpoint(self, epoch: int) -> Path:
        """The checkpoint of an epoch; 0 is the untrained model."""
        return self.checkpoints / f"epoch-{epoch:04d}{SUFFIX}"

    @property
    def saved(self) -> bool:
        """Whether there is anything to go on from: a state, a checkpoint, a history."""
        if self.history.is_file():
            return True
        return self.checkpoints.is_dir() and any(not _staged(path) for path in self.checkpoints.iterdir())

    @contextmanager
    def begun(self, *, resume: bool) -> Iterator[None]:
        """Holds the folder for a run, until the block ends: a new one, or the one that stands there.

        Of a run that ends with an error before it saved anything, nothing is left that was not there; what a
        killed or refused one left that saved nothing gives way to a new one.

        Raises:
            DataError: it holds something else, or a run that is not to be resumed; it cannot be written; or
                another process trains here.
        """
        with holding(self.path):
            there = self._names()
            self._check(there, resume=resume)
            with self.writing():
                if not resume:
                    self._remove(there)
                self.checkpoints.mkdir(parents=True, exist_ok=True)
                self.split.mkdir(exist_ok=True)
            try:
                yield
            except BaseException:
                if not self.saved:
                    with suppress(OSError):  # what went wrong before is what is told
                        self._remove(self._names() - there if resume else self._names())
                raise

    def _check(self, there: set[str], *, resume: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise DataError(f"{self.path}: expected a folder, or nothing, to write to; this is a file")
        if resume and there and not self.config.is_file():
            raise DataError(f"{self.path}: no {CONFIG}: not the folder of a run, so nothing to resume")
        if resume or not there:
            return
        if self.saved and self.config.is_file():
            raise DataError(f"{self.path}: not empty; continue this run with --resume")
        if self.saved or not all(_ours(name) for name in there):
            raise DataError(f"{self.path}: not empty; expected an empty or new folder")

    def _names(self) -> set[str]:
        return set(os.listdir(self.path)) - {INSIDE} if self.path.is_dir() else set()

    def _remove(self, names: set[str]) -> None:
        for path in (self.path / name for name in names if _ours(name)):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turns what the system says while something is written into a DataError.

        Raises:
            DataError: it cannot be written, say because the disk is full.
        """
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot write there: {error.strerror or error}; the earlier files are "
                "unchanged, and --resume continues from the last state that was saved"
            ) from error

    def write_json(self, place: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
        """Puts JSON at `place`, whole or not at all.

        Raises:
            DataError: it cannot be written.
        """
        with self.writing():
            write_text(place, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def read_run(self) -> dict[str, Any] | None:
        """What `run.json` says; None before it was written.

        Raises:
            DataError: it is broken.
        """
        return self._object(self.run)

    def read_times(self) -> dict[int, float]:
        """Seconds by epoch: what history.json says of time and checkpoints do not, so that they are the same.

        Raises:
            DataError: the file is broken.
        """
        times = self._object(self.times) or {}
        if not all(epoch.isdecimal() and isinstance(value, (int, float)) for epoch, value in times.items()):
            raise DataError(f"{self.times}: expected seconds by epoch")
        return {int(epoch): float(value) for epoch, value in times.items()}

    def read_logs(self) -> dict[str, Any]:
        """By logger, what it is to know again of the run, and the last epoch that it logged."""
        return self._object(self.logs / "logs.json") or {}

    def write_logs(self, known: Mapping[str, Any]) -> None:
        """Keeps that.

        Raises:
            DataError: it cannot be written.
        """
        with self.writing():
            self.logs.mkdir(exist_ok=True)
        self.write_json(self.logs / "logs.json", known)

    def _object(self, path: Path) -> dict[str, Any] | None:
        if not path.is_file():
            return None
        content = read_json(path)
        if not isinstance(content, dict):
            raise DataError(f"{path}: expected a JSON object, got {type(content).__name__}")
        return content


@dataclass(frozen=True)
class TrainedRun:
    """What a run left behind."""

    path: Path
    history: list[dict[str, Any]]  #: as in history.json
    best_epoch: int | None
    leak_status: str  #: clean or LEAKED
    leak: str | None  #: the leak that kept the run from starting, in a sentence; None where it ran
    stopped: str | None  #: why it ended before its last epoch
    run: Mapping[str, Any]  #: what run.json says
    verdicts: Verdicts | None = None  #: of the gates, if this call came past their epoch
    conclusion: str | None = None  #: whether training made it better than the baseline that it began as

    @property
    def trained(self) -> bool:
        """Whether anything was trained: no leak stood in the way."""
        return self.leak is None
