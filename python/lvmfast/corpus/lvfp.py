"""The container of fingerprints: named arrays under a JSON header, with a checksum over all of it.

    offset  bytes
    0       4      magic, b"LVFP"
    4       4      format version, uint32
    8       8      length of the file, uint64
    16      8      length of the header, uint64
    24      ...    header: JSON in UTF-8, {"lvmfast": version, "content": {...}, "sections": [...]}
    ...     ...    sections, each at a multiple of 64, zeros between them
    end-32  32     BLAKE3 of everything before

Numbers are little-endian. A section is {"name", "dtype", "shape", "codec", "offset", "stored", "bytes"}:
`stored` bytes in the file, the array itself (codec null) or its zstd compression, `bytes` long when undone.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.failures import one_line, reading
from lvmfast.corpus.pointers import refuse_pointer
from lvmfast.errors import DataError
from lvmfast.parse import parse_json

MAGIC = b"LVFP"
VERSION = 1

_HEAD = struct.Struct("<4sIQQ")
_DIGEST = 32
_ALIGNMENT = 64
_DTYPES = ("<u8", "<i4", "<f8", "<f4", "<u2", "|i1")
#: zstd cannot shrink 128 KiB to less than four bytes, so a larger ratio is a lie that would fill the memory.
_MOST_RATIO = 1 << 15
_LEAST_ROOM = 1 << 20

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Container:
    """What a file holds. `identity` is its checksum, in hexadecimal: equal files, and no others, share it."""

    content: Mapping[str, Any]
    arrays: Mapping[str, Array]
    version: str  #: of lvmfast, which wrote it
    identity: str
    nbytes: int


def pack(content: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """The bytes of a file. Each array is compressed where that makes it smaller."""
    sections: list[dict[str, Any]] = []
    bodies: list[bytes] = []
    offset = 0
    for name, array in arrays.items():
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        raw = little.tobytes()
        squeezed = pa.Codec("zstd").compress(raw, asbytes=True)
        body, codec = (squeezed, "zstd") if len(squeezed) < len(raw) else (raw, None)
        section = {
            "name": name,
            "dtype": little.dtype.str,
            "shape": list(little.shape),
            "codec": codec,
            "offset": offset,  # from the start of the sections for now
            "stored": len(body),
            "bytes": len(raw),
        }
        sections.append(section)
        bodies.append(body + bytes(-len(body) % _ALIGNMENT))
        offset += len(bodies[-1])
    text, start = _header(content, sections)
    head = _HEAD.pack(MAGIC, VERSION, start + offset + _DIGEST, len(text))
    packed = b"".join([(head + text).ljust(start, b"\0"), *bodies])
    return packed + bytes.fromhex(_core.blake3_bytes(packed, 0))


def _header(content: Mapping[str, Any], sections: list[dict[str, Any]]) -> tuple[bytes, int]:
    """The header, and where the sections start; its offsets count from the start of the file."""
    start = 0
    while True:
        placed = [{**section, "offset": start + section["offset"]} for section in sections]
        described = {"lvmfast": _core.__version__, "content": dict(content), "sections": placed}
        text = json.dumps(described, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
        length = _HEAD.size + len(text)
        length += -length % _ALIGNMENT
        if length <= start:
            return text, start
        start = length  # larger offsets may have more digits, and then the header is longer


def unpack(path: str) -> Container:
    """Reads and checks a whole file; nothing in it is believed before the checksum is right.

    Raises:
        DataError: the file cannot be read, is no fingerprint, is of a newer version, is truncated, was
            altered, or states something that cannot be.
    """
    refuse_pointer(path)
    with reading(path):
        data = Path(path).read_bytes()
    if data[:4] != MAGIC:
        raise DataError(f"{path}: not a fingerprint: expected it to begin with {MAGIC!r}, got {data[:4]!r}")
    if len(data) < _HEAD.size + _DIGEST:
        raise DataError(f"{path}: truncated: {len(data)} bytes are too few for a fingerprint")
    _, version, length, header = _HEAD.unpack_from(data)
    if version != VERSION:
        newer = "; a newer lvmfast wrote it" if version > VERSION else ""
        raise DataError(f"{path}: expected fingerprint version {VERSION}, got {version}{newer}")
    if len(data) != length:
        what = "truncated" if len(data) < length else "altered"
        raise DataError(f"{path}: {what}: expected {length} bytes, got {len(data)}")
    identity = data[-_DIGEST:].hex()
    if _core.blake3_bytes(data[:-_DIGEST], 0) != identity:
        raise DataError(f"{path}: altered: its contents do not have the checksum it ends with")
    body = memoryview(data)[:-_DIGEST]
    if header > len(body) - _HEAD.size:
        raise DataError(f"{path}: header: {header} bytes do not fit into the file")
    try:
        described = parse_json(path, bytes(body[_HEAD.size : _HEAD.size + header]))
        content, sections, wrote = described["content"], described["sections"], str(described["lvmfast"])
        if not (isinstance(content, dict) and isinstance(sections, list)):
            raise TypeError("expected an object and a list")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: header: {one_line(error)}") from error
    arrays: dict[str, Array] = {}
    end = _HEAD.size + header
    for section in sections:
        name, array, end = _section(path, section, body, end)
        if name in arrays:
            raise DataError(f"{path}: section {name}: named twice")
        arrays[name] = array
    return Container(content, arrays, wrote, identity, len(data))


def _section(path: str, section: Any, body: memoryview, end: int) -> tuple[str, Array, int]:
    """The name and the array of a section, which begins at `end` or later, and where it ends."""
    try:
        name, dtype, shape, codec = (section[key] for key in ("name", "dtype", "shape", "codec"))
        numbers = [section[key] for key in ("offset", "stored", "bytes")]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: header: a section lacks {one_line(error)}") from error
    where = f"{path}: section {one_line(name)}"
    if not isinstance(name, str) or dtype not in _DTYPES or codec not in (None, "zstd"):
        raise DataError(f"{where}: expected a known dtype and codec, got {dtype!r} and {codec!r}")
    if not (isinstance(shape, list) and len(shape) <= 2 and all(map(_is_count, (*shape, *numbers)))):
        raise DataError(f"{where}: expected counts, got shape {shape!r} and {numbers!r}")
    offset, stored, size = numbers
    if offset % _ALIGNMENT or offset < end or stored > len(body) - offset:
        raise DataError(f"{where}: {stored} bytes at {offset} overlap something or leave the file")
    if size != math.prod(shape) * np.dtype(dtype).itemsize or (codec is None and stored != size):
        raise DataError(f"{where}: {size} bytes, {stored} stored, are not those of shape {shape}")
    if size > stored * _MOST_RATIO + _LEAST_ROOM:
        raise DataError(f"{where}: {stored} bytes cannot become {size}")
    raw = body[offset : offset + stored]
    if codec == "zstd":
        try:
            raw = memoryview(pa.Codec("zstd").decompress(raw, decompressed_size=size, asbytes=True))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{where}: {one_line(error)}") from error
        if len(raw) != size:
            raise DataError(f"{where}: expected {size} bytes, got {len(raw)}")
    array = np.frombuffer(raw, dtype).reshape(shape)
    return name, array.astype(array.dtype.newbyteorder("="), copy=False), offset + stored


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**48
