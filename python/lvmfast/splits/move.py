"""A file moved so that a crash at any point leaves its content whole in at least one of the two places."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from lvmfast import _core
from lvmfast.corpus.failures import reading
from lvmfast.durable import flush
from lvmfast.errors import DataError

Content = tuple[int, str]  #: size in bytes and BLAKE3


def move(source: Path, target: Path, content: Content) -> None:
    """Brings the file with `content` from `source` to `target`, from wherever an earlier try was cut off.

    One rename on one file system; else a copy that is flushed and verified before the source is removed.
    After a failure that is not a crash, the file lies where it lay.

    Raises:
        DataError: another file is at `target`; the content is in neither place; or it changed.
        OSError: a folder cannot be written, or the disk is full.
    """
    arrived = os.path.lexists(target)
    if arrived and not holds(target, content):
        raise DataError(f"{target}: another file is there; expected none, or the content of {source}")
    if not holds(source, content):
        if not arrived:
            raise DataError(
                f"{source}: expected BLAKE3 {content[1]}, found neither there nor at {target}; "
                "it was moved or changed by something else"
            )
        return  # what may be at `source` is another file
    if not arrived:
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy(source, target, content)
        else:
            flush(target.parent)
            flush(source.parent)
            return
    _remove(source, target, undo=not arrived)


def holds(path: Path, content: Content) -> bool:
    """Whether a regular file of this content is at `path`.

    Raises:
        DataError: it changed while it was read, or cannot be read.
    """
    if path.is_symlink() or not path.is_file():
        return False
    with reading(str(path)):
        before = path.stat()
        if before.st_size != content[0]:
            return False
        blake3 = _core.blake3_file(path, 0)
        after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise DataError(f"{path}: changed while it was read")
    return blake3 == content[1]


def _copy(source: Path, target: Path, content: Content) -> None:
    staged = target.with_name(
        f".{target.name}.part"
    )  # one name, so that a later try replaces what a crash left
    try:
        shutil.copy2(source, staged)
        flush(staged)
        if not holds(staged, content):
            raise DataError(f"{source}: changed while it was copied")
        os.rename(staged, target)
        flush(target.parent)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise


def _remove(source: Path, target: Path, *, undo: bool) -> None:
    try:
        source.unlink()
    except OSError:
        if undo:
            target.unlink()
        raise
    flush(source.parent)
