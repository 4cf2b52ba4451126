"""Folders of small files, on disk or in a store: each file is whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from lvmfast import durable
from lvmfast.errors import DataError, naming
from lvmfast.stores.failures import with_retries
from lvmfast.stores.filesystems import filesystem
from lvmfast.stores.locks import alone_in
from lvmfast.stores.uris import is_uri, joined, local_path

#: Put into a store to see whether it may be written, and taken away again.
_TRIAL = ".lvmfast-can-write"

Value = TypeVar("Value")


class Folder(Protocol):
    """Files by name in one place. A name may hold one ``/``. Errors are DataErrors that name the file."""

    path: str  #: the folder as it was given

    @property
    def alone(self) -> bool:
        """Whether nobody but this process writes there, because it holds the folder."""
        ...

    def check(self) -> None:
        """Returns when the folder was found to be writable, or to be one that can be made; leaves nothing."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Puts a file, over an earlier one: whole, or what stood there stays."""
        ...

    def read(self, name: str) -> bytes:
        """The content of a file."""
        ...

    def exists(self, name: str) -> bool:
        """Whether there is a file of this name."""
        ...

    def names(self, prefix: str = "") -> list[str]:
        """The names of the files, of this folder and of those in it, that begin with `prefix`, sorted."""
        ...

    def remove(self, name: str) -> None:
        """Takes a file away, if it is there."""
        ...


def folder(path: str | os.PathLike[str]) -> Folder:
    """The folder at a path or URI, which need not exist yet."""
    given = os.fspath(path)
    return StoreFolder(given) if is_uri(given) else LocalFolder(local_path(given))


class LocalFolder:
    """A `Folder` on disk."""

    def __init__(self, path: str) -> None:
        """Touches nothing."""
        self.path = path

    @property
    def alone(self) -> bool:
        """As `Folder.alone`."""
        return alone_in(self.path)

    def check(self) -> None:
        """As `Folder.check`."""
        place = Path(os.path.abspath(self.path))
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        with naming(self.path, "cannot write there"), tempfile.TemporaryFile(dir=there):
            pass

    def write(self, name: str, data: bytes) -> None:
        """As `Folder.write`; on disk when it returns."""
        place = Path(self.path, name)
        with naming(place, "cannot be written"):
            place.parent.mkdir(parents=True, exist_ok=True)
            durable.write_bytes(place, data)

    def read(self, name: str) -> bytes:
        """As `Folder.read`."""
        place = Path(self.path, name)
        with naming(place, "cannot be read"):
            return place.read_bytes()

    def exists(self, name: str) -> bool:
        """As `Folder.exists`."""
        return Path(self.path, name).is_file()

    def names(self, prefix: str = "") -> list[str]:
        """As `Folder.names`; what is still being written has no name yet."""
        top = Path(self.path)
        with naming(top, "cannot be listed"):
            if not top.is_dir():
                return []
            files = [place for place in (*top.iterdir(), *top.glob("*/*")) if place.is_file()]
        found = [place.relative_to(top).as_posix() for place in files if not place.name.endswith(".part")]
        return sorted(name for name in found if name.startswith(prefix))

    def remove(self, name: str) -> None:
        """As `Folder.remove`."""
        place = Path(self.path, name)
        with naming(place, "cannot be removed"):
            place.unlink(missing_ok=True)
        if "/" in name:
            with suppress(OSError):  # holds other files
                place.parent.rmdir()


class MemoryFolder:
    """A `Folder` that ends with the process."""

    path = "memory"

    def __init__(self) -> None:
        """Empty."""
        self._files: dict[str, bytes] = {}

    @property
    def alone(self) -> bool:
        """As `Folder.alone`."""
        return True

    def check(self) -> None:
        """As `Folder.check`."""

    def write(self, name: str, data: bytes) -> None:
        """As `Folder.write`."""
        self._files[name] = data

    def read(self, name: str) -> bytes:
        """As `Folder.read`."""
        return self._files[name]

    def exists(self, name: str) -> bool:
        """As `Folder.exists`."""
        return name in self._files

    def names(self, prefix: str = "") -> list[str]:
        """As `Folder.names`."""
        return sorted(name for name in self._files if name.startswith(prefix))

    def remove(self, name: str) -> None:
        """As `Folder.remove`."""
        self._files.pop(name, None)


class StoreFolder:
    """A `Folder` in a store: the objects under a common beginning of their keys."""

    def __init__(self, path: str) -> None:
        """Opens the store; nothing is asked of it yet.

        Raises:
            DataError: its package is missing.
        """
        self.path = path
        self._fs, self._inner = filesystem(path)

    @property
    def alone(self) -> bool:
        """As `Folder.alone`: objects cannot be locked."""
        return False

    def check(self) -> None:
        """As `Folder.check`: puts an object and takes it away again, where that is allowed."""
        try:
            self.write(_TRIAL, b"")
        except DataError as error:
            raise DataError(f"{self.path}: cannot write there: {str(error).partition(': ')[2]}") from error
        with suppress(DataError):  # who may put and not delete can still keep a report
            self.remove(_TRIAL)

    def write(self, name: str, data: bytes) -> None:
        """As `Folder.write`: a store shows an object when it has all of it."""
        self._asked(name, lambda: self._fs.pipe_file(joined(self._inner, name), data))

    def read(self, name: str) -> bytes:
        """As `Folder.read`."""
        return bytes(self._asked(name, lambda: self._fs.cat_file(joined(self._inner, name))))

    def exists(self, name: str) -> bool:
        """As `Folder.exists`; an error is no answer, and raised."""

        def ask() -> bool:
            try:
                return bool(self._fs.info(joined(self._inner, name))["type"] == "file")
            except FileNotFoundError:
                return False

        return self._asked(name, ask)

    def names(self, prefix: str = "") -> list[str]:
        """As `Folder.names`."""

        def ask() -> list[str]:
            try:
                return list(self._fs.find(self._inner, maxdepth=2))
            except FileNotFoundError:
                return []

        start = self._fs._strip_protocol(self._inner).rstrip("/") + "/"
        found = [str(path)[len(start) :] for path in self._asked("", ask) if str(path).startswith(start)]
        return sorted(name for name in found if name.startswith(prefix))

    def remove(self, name: str) -> None:
        """As `Folder.remove`."""

        def ask() -> None:
            with suppress(FileNotFoundError):
                self._fs.rm_file(joined(self._inner, name))

        self._asked(name, ask)

    def _asked(self, name: str, call: Callable[[], Value]) -> Value:
        return with_retries(joined(self.path, name) if name else self.path, call)
