"""How other tools are told of a file: by its path below the working folder, where it lies there."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from lvmfast.stores import is_uri


def relative(file: str) -> str | None:
    """The path of a file below the working folder, with slashes; None where it lies elsewhere."""
    if is_uri(file):
        return None
    path, here = _absolute(file), Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else None


def uri(file: str) -> str:
    """A file as a URI, relative if it lies below the working folder."""
    below = relative(file)
    if below is not None:
        return quote(below)
    return quote(file, safe="/:?#[]@!$&'()*+,;=%~") if is_uri(file) else _absolute(file).as_uri()


def _absolute(file: str) -> Path:
    """Without any ``..``, behind which a file can lie outside the folder that its path begins with."""
    return Path(os.path.abspath(file))
