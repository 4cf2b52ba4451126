"""Members of a zip file that bzip2 or lzma compressed, read so that no block makes more than was asked for.

``zipfile`` decompresses as many bytes of them as a block is to have, however much comes out: kilobytes can be
gigabytes.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zipfile
import zlib
from typing import Any

from lvmfast.corpus.codecs import Decoder
from lvmfast.errors import DataError

_READ_BYTES = 64 << 10
#: Of lzma: what a decoder holds, and so the most that a member may ask for.
_LONGEST_DICTIONARY = 64 << 20
_SHORTEST_DICTIONARY = 4 << 10


#: How the members that `bounded` reads are compressed.
BOUNDED = (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def bounded(raw: Any, start: int, info: zipfile.ZipInfo, where: str) -> BoundedMember:
    """The bytes of the member whose compressed ones begin at `start` of the file `raw`.

    Raises:
        DataError: it needs a larger dictionary than is granted.
    """
    raw.seek(start)
    head = 0
    if info.compress_type == zipfile.ZIP_LZMA:
        _, size = struct.unpack("<HH", raw.read(4))
        decompressor, head = _lzma(raw.read(size), info.file_size, where), 4 + size
    else:
        decompressor = bz2.BZ2Decompressor()
    if head > info.compress_size:
        raise zipfile.BadZipFile(f"expected at least {head} compressed bytes, got {info.compress_size}")
    return BoundedMember(raw, start + head, info.compress_size - head, decompressor, info)


def _lzma(properties: bytes, size: int, where: str) -> Decoder:
    code, dictionary = struct.unpack("<BI", properties)
    if code >= 9 * 5 * 5:
        raise zipfile.BadZipFile(f"lzma properties {code}")
    dictionary = max(_SHORTEST_DICTIONARY, min(dictionary, size))
    if dictionary > _LONGEST_DICTIONARY:
        raise DataError(
            f"{where}: expected an lzma dictionary of at most {_LONGEST_DICTIONARY} bytes, got {dictionary}"
        )
    filters = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": dictionary,
        "lc": code % 9,
        "lp": code // 9 % 5,
        "pb": code // 45,
    }
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[filters])
    except lzma.LZMAError as error:
        raise zipfile.BadZipFile(f"lzma properties {code}") from error


class BoundedMember:
    """A member read forward. At its end it is held to the size and checksum that the archive states."""

    def __init__(self, raw: Any, start: int, size: int, decompressor: Decoder, info: zipfile.ZipInfo) -> None:
        """`size` compressed bytes from `start` on; nothing is read yet."""
        self._raw, self._place, self._compressed = raw, start, size
        self._decompressor, self._info = decompressor, info
        self._left, self._sum = info.file_size, 0

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes.

        Raises:
            zipfile.BadZipFile: what is compressed is not what the archive states.
        """
        parts, wanted = [], min(size, self._left)
        while wanted:
            part = self._some(wanted)
            parts.append(part)
            wanted -= len(part)
            self._left -= len(part)
            self._sum = zlib.crc32(part, self._sum)
        if not self._left and self._sum != self._info.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {self._info.filename!r}")
        return b"".join(parts)

    def _some(self, most: int) -> bytes:
        """From 1 to `most` bytes."""
        while True:
            block = b""
            if self._decompressor.needs_input:
                self._raw.seek(self._place)
                block = self._raw.read(min(_READ_BYTES, self._compressed))
                self._place += len(block)
                self._compressed -= len(block)
            ended = self._decompressor.eof or (self._decompressor.needs_input and not block)
            if ended:
                raise EOFError("what is compressed ends before the size that the archive states")
            try:
                part = self._decompressor.decompress(block, most)
            except Exception as error:  # each library has its own
                raise zipfile.BadZipFile(f"corrupt data: {error}") from error
            if part:
                return part
