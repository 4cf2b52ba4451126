"""The record of a run: which bytes were read, and on what machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lvmfast import _core
from lvmfast.corpus import Dataset, SplitFile
from lvmfast.corpus.dataset import InputFile
from lvmfast.corpus.load import OPENED_AT_ONCE
from lvmfast.corpus.payload import Payload
from lvmfast.corpus.sides import Side
from lvmfast.errors import DataError
from lvmfast.leaks.devices import device_name
from lvmfast.leaks.options import ScanOptions
from lvmfast.stores import StoredObject
from lvmfast.threads import threads


@dataclass(frozen=True)
class OpenSplit:
    """One side of a scan, opened, and the payload that gave it texts."""

    dataset: Dataset
    payload: Payload | None
    beside: tuple[SplitFile, ...] = ()  #: files that gave it ids or texts by position

    @property
    def texts(self) -> tuple[SplitFile, ...]:
        """The files of the payload, and those beside the dataset."""
        return (*(() if self.payload is None else self.payload.files), *self.beside)


class Inputs:
    """The files of a scan: hashed while it runs (objects have an ETag), and at its end the same as before."""

    def __init__(
        self, splits: Mapping[Side, OpenSplit], threads: int, others: frozenset[str] = frozenset()
    ) -> None:
        """Starts to hash every local file but `others`, beside what the pool is asked to do next."""
        self.splits = splits
        files = [file for split in splits.values() for file in (*split.dataset.inputs, *split.texts)]
        files = [file for file in files if file.name not in others]
        local = [file.path for file in files if file.path is not None and os.path.isfile(file.path)]
        self._stamps = {path: _stamp(path) for path in dict.fromkeys(local)}
        self._hashing = _core.FileHashes(list(self._stamps), threads)
        #: Whether something is read that has no file or object behind it.
        self.in_memory = any(file.path is None and file.origin is None for file in files)
        self._objects = {file.name: file.origin for file in files if isinstance(file.origin, StoredObject)}

    @cached_property
    def _hashes(self) -> dict[str, str]:
        return dict(zip(self._stamps, self._hashing.wait(), strict=True))

    def check_unchanged(self) -> None:
        """Holds size and time of every file, once hashed, and the ETag of every object to what they were.

        Raises:
            DataError: a file changed, so that nobody can say what was scanned.
        """
        _ = self._hashes
        for path, stamp in self._stamps.items():
            if not os.path.isfile(path) or _stamp(path) != stamp:
                raise DataError(f"{path}: changed while it was read")
        if self._objects:
            with threads(OPENED_AT_ONCE, "lvmfast-check") as pool:
                list(pool.map(StoredObject.check_unchanged, self._objects.values()))

    @property
    def leaked(self) -> list[str]:
        """The quarantined files among them, each once."""
        return list(dict.fromkeys(name for split in self.splits.values() for name in split.dataset.leaked))

    def named(self, side: Side) -> list[dict[str, Any]]:
        """What tells the files of a side from others on any machine: path, size, and the ETag of objects."""
        split = self.splits[side]
        return [
            {"path": file.name, "bytes": file.nbytes, "etag": file.origin and file.origin.info.etag}
            for file in (*split.dataset.inputs, *split.texts)
        ]

    @property
    def stamps(self) -> dict[str, list[int]]:
        """Size and time of every local file."""
        return {path: list(stamp) for path, stamp in self._stamps.items()}

    def described(self) -> dict[str, Any]:
        """The part `inputs` of the summary."""
        return {side: self._side(split) for side, split in self.splits.items()}

    def _side(self, split: OpenSplit) -> dict[str, Any]:
        coverage = split.dataset.coverage
        payload = coverage and {
            "files": [self._file(file) for file in (split.payload.files if split.payload else ())],
            "rows": coverage.rows,
            "covered": coverage.covered,
        }
        return {
            "files": [self._file(file) for file in split.dataset.inputs],
            "notes": list(split.dataset.notes),
            "payload": payload,
        }

    def _file(self, file: InputFile) -> dict[str, Any]:
        return {
            "path": file.name,
            "bytes": file.nbytes,
            "blake3": None if file.path is None else self._hashes.get(file.path),
            "etag": None if file.origin is None else file.origin.info.etag,
            "fields": dict(file.fields),
            "provenance": file.provenance,
            "first_line": file.first_line,
        }


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def environment(options: ScanOptions) -> dict[str, Any]:
    """The part `environment` of the summary.

    Raises:
        DataError: there is no such device as `options` names.
    """
    system = platform.uname()  # `platform.platform()` starts a process to ask for the processor
    return {
        "version": _core.__version__,
        "python": platform.python_version(),
        "platform": "-".join((system.system, system.release, system.machine)),
        "unicode": _core.unicode_version(),
        "kernel": _core.kernel_name(),
        "threads": _core.thread_count(options.threads),
        "device": device_name(options.device),
        "engine": "local",
        "memory_limit": options.memory_limit,
    }
