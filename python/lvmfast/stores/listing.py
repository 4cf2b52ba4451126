"""What a store holds under a URI, or by a pattern: objects, with the size and version it lists them with."""

from __future__ import annotations

from typing import Any

from lvmfast.stores.failures import with_retries
from lvmfast.stores.filesystems import filesystem, forget_listings
from lvmfast.stores.objects import FileInfo, info_from


def object_or_folder(uri: str) -> FileInfo | None:
    """What the store says of the object at `uri`; None for a folder.

    Raises:
        DataError: there is neither, or the store cannot be asked.
    """
    fs, inner = filesystem(uri)
    forget_listings(fs)
    if "s3" in fs.protocol and "/" not in inner.rstrip("/"):
        with_retries(
            uri, lambda: fs.ls(inner)
        )  # of a bucket that is not there s3fs says that an object is not
    entry = with_retries(uri, lambda: fs.info(inner))
    return None if entry["type"] == "directory" else info_from(uri, entry)


def objects_under(uri: str) -> dict[str, FileInfo]:
    """The objects of a folder, at any depth, by URI, sorted; none if there is no such folder.

    Raises:
        DataError: the store cannot be asked, or there is no such bucket.
    """
    fs, inner = filesystem(uri)
    forget_listings(fs)
    entries = with_retries(uri, lambda: fs.find(inner, detail=True))
    return _named(uri, inner, entries)


def matching(pattern: str) -> tuple[dict[str, FileInfo], list[str]]:
    """The objects and the folders that a pattern (``*``, ``?``, ``[]``, ``**``) names, sorted.

    Raises:
        DataError: the store cannot be asked, or there is no such bucket.
    """
    fs, inner = filesystem(pattern)
    forget_listings(fs)
    entries = with_retries(pattern, lambda: fs.glob(inner, detail=True))
    root = _before_magic(pattern)
    start = _before_magic(inner)
    if not entries and "s3" in fs.protocol:
        # In a bucket that is not there s3fs finds no match; listing the bucket says so.
        with_retries(pattern, lambda: fs.ls(start.partition("/")[0]))
    folders = {path: entry for path, entry in entries.items() if entry["type"] == "directory"}
    return _named(root, start, entries), sorted(_uri(root, start, path) for path in folders)


def same_place(uri: str) -> str:
    """A text that is equal for two URIs of one object, such as ``s3://`` and ``s3a://``."""
    fs, inner = filesystem(uri)
    kind = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    return f"{kind}://{inner}"


def _named(root: str, start: str, entries: dict[str, dict[str, Any]]) -> dict[str, FileInfo]:
    objects = {
        _uri(root, start, path): entry
        for path, entry in entries.items()
        if entry["type"] != "directory" and not path.endswith("/")  # a marker that stands for a folder
    }
    return {uri: info_from(uri, objects[uri]) for uri in sorted(objects)}


def _uri(root: str, start: str, path: str) -> str:
    """`path` as the user would write it, who wrote `root` for `start`."""
    return f"{root.rstrip('/')}/{path[len(start.rstrip('/')) :].lstrip('/')}"


def _before_magic(pattern: str) -> str:
    """The folder part of a pattern that stands before its first special character."""
    first = min(pattern.find(char) for char in "*?[" if char in pattern)
    return pattern[: pattern.rfind("/", 0, first) + 1]
