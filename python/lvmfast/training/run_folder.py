"""The folder of a run: which file is what, and how each is written."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lvmfast.corpus.failures import reading
from lvmfast.durable import write_text
from lvmfast.errors import DataError
from lvmfast.models.checkpoint import BEST, CHECKPOINTS, SUFFIX

CONFIG, RUN, HISTORY, FINGERPRINT = "config.toml", "run.json", "history.json", "train.lvfp"
SPLIT, DOCUMENTS, LEAKSCAN = "split", "documents.parquet", "leakscan"
STATE = f"last{SUFFIX}"


class RunFolder:
    """`RUN/` and what stands in it."""

    def __init__(self, path: Path) -> None:
        """Nothing is read or made."""
        self.path = path
        self.config, self.run, self.history = path / CONFIG, path / RUN, path / HISTORY
        self.best, self.fingerprint = path / BEST, path / FINGERPRINT
        self.split = path / SPLIT
        self.documents, self.leakscan = self.split / DOCUMENTS, self.split / LEAKSCAN
        self.checkpoints = path / CHECKPOINTS
        self.state = self.checkpoints / STATE

    def checkpoint(self, epoch: int) -> Path:
        """The checkpoint of an epoch; 0 is the untrained model."""
        return self.checkpoints / f"epoch-{epoch:04d}{SUFFIX}"

    def prepare(self, *, resume: bool) -> None:
        """Makes the folder, or finds it as a run left it.

        Raises:
            DataError: it holds something already and is not to be resumed, or cannot be written.
        """
        if not resume and self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            hint = (
                "--resume goes on with this run"
                if self.config.is_file()
                else "expected an empty or new folder"
            )
            raise DataError(f"{self.path}: not empty; {hint}")
        if resume and self.path.is_dir() and any(self.path.iterdir()) and not self.config.is_file():
            raise DataError(f"{self.path}: no {CONFIG}: not the folder of a run, so nothing to resume")
        with self.writing():
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self.split.mkdir(exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second trainer out until the block ends.

        Raises:
            DataError: another process trains here.
        """
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise DataError(f"{self.path}: another process is training here") from error
            yield
        finally:
            os.close(handle)

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
                f"{self.path}: cannot write there: {error.strerror or error}; what stood there still "
                "does, and --resume goes on from the last state that was saved"
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
        if not self.run.is_file():
            return None
        with reading(str(self.run)):
            text = self.run.read_text("utf-8")
        try:
            content = json.loads(text)
        except ValueError as error:
            raise DataError(f"{self.run}: expected JSON: {error}") from error
        if not isinstance(content, dict):
            raise DataError(f"{self.run}: expected a JSON object, got {type(content).__name__}")
        return content
