"""URIs, as text: which path names an object in a store, and how names in a store are put together."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]+)://")
_LOCAL = ("file", "local")


def scheme_of(path: str) -> str | None:
    """``s3`` of ``s3://bucket/key``, in lower case; None for a plain path."""
    match = _SCHEME.match(path)
    return match[1].lower() if match else None


def is_uri(path: str | os.PathLike[str]) -> bool:
    """Whether `path` names something in a store. A ``file://`` URI does not: see `local_path`."""
    return scheme_of(os.fspath(path)) not in (None, *_LOCAL)


def local_path(path: str | os.PathLike[str]) -> str:
    """The plain path of a ``file://`` URI; any other path as it is."""
    text = os.fspath(path)
    return unquote(urlsplit(text).path) if scheme_of(text) in _LOCAL else text


def joined(folder: str, name: str) -> str:
    """The path or URI of `name` in a folder."""
    return f"{folder.rstrip('/')}/{name}"
