"""Files that are whole or not there, also after a power cut."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def flush(path: Path) -> None:
    """Returns when the contents of the file, or the entries of the folder, are on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Puts a UTF-8 file at `path`, over an earlier one: the old or the new text stands there, never a part.

    Raises:
        OSError: it cannot be written; what stood there still does.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    staged = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that their owner alone may read; a report is for everyone whom the folder admits.
        umask = os.umask(0)
        os.umask(umask)
        staged.chmod(0o666 & ~umask)
        os.replace(staged, path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    flush(path.parent)
