"""Files that stand for others: what a clone without git-lfs or git-annex leaves in place of data."""

from __future__ import annotations

import os

from lvmfast.corpus.failures import reading
from lvmfast.errors import DataError
from lvmfast.stores import Source, as_source

_MOST_BYTES = 2048
_GIT_LFS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
_GIT_ANNEX = b"/annex/objects/"


def refuse_pointer(path: str | os.PathLike[str] | Source) -> None:
    """Refuses a file that only says where its content is, whatever its name says it holds.

    Raises:
        DataError: it is one; the message says how to get the content. Or it cannot be opened.
    """
    source = as_source(path)
    if not 0 < source.info.size <= _MOST_BYTES:
        return
    with reading(source.name), source.open() as raw:
        content = bytes(raw.read(_MOST_BYTES))
    if content.startswith(_GIT_LFS):
        raise DataError(f"{source.name}: a Git LFS pointer, not the data: `git lfs pull` fetches them")
    if content.startswith(_GIT_ANNEX):
        raise DataError(f"{source.name}: a git-annex pointer, not the data: `git annex get` fetches them")
