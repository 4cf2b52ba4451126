"""Files that are whole or not there, also after a power cut."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lvmfast.locking import locked


def flush(path: Path) -> None:
    """Returns when the contents of the file, or the entries of the folder, are on disk."""
    folders_open = hasattr(os, "O_DIRECTORY")
    if not folders_open and path.is_dir():
        return  # Windows opens none, and keeps their entries in order itself
    handle = os.open(path, os.O_RDONLY if folders_open else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Puts a UTF-8 file at `path`, over an earlier one: the old or the new text stands there, never a part.

    Raises:
        OSError: it cannot be written; what stood there still does.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, data: bytes) -> None:
    """As `write_text`, for bytes.

    Raises:
        OSError: it cannot be written; what stood there still does.
    """
    with appearing(path) as staged:
        staged.write_bytes(data)


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A name to write under; what was written stands at `path` when the block ends, and nothing if it fails.

    What a killed process left of an earlier attempt is removed.

    Raises:
        OSError: it cannot be written; what stood there still does.
    """
    _sweep(_attempts(path))
    staged = _attempt(path)
    staged.touch()
    lock = locked(staged)
    try:
        yield staged
        flush(staged)
        os.replace(staged, path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    finally:
        if lock is not None:
            lock.release()
    flush(path.parent)


def _attempt(place: Path) -> Path:
    """What is filled by this process before it takes its place."""
    return place.with_name(f".{place.name}.{os.getpid()}.part")


def _attempts(place: Path) -> Iterator[Path]:
    """What any process fills, or left, for that place."""
    for path in place.parent.glob(f".{glob.escape(place.name)}.*.part"):
        if path.name[len(place.name) + 2 : -len(".part")].isdigit():
            yield path


def _sweep(left: Iterable[Path]) -> None:
    """Removes the files and folders that killed processes left: what is being filled is locked."""
    for path in left:
        with suppress(OSError):  # removed meanwhile, or another user's
            if (lock := locked(path)) is not None:
                try:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                finally:
                    lock.release()


class Stage:
    """A hidden folder that is filled, and then takes the place it was made for in one step.

    What a killed process left of an earlier attempt is removed: a folder that is being filled is locked.
    """

    def __init__(self, place: Path) -> None:
        """Makes the folder beside `place`, which may be an empty folder or not be there.

        Raises:
            OSError: it cannot be made.
        """
        self._place = place
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(_attempts(place))
        self.folder = _attempt(place)
        self.folder.mkdir()
        self._lock = locked(self.folder)

    def close(self) -> None:
        """Removes the folder, unless it was published."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.release()

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
        try:
            os.rename(self.folder, self._place)
        except (FileExistsError, PermissionError):  # Windows renames onto no folder, be it empty
            self._place.rmdir()
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
    except Exception as error:  # told of the folder that the user knows
        staged = str(stage.folder)
        error.args = tuple(a.replace(staged, str(place)) if isinstance(a, str) else a for a in error.args)
        raise
    finally:
        stage.close()


SCRATCH = "lvmfast-scratch-"


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A private folder inside `parent`, removed when the block ends, as are those that killed processes left.

    Where there is no `parent` it is made, and removed again if nothing else came to stand in it.

    Raises:
        OSError: it cannot be made.
    """
    try:
        parent.mkdir()
        made = True
    except FileExistsError:
        made = False
    _sweep(parent.glob(f"{SCRATCH}*"))
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=parent))
    lock = locked(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if made:
            with suppress(OSError):
                parent.rmdir()
        if lock is not None:
            lock.release()
