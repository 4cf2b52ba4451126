"""New folders that are filled on this machine and then come to be as a whole, on disk or in a store."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Protocol

from lvmfast.durable import scratch_folder, staged_folder
from lvmfast.errors import DataError, naming
from lvmfast.stores.ahead import PIECE_BYTES, in_order
from lvmfast.stores.failures import with_retries
from lvmfast.stores.filesystems import filesystem
from lvmfast.stores.folders import folder as folder_at
from lvmfast.stores.objects import as_source
from lvmfast.stores.uris import is_uri, joined
from lvmfast.threads import threads

#: Objects that are put at once.
PUT_AT_ONCE = 8
#: Objects that are copied to this machine at once, while the one before them is used.
COPIED_AHEAD = 4


class Staging(Protocol):
    """A folder of this machine that is filled, and then comes to be at the place it was made for."""

    folder: Path

    def flush(self) -> None:
        """Returns when what was staged is safe to be scanned, and to be published."""
        ...

    def publish(self) -> None:
        """Returns when all that was staged stands at its place; where that fails, nothing stands there."""
        ...


@contextmanager
def staging(
    place: str, last: str, told: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Staging]:
    """A folder for what is to stand at `place`, a path or a URI; what was not published is removed.

    Args:
        place: an empty folder, or nothing yet.
        last: the file without which the rest is not to be used; in a store it is put after all others.
        told: of objects that were put, and of how many there are.

    Raises:
        OSError: the folder cannot be made.
    """
    if not is_uri(place):
        with staged_folder(Path(place)) as stage:
            yield stage
        return
    with scratch_folder(Path(tempfile.gettempdir())) as scratch:
        yield _StoreStaging(place, last, scratch, told)


class _StoreStaging:
    """A `Staging` whose place is in a store."""

    def __init__(self, uri: str, last: str, scratch: Path, told: Callable[[int, int], None]) -> None:
        self._uri, self._last, self._told = uri, last, told
        self.folder = scratch / "staged"
        self.folder.mkdir()

    def flush(self) -> None:
        """As `Staging.flush`: the store keeps it, and not this disk."""

    def publish(self) -> None:
        """As `Staging.publish`: an object shows when the store has all of it, and `last` when all others do.

        Raises:
            DataError: one cannot be put; those that were are taken away again.
        """
        fs, inner = filesystem(self._uri)
        files = sorted(path for path in self.folder.rglob("*") if path.is_file())
        names = [path.relative_to(self.folder).as_posix() for path in files]
        first = [name for name in names if name != self._last]
        put: list[str] = []

        def upload(name: str) -> None:
            source = os.fspath(self.folder / name)
            with_retries(joined(self._uri, name), lambda: fs.put_file(source, joined(inner, name)))
            put.append(name)
            self._told(len(put), len(names))

        try:
            with threads(PUT_AT_ONCE, "lvmfast-put") as pool:
                started = [pool.submit(upload, name) for name in first]
                try:
                    for each in started:
                        each.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
            if self._last in names:
                upload(self._last)
        except BaseException:
            self._take_away(put)
            raise

    def _take_away(self, names: list[str]) -> None:
        place = folder_at(self._uri)
        for name in names:
            with suppress(DataError):
                place.remove(name)


@contextmanager
def local_copies(paths: Sequence[str], *, keep: bool = False) -> Iterator[Iterator[str]]:
    """The path on this machine of each file, in order: of a local one its own, of an object that of a copy.

    While one is used the next are copied. A copy stands there until the next is asked for, or, with `keep`,
    until the block ends.

    Raises:
        DataError: as they are asked for: an object cannot be read, or there is no room for it.
    """
    if not any(map(is_uri, paths)):
        yield iter(paths)
        return
    with (
        scratch_folder(Path(tempfile.gettempdir())) as scratch,
        threads(COPIED_AHEAD, "lvmfast-copy") as pool,
    ):
        begun: deque[Future[str]] = deque()
        waiting = iter(enumerate(paths))

        def begin(count: int) -> None:
            for number, path in islice(waiting, count):
                begun.append(pool.submit(_copied, path, scratch / str(number)))

        def copies() -> Iterator[str]:
            begin(COPIED_AHEAD)
            while begun:
                copy = begun.popleft().result()
                begin(1)
                yield copy
                if not keep and Path(copy).is_relative_to(scratch):
                    os.unlink(copy)

        try:
            yield copies()
        finally:
            for future in begun:
                future.cancel()


@contextmanager
def local_copy(path: str) -> Iterator[str]:
    """The one of `local_copies`.

    Raises:
        DataError: it cannot be read, or there is no room for it.
    """
    with local_copies([path]) as copies:
        yield next(copies)


def _copied(path: str, place: Path) -> str:
    if not is_uri(path):
        return path
    source = as_source(path)
    place.mkdir()
    copy = place / path.rpartition("/")[2]  # its name says the format
    with (
        naming(path, "cannot be copied to this machine"),
        open(copy, "wb") as out,
        source.open(in_order(source.info.size)) as raw,
    ):
        while block := raw.read(PIECE_BYTES):
            out.write(block)
    return str(copy)


@contextmanager
def telling_of(copies: Sequence[str], paths: Sequence[str]) -> Iterator[None]:
    """Errors of the block name `paths`, which the user knows, and not the `copies` of them."""
    try:
        yield
    except DataError as error:
        told = str(error)
        for copy, path in zip(copies, paths, strict=True):
            told = told.replace(copy, path)
        raise DataError(told) from error


def check_room(nbytes: int) -> None:
    """Refuses to begin what this machine has no room to prepare.

    Raises:
        DataError: fewer than `nbytes` are free where temporary files go.
    """
    place = tempfile.gettempdir()
    free = shutil.disk_usage(place).free
    if nbytes > free:
        raise DataError(
            f"{place}: {nbytes:,} bytes are needed to prepare what is put into a store, and {free:,} are "
            "free; TMPDIR names another place"
        )
