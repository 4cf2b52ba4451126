"""Folders as the walk over them sees them: on disk, or in the listing of a store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from lvmfast.corpus.failures import reading
from lvmfast.corpus.quarantined import MANIFEST, MOST_MANIFEST, QUARANTINE, is_manifest, read_manifest
from lvmfast.errors import DataError
from lvmfast.parse import read_bytes
from lvmfast.stores import FileInfo, StoredObject

#: Bytes of a file that says something of its folder.
MOST_BESIDE = 64 << 20


class Tree(Protocol):
    """Folders and files by their names."""

    def names(self, folder: str) -> list[str]:
        """What `folder` holds, sorted."""
        ...

    def is_folder(self, path: str) -> bool:
        """Whether `path` is a folder."""
        ...

    def is_file(self, path: str) -> bool:
        """Whether `path` is a file."""
        ...

    def text(self, folder: str, name: str) -> str:
        """The content of a small file."""
        ...

    def start(self, path: str, size: int) -> str:
        """The first `size` bytes of a file."""
        ...

    def identity(self, folder: str) -> str:
        """What is equal for one folder under two names."""
        ...

    def quarantined(self, folder: str) -> bool:
        """Whether `folder` is a quarantine."""
        ...


class DiskTree:
    """A `Tree` on disk."""

    def names(self, folder: str) -> list[str]:
        """As `Tree.names`."""
        with reading(folder):
            return sorted(os.listdir(folder))

    def is_folder(self, path: str) -> bool:
        """As `Tree.is_folder`."""
        return os.path.isdir(path)

    def is_file(self, path: str) -> bool:
        """As `Tree.is_file`."""
        return os.path.isfile(path)

    def text(self, folder: str, name: str) -> str:
        """As `Tree.text`."""
        with reading(folder):
            return read_bytes(Path(folder, name), MOST_BESIDE).decode("utf-8", "replace")

    def start(self, path: str, size: int) -> str:
        """As `Tree.start`."""
        with reading(path), open(path, "rb") as file:
            return file.read(size).decode("utf-8", "replace")

    def identity(self, folder: str) -> str:
        """As `Tree.identity`: symbolic links are followed."""
        return os.path.realpath(folder)

    def quarantined(self, folder: str) -> bool:
        """As `Tree.quarantined`."""
        return bool(read_manifest(Path(folder)))


class StoreTree:
    """A `Tree` over the objects that a store listed."""

    def __init__(self, objects: Mapping[str, FileInfo]) -> None:
        """Takes objects by URI."""
        self._objects = objects
        self._folders: dict[str, set[str]] = {}
        for uri in objects:
            path = uri
            while "://" in (above := path.rpartition("/")[0]) and not above.endswith(":/"):
                self._folders.setdefault(above, set()).add(path[len(above) + 1 :])
                path = above

    def names(self, folder: str) -> list[str]:
        """As `Tree.names`."""
        return sorted(self._folders.get(folder.rstrip("/"), ()))

    def is_folder(self, path: str) -> bool:
        """As `Tree.is_folder`; the name of an object can be that of a folder, too."""
        return path in self._folders

    def is_file(self, path: str) -> bool:
        """As `Tree.is_file`."""
        return path in self._objects

    def text(self, folder: str, name: str) -> str:
        """As `Tree.text`."""
        uri = f"{folder.rstrip('/')}/{name}"
        info = self._objects[uri]
        if info.size > MOST_BESIDE:
            raise DataError(f"{uri}: expected a file of at most {MOST_BESIDE:,} bytes, got {info.size:,}")
        return StoredObject(uri, info).read(0, info.size).decode("utf-8", "replace")

    def start(self, path: str, size: int) -> str:
        """As `Tree.start`."""
        return StoredObject(path, self._objects[path]).read(0, size).decode("utf-8", "replace")

    def identity(self, folder: str) -> str:
        """As `Tree.identity`: a store has no links."""
        return folder

    def quarantined(self, folder: str) -> bool:
        """As `Tree.quarantined`: a copy of a quarantine in a store is one, too."""
        if folder.rpartition("/")[2] == QUARANTINE:
            return True
        if MANIFEST not in self.names(folder):
            return False
        size = self._objects[f"{folder.rstrip('/')}/{MANIFEST}"].size
        return size <= MOST_MANIFEST and is_manifest(self.text(folder, MANIFEST))
