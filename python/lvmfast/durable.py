"""Files that are whole or not there, also after a power cut."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
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
    staged = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        staged.write_text(text, "utf-8")
        flush(staged)
        os.replace(staged, path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    flush(path.parent)


class Stage:
    """A hidden folder that is filled, and then takes the place it was made for in one step."""

    def __init__(self, place: Path) -> None:
        """Makes the folder beside `place`, which may be an empty folder or not be there.

        Raises:
            OSError: it cannot be made.
        """
        self._place = place
        place.parent.mkdir(parents=True, exist_ok=True)
        self.folder = place.with_name(f".{place.name}.{os.getpid()}.part")
        self.folder.mkdir()

    def flush(self) -> None:
        """Returns when all that was staged is on disk.

        Raises:
            OSError: it cannot be written.
        """
        for folder, _, names in os.walk(self.folder):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                flush(Path(path))

    def publish(self) -> None:
        """Returns when all that was staged stands at its place, and is on disk.

        Raises:
            OSError: the place is no empty folder, or cannot be written; then nothing stands there.
        """
        self.flush()
        os.rename(self.folder, self._place)
        flush(self._place.parent)


@contextmanager
def staged_folder(place: Path) -> Iterator[Stage]:
    """A `Stage` for `place`; what was not published at the end is removed.

    Raises:
        OSError: it cannot be made.
    """
    stage = Stage(place)
    try:
        yield stage
    finally:
        shutil.rmtree(stage.folder, ignore_errors=True)
