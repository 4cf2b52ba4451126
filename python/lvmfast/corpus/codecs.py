"""Compression by the suffix of a name: gzip, zstd, bzip2 and xz, decompressed in bounded pieces.

A file is a row of one or more streams of its codec. NUL bytes behind a stream are padding (of tapes, and of
disks that were written by the block); anything else there is an error, and so is a stream that ends early.
Short streams are decompressed side by side where there are threads to spare (`runs.py`).
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.budget import LEAST_WINDOW_BYTES, Budget
from lvmfast.corpus.failures import one_line
from lvmfast.corpus.runs import Runs
from lvmfast.errors import DataError

#: How the name of a fingerprint ends, which no codec goes with.
FINGERPRINT = ".lvfp"
#: Compressed bytes that are read at once: small, because what is behind a short stream is copied.
_PIECE_BYTES = 64 << 10
_MOST_ONCE = 16 << 20
#: What is decompressed at once of a run: little enough that an allocator has memory for it at hand.
_PART_BYTES = 256 << 10
#: The largest window of zstd, as the exponent of 2 that the format's own library takes.
_WINDOW_LOG = 31
#: What a decoder of xz holds beside its window.
_XZ_BYTES = 1 << 20


class Decoder(Protocol):
    """One stream, as the classes of bz2, lzma and zstd decode it."""

    @property
    def eof(self) -> bool:
        """Whether its end was met."""
        ...

    @property
    def needs_input(self) -> bool:
        """Whether it gives nothing more without other compressed bytes."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What stands behind its end."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Some of what it holds, at most `max_length` bytes."""
        ...


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


def _zstd_decoder(most: int | None) -> Decoder:
    zstd = _zstd()
    log = _WINDOW_LOG if most is None else min(_WINDOW_LOG, most.bit_length() - 1)
    decoder: Decoder = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: log})
    return decoder


def _xz_decoder(most: int | None) -> Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, None if most is None else most + _XZ_BYTES)


@dataclass(frozen=True)
class Codec:
    """A way to compress: how a stream of it is decoded, and how a file is written."""

    name: str
    decoder: Callable[[int | None], Decoder]  #: of a window of at most so many bytes
    writer: Callable[[Any], Any]  #: a binary file that compresses into the given one
    begins: re.Pattern[bytes]  #: the first bytes of a stream, which may stand elsewhere by chance


def _bytes(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.DOTALL)


#: By suffix, lower case.
CODECS = {
    ".gz": Codec(
        "gzip",
        lambda most: _core.GzipDecoder(),
        lambda out: pa.CompressedOutputStream(out, "gzip"),
        _bytes(rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04][\x00-\x0d\xff]"),
    ),
    ".zst": Codec(
        "zstd",
        _zstd_decoder,
        lambda out: pa.CompressedOutputStream(out, "zstd"),
        _bytes(rb"\x28\xb5\x2f\xfd"),
    ),
    ".bz2": Codec(
        "bzip2",
        lambda most: bz2.BZ2Decompressor(),
        partial(bz2.BZ2File, mode="wb"),
        _bytes(rb"BZh[1-9]\x31\x41\x59\x26\x53\x59"),
    ),
    ".xz": Codec("xz", _xz_decoder, partial(lzma.LZMAFile, mode="wb"), _bytes(rb"\xfd7zXZ\x00\x00")),
}


def codec_of(path: str) -> Codec | None:
    """How the file of this name is compressed; None for a plain one."""
    return CODECS.get(os.path.splitext(path.lower())[1])


def is_fingerprint(path: object) -> bool:
    """Whether a path is that of a fingerprint, by its name."""
    return isinstance(path, (str, os.PathLike)) and os.fspath(path).lower().endswith(FINGERPRINT)


def without_codec(path: str) -> str:
    """The name that the file has when it is decompressed."""
    return path if codec_of(path) is None else os.path.splitext(path)[0]


class Decompressed(io.RawIOBase):
    """What a compressed file holds, read forward.

    Raises:
        DataError: while reading, where the data are broken, end early, or are followed by others.
    """

    def __init__(self, name: str, codec: Codec, raw: Any, *, whole: bool) -> None:
        """Reads nothing yet.

        Args:
            name: the file, for messages.
            codec: of the file.
            raw: the file, which is closed by whoever opened it.
            whole: whether it is likely to be read to its end, and so may be read ahead.
        """
        super().__init__()
        budget = Budget()
        self._runs: Runs | None = None
        if whole and budget.streams_at_once > 1:
            decode = partial(_decoded, codec)
            raw = self._runs = Runs(raw, codec.begins, decode, budget.streams_at_once, budget.run_bytes)
        self._streams = _Streams(name, codec, raw, budget.window_bytes)
        self._run = memoryview(b"")  # what is left of the one that is passed on

    def readable(self) -> bool:
        """True."""
        return True

    def close(self) -> None:
        """Ends the threads that read ahead."""
        if self._runs is not None:
            self._runs.close()
        super().close()

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` bytes; fewer only at the end."""
        left = sys.maxsize if size is None or size < 0 else size
        parts = []
        while left and (part := self._next(min(left, _MOST_ONCE))):
            parts.append(part)
            left -= len(part)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def readinto(self, block: Any, /) -> int:
        """Fills `block`; fewer bytes than it has come only at the end."""
        view = memoryview(block).cast("B")
        done = 0
        while done < len(view) and (part := self._next(len(view) - done)):
            view[done : done + len(part)] = part
            done += len(part)
        return done

    def _next(self, most: int) -> bytes | memoryview:
        """Some bytes, at most `most`; none at the end."""
        runs, streams = self._runs, self._streams
        while runs is not None and not self._run and runs.may_follow and streams.between:
            runs.back(streams.let_go())
            run = runs.following()
            if run is None:
                break
            streams.passed()
            self._run = run
        if not self._run:
            return streams.next(most)
        part, self._run = self._run[:most], self._run[most:]
        return part


