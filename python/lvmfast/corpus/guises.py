"""What a file seems to be that could not be read as what its name says, by its first bytes."""

from __future__ import annotations

import re

from lvmfast.corpus.codecs import codec_of
from lvmfast.corpus.failures import reading
from lvmfast.corpus.formats import Format
from lvmfast.stores import Source

PLAIN_TEXT = "plain text"
_BEGINNINGS = {
    "gzip data": rb"\x1f\x8b",
    "zstd data": rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18",
    "bzip2 data": rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",
    "xz data": rb"\xfd7zXZ\0",
    "lzma data": rb"\x5d\0\0[\0-\xff]{2}\xff{8}",
    "zlib data": rb"\x78[\x01\x5e\x9c\xda][^ -~\s]",
    "a zip archive": rb"PK\x03\x04",
    "parquet": rb"PAR1",
    "encrypted parquet": rb"PARE",
    "Arrow IPC": rb"ARROW1",
    "Feather version 1": rb"FEA1",
    "an npy array": rb"\x93NUMPY",
    "Avro": rb"Obj\x01",
    "ORC": rb"ORC",
    "HDF5": rb"\x89HDF\r\n",
    "SQLite": rb"SQLite format 3\0",
    "text in UTF-32": rb"\xff\xfe\0\0|\0\0\xfe\xff",
    "text in UTF-16": rb"\xff\xfe|\xfe\xff|[ -~]\0[ -~]\0|\0[ -~]\0[ -~]",
    "HTML": rb"\s*<(!doctype|html)",
    PLAIN_TEXT: rb"(\xef\xbb\xbf)?[ -~\s]{8}",
}
_KINDS = {kind: re.compile(pattern, re.DOTALL | re.IGNORECASE) for kind, pattern in _BEGINNINGS.items()}
MOST_BYTES = 64  #: that tell


def begins_as(start: bytes) -> str | None:
    """What the first bytes of a file are of, where they tell."""
    return next((kind for kind, pattern in _KINDS.items() if pattern.match(start)), None)


def seems(source: Source, format: Format) -> str:
    """What the beginning of `source` is of, for the end of a message; empty where nothing can be told.

    Raises:
        DataError: it cannot be opened.
    """
    with reading(source.name), source.open() as raw:
        start = bytes(raw.read(MOST_BYTES))
    kind = begins_as(start)
    codec = codec_of(source.name)
    usual = f"{codec.name} data" if codec else format.begins
    return "" if kind in (None, usual) else f"; the file begins as {kind}, whatever its name says"
