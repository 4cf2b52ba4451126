"""The bytes of a dump: plain, or bz2 with its streams decompressed side by side.

A multistream dump is a row of complete bz2 streams of about a hundred pages each. A stream begins at a byte
with a mark of ten bytes, so the streams are found without the index file that dumps are published with. The
mark may also stand inside a stream by chance (1 in 2^80 per byte): then the stream before it does not end
there, and the two are put together again.
"""

from __future__ import annotations

import bz2
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from lvmfast.errors import DataError, naming
from lvmfast.ingest.ordered import in_order
from lvmfast.threads import threads

_MARK = re.compile(rb"BZh[1-9]1AY&SY")
_MARK_LENGTH = 10
_READ = 1 << 22
#: Compressed bytes without a second mark from which a dump counts as one long stream.
_LONGEST_STREAM = 1 << 25

#: Told how many bytes of the file are through.
Through = Callable[[int], None]


@dataclass(frozen=True)
class _Part:
    """A piece of the file and the offset behind it."""

    data: bytes
    end: int


def decompressed(path: str, through: Through = lambda _: None) -> Iterator[bytes]:
    """The contents of a dump, block by block. bz2 is known by its first bytes.

    Raises:
        DataError: the file cannot be read, is broken, or ends early.
    """
    with naming(path, "cannot be read"), open(path, "rb") as file:
        head = file.read(_MARK_LENGTH)
        file.seek(0)
        blocks = _bz2(path, file, through) if head[:3] == b"BZh" else _plain(file, through)
        yield from blocks


def _plain(file: BinaryIO, through: Through) -> Iterator[bytes]:
    while block := file.read(_READ):
        yield block
        through(file.tell())


def _bz2(path: str, file: BinaryIO, through: Through) -> Iterator[bytes]:
    workers = os.cpu_count() or 1
    start = 0
    with threads(workers, "lvmfast-dump") as pool:
        for part, block in in_order(pool, _whole_streams, _split(file), 2 * workers):
            if block is None:
                break
            start = part.end
            yield block
            through(start)
        else:
            return
    # One long stream, a mark that was none, or broken data: from here on one after another.
    file.seek(start)
    yield from _one_by_one(path, file, through)


def _split(file: BinaryIO) -> Iterator[_Part]:
    """Whole streams, several small ones together; one part of no stream's end where a stream is long."""
    held, offset, searched = b"", 0, 1
    while True:
        more = file.read(_READ)
        held += more
        marks = [found.start() for found in _MARK.finditer(held, searched)]
        if marks and more:
            cut = marks[-1]
            for data in _portions(held, [0, *marks]):
                offset += len(data)
                yield _Part(data, offset)
            held, searched = held[cut:], 1
        elif not more:
            for data in _portions(held, [0, *marks, len(held)]):
                offset += len(data)
                yield _Part(data, offset)
            return
        elif len(held) > _LONGEST_STREAM:
            yield _Part(b"", offset)
            return
        searched = max(1, len(held) - _MARK_LENGTH + 1)


def _portions(held: bytes, cuts: list[int]) -> Iterator[bytes]:
    """`held` between the first and the last cut, in pieces that begin at cuts and are worth a task."""
    begin = cuts[0]
    for cut in cuts[1:]:
        if cut - begin >= _READ // 8 or (cut == cuts[-1] and cut > begin):
            yield held[begin:cut]
            begin = cut


def _whole_streams(part: _Part) -> tuple[_Part, bytes | None]:
    """The contents of complete streams; None where it is not that."""
    if not part.data:
        return part, None
    try:
        return part, bz2.decompress(part.data)
    except (OSError, ValueError):
        return part, None


def _one_by_one(path: str, file: BinaryIO, through: Through) -> Iterator[bytes]:
    decoder = bz2.BZ2Decompressor()
    fresh = True
    while data := file.read(_READ):
        while data:
            if decoder.eof:
                decoder, fresh = bz2.BZ2Decompressor(), True
            try:
                block = decoder.decompress(data)
            except OSError as error:
                raise DataError(f"{path}: broken bz2 data before byte {file.tell()}: {error}") from error
            data, fresh = decoder.unused_data, False
            if block:
                yield block
        through(file.tell())
    if not decoder.eof and not fresh:
        raise DataError(f"{path}: the bz2 data end early: the file was cut off at byte {file.tell()}")