def _decoded(codec: Codec, run: bytes, memory: memoryview) -> int | None:
    """Puts what whole streams hold into `memory`; how much it is, None if they are none or it is too much."""
    streams = _Streams("", codec, io.BytesIO(run), LEAST_WINDOW_BYTES)
    done = 0
    try:
        while part := streams.next(_PART_BYTES):
            if done + len(part) > len(memory):
                return None
            memory[done : done + len(part)] = part
            done += len(part)
    except Exception:  # of whatever kind: it comes again in its turn
        return None
    return done


class _Streams:
    """The streams of the compressed file `raw`, one after the other."""

    def __init__(self, name: str, codec: Codec, raw: Any, window: int | None) -> None:
        """Reads nothing yet; `name` is for messages, and `window` the most that a decoder may hold."""
        self._name, self._codec, self._raw, self._window = name, codec, raw, window
        self._decoder: Decoder | None = codec.decoder(self._window)
        self._held = b""  # compressed, and not decoded yet
        self._fed = False  # anything, to the decoder that there is
        self._streams = 0  # that were decoded to their end
        self._begun = False  # the one that is decoded now

    @property
    def between(self) -> bool:
        """Whether nothing of the next stream is decoded yet."""
        return self._decoder is None or not self._fed

    def let_go(self) -> bytes:
        """What was read and is not decoded."""
        held, self._held = self._held, b""
        return held

    def passed(self) -> None:
        """Streams were decoded elsewhere; others follow, or the end."""
        self._decoder, self._streams = None, self._streams + 1

    def next(self, most: int) -> bytes:
        """Some bytes, at most `most`; none at the end."""
        while self._decoder is not None or self._another():
            decoder = self._decoder
            assert decoder is not None
            data = b""
            if decoder.needs_input:
                data, self._held = self._held or self._more(), b""
                if not data:
                    raise self._ends_early()
            self._fed = True
            try:
                out = decoder.decompress(data, most)
            except _errors_of(self._codec) as error:
                raise self._broken(error) from error
            self._begun = self._begun or bool(out)
            if decoder.eof:
                self._held, self._decoder = decoder.unused_data, None
                self._streams, self._begun = self._streams + 1, False
            if out:
                return out
        return b""

    def _another(self) -> bool:
        """Whether another stream follows; then its decoder is there."""
        while not (held := self._held.lstrip(b"\0")):
            self._held = self._more()
            if not self._held:
                return False
        self._held = held
        self._decoder, self._fed = self._codec.decoder(self._window), False
        return True

    def _more(self) -> bytes:
        return bytes(self._raw.read(_PIECE_BYTES))

    def _broken(self, error: Exception) -> DataError:
        codec = self._codec.name
        if self._window is not None and "memory" in str(error).lower():
            room = f"{self._window / 2**20:.0f} MiB"
            return DataError(
                f"{self._name}: its {codec} window is larger than the {room} that the "
                "--memory-limit has room for; raise the limit, or compress the file with a smaller window"
            )
        if self._streams and not self._begun:
            return DataError(f"{self._name}: what follows the {codec} data is no {codec} data")
        return DataError(f"{self._name}: broken {codec} data: {one_line(error)}")

    def _ends_early(self) -> DataError:
        codec = self._codec.name
        if not self._raw.tell():
            return DataError(f"{self._name}: expected {codec} data, got an empty file")
        return DataError(f"{self._name}: truncated: the {codec} data end in the middle of a stream")


def _errors_of(codec: Codec) -> tuple[type[Exception], ...]:
    of_zstd: list[type[Exception]] = [_zstd().ZstdError] if codec.name == "zstd" else []
    return (OSError, EOFError, ValueError, lzma.LZMAError, *of_zstd)
