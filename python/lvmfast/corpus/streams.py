"""Bytes of files, plain or compressed, read forward."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lvmfast.corpus.codecs import Decompressed, codec_of
from lvmfast.corpus.failures import reading
from lvmfast.corpus.npy import Refilling
from lvmfast.stores import Source, as_source
from lvmfast.stores.ahead import in_order

_HEAD_BYTES = 1 << 20


@contextmanager
def decompressed(path: str | Source) -> Iterator[Refilling]:
    """The bytes of a file or object, decompressed as its name says.

    Raises:
        DataError: here or while reading, when the file is missing, truncated or corrupt.
    """
    source = as_source(path)
    with (
        reading(source.name),
        source.open(in_order(source.info.size)) as raw,
        _decoder(source.name, raw, whole=True) as stream,
    ):
        yield stream


@contextmanager
def _decoder(path: str, raw: Any, *, whole: bool) -> Iterator[Refilling]:
    codec = codec_of(path)
    if codec is None:
        yield raw
        return
    with Decompressed(path, codec, raw, whole=whole) as stream:
        yield stream


@dataclass(frozen=True)
class Head:
    """The beginning of a file, decompressed, and how much of the file it is."""

    block: bytes
    complete: bool  #: whether this is the whole file
    share: float  #: of the bytes on disk; above 0, and an upper bound where decompression reads ahead

    def scaled(self, rows: int) -> int:
        """A guess at the rows of the file from the `rows` in `block`."""
        return int(rows / self.share)


def head(path: str | Source) -> Head:
    """The first MiB of a file or object.

    Raises:
        DataError: as `decompressed`.
    """
    source = as_source(path)
    with reading(source.name), source.open() as raw, _decoder(source.name, raw, whole=False) as stream:
        block = stream.read(_HEAD_BYTES)
        share = raw.tell() / raw.size() if block else 1.0
    return Head(block, len(block) < _HEAD_BYTES, min(1.0, share))
