"""How other tools are told of a file: by its path below the working folder, where it lies there."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from lvmfast.stores import is_uri


def relative(file: str) -> str | None:
    """The path of a file below the working folder, with slashes; None where it lies elsewhere."""
    if is_uri(file):
        return None
    path, here = Path(file).absolute(), Path.cwd()
    return path.relative_to(here).as_posix() if path.is_relative_to(here) else None


def uri(file: str) -> str:
    """A file as a URI, relative if it lies below the working folder."""
    below = relative(file)
    if below is not None:
        return quote(below)
    return quote(file, safe="/:?#[]@!$&'()*+,;=%~") if is_uri(file) else Path(file).absolute().as_uri()
