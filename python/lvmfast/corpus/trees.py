"""Folders as the walk over them sees them: on disk, or in the listing of a store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from lvmfast.corpus.failures import reading
from lvmfast.corpus.quarantined import MANIFEST, QUARANTINE, is_manifest, read_manifest
from lvmfast.stores import FileInfo, StoredObject


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
            return Path(folder, name).read_text(encoding="utf-8", errors="replace")

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
        """As `Tree.is_folder`."""
        return path in self._folders and path not in self._objects

    def is_file(self, path: str) -> bool:
        """As `Tree.is_file`."""
        return path in self._objects

    def text(self, folder: str, name: str) -> str:
        """As `Tree.text`."""
        uri = f"{folder.rstrip('/')}/{name}"
        info = self._objects[uri]
        return StoredObject(uri, info).read(0, info.size).decode(errors="replace")

    def identity(self, folder: str) -> str:
        """As `Tree.identity`: a store has no links."""
        return folder

    def quarantined(self, folder: str) -> bool:
        """As `Tree.quarantined`: a copy of a quarantine in a store is one, too."""
        if folder.rpartition("/")[2] == QUARANTINE:
            return True
        return MANIFEST in self.names(folder) and is_manifest(self.text(folder, MANIFEST))
