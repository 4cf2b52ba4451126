"""``.npz``: zip members are read in place where they are stored, and streamed where they are compressed.

A zip file states every fact twice (local header and central directory) and can lie in both, so each member
is held to the real size of the file and to its neighbours before a byte of it is believed.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lvmfast.corpus.array_source import ArraySource
from lvmfast.corpus.arrays_file import ArraysFile
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.failures import one_line, reading
from lvmfast.corpus.inflate import BOUNDED, bounded
from lvmfast.corpus.npy import (
    MAGIC,
    NpyHeader,
    Readable,
    StoredArray,
    StreamedArray,
    check_filled,
    read_header,
    stored_array,
)
from lvmfast.corpus.windows import WINDOWS, windowed
from lvmfast.errors import DataError
from lvmfast.parse import parse_json, without_nan
from lvmfast.stores import Source, as_source
from lvmfast.stores.ahead import AHEAD_BYTES, Range, in_lockstep

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1
#: Deflate cannot do better than 1032:1; a bigger promise is a lie.
_DEFLATE_LIMIT = 1032
_LONGEST_PROVENANCE = 1 << 20
PROVENANCE = "provenance.npy"


def open_npz(path: str | Source, mapping: dict[Column, str], *, strict: bool = True) -> ArraysFile:
    """An ``.npz`` file: one array per member, and the JSON of ``provenance`` if it has one.

    Raises:
        DataError: no zip file, a hostile or damaged one, or arrays that do not fit their columns.
    """
    origin = as_source(path)
    sources: dict[str, ArraySource] = {}
    provenance: dict[str, Any] | None = None
    notes: list[str] = []
    for member in npz_members(origin):
        if member.name == PROVENANCE:
            provenance = _provenance(member, notes)
        elif member.array is not None:
            sources[member.key] = member.array
    if WINDOWS in sources:
        sources = windowed(origin.name, sources)
    return ArraysFile(
        origin.name,
        origin.path,
        origin.info.size,
        sources,
        mapping,
        strict=strict,
        provenance=provenance,
        notes=notes,
        origin=origin,
    )


@dataclass(frozen=True)
class Member:
    """One member of an ``.npz`` file."""

    source: Source  #: the file
    info: zipfile.ZipInfo
    array: StoredArray | StreamedArray | None  #: None for a member that is no ``.npy``

    @property
    def path(self) -> str:
        """The name of the file."""
        return self.source.name

    @property
    def name(self) -> str:
        """Its name in the archive, ``.npy`` included."""
        return self.info.filename

    @property
    def key(self) -> str:
        """The name by which numpy knows the array."""
        return self.name.removesuffix(".npy")

    @contextmanager
    def opened(self) -> Iterator[Readable]:
        """All of its bytes, decompressed, the array's header included."""
        with (
            reading(self.path),
            self.source.open() as raw,
            zipfile.ZipFile(raw) as archive,
            _opening(self.path, self.key, raw, archive, self.info) as stream,
        ):
            yield stream


def npz_members(path: str | Source) -> list[Member]:
    """The members of an ``.npz`` file in their order, each held to what the file can hold.

    Raises:
        DataError: no zip file, or a hostile or damaged one.
    """
    source = as_source(path)
    path, members = source.name, []
    with reading(path), source.open() as raw, zipfile.ZipFile(raw) as archive:
        size = raw.size()
        share = min(4, len(archive.infolist()))
        offsets = _checked_offsets(path, archive, raw, size)
        for info in archive.infolist():
            key = info.filename.removesuffix(".npy")
            array = None
            if _is_foreign(info):
                continue
            if key != info.filename or _begins_as_array(path, raw, archive, info):
                with _opening(path, key, raw, archive, info) as stream:
                    header = read_header(stream, f"{path}: {key}")
                _check_promise(f"{path}: {key}", header, info)
                array = _array(source, key, info, header, offsets[key], share)
            members.append(Member(source, info, array))
    return members


def _is_foreign(info: zipfile.ZipInfo) -> bool:
    """Whether a member is a folder, or what macOS keeps beside a file under the file's own name."""
    *folders, name = info.filename.split("/")
    return not name or "__MACOSX" in folders or name.startswith("._")


def _begins_as_array(path: str, raw: Any, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    """Whether numpy would read a member as an array, though its name does not end in ``.npy``."""
    try:
        with _opening(path, info.filename, raw, archive, info) as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except DataError:  # bytes that nobody asks for
        return False


def _checked_offsets(path: str, archive: zipfile.ZipFile, raw: Any, size: int) -> dict[str, int]:
    """Where the bytes of each member begin, by key; refuses what no writer of arrays produces."""
    offsets: dict[str, int] = {}
    spans: list[tuple[int, int, str]] = []
    for info in archive.infolist():
        name = info.orig_filename
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
            raise DataError(f"{path}: member {name!r}: expected a plain name, got an absolute or parent path")
        if info.flag_bits & _ENCRYPTED:
            raise DataError(f"{path}: member {name!r} is encrypted")
        start = _data_offset(path, raw, info)
        key = info.filename.removesuffix(".npy")
        if key in offsets:
            raise DataError(f"{path}: member {name!r} stands twice in the archive")
        offsets[key] = start
        spans.append((info.header_offset, start + info.compress_size, name))
    end = archive.start_dir
    for low, high, name in sorted(spans, reverse=True):
        if high > end or high > size:
            raise DataError(
                f"{path}: member {name!r} promises more bytes than the file holds, or overlaps another"
            )
        end = low
    return offsets


def _data_offset(path: str, raw: Any, info: zipfile.ZipInfo) -> int:
    """The first byte after the local header, which may be longer than the central directory says."""
    raw.seek(max(0, info.header_offset))
    head = raw.read(_LOCAL_HEADER.size)
    if len(head) < _LOCAL_HEADER.size or head[:4] != b"PK\3\4":
        raise DataError(f"{path}: member {info.orig_filename!r}: no local header where the archive says")
    fields = _LOCAL_HEADER.unpack(head)
    return info.header_offset + _LOCAL_HEADER.size + int(fields[-2]) + int(fields[-1])


def _check_promise(where: str, header: NpyHeader, info: zipfile.ZipInfo) -> None:
    """Holds the header of an array to its member's size, and that size to what is compressed in it."""
    check_filled(header, info.file_size - header.length, where)
    limit = info.compress_size
    if info.compress_type == zipfile.ZIP_DEFLATED:
        limit = _DEFLATE_LIMIT * (info.compress_size + 1)
    if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and info.file_size > limit:
        raise DataError(
            f"{where}: promises {info.file_size} bytes, but {info.compress_size} hold at most {limit}"
        )


def _array(
    source: Source, key: str, info: zipfile.ZipInfo, header: NpyHeader, offset: int, share: int
) -> StoredArray | StreamedArray:
    where = f"{source.name}: {key}"
    if info.compress_type == zipfile.ZIP_STORED:
        return stored_array(source, header, offset + header.length, where, share)
    span = (info.header_offset, offset + info.compress_size)
    return StreamedArray(header, partial(_open_values, source, key, info.filename, span, share), where)


@contextmanager
def _open_values(source: Source, key: str, member: str, span: Range, share: int) -> Iterator[Readable]:
    """The stream of one member, past its array header."""
    path = source.name
    with (
        reading(path),
        source.open([in_lockstep([span])], AHEAD_BYTES // share) as raw,
        zipfile.ZipFile(raw) as archive,
        _opening(path, key, raw, archive, archive.getinfo(member)) as stream,
    ):
        read_header(stream, f"{path}: {key}")
        yield stream


@contextmanager
def _opening(
    path: str, key: str, raw: Any, archive: zipfile.ZipFile, info: zipfile.ZipInfo
) -> Iterator[Readable]:
    """The bytes of a member, decompressed."""
    where = f"{path}: {key}"
    with reading(where):
        if info.compress_type in BOUNDED:
            yield bounded(raw, _data_offset(path, raw, info), info, where)
        elif info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            with archive.open(info) as stream:
                yield stream
        else:
            raise DataError(
                f"{where}: expected a stored member or one that deflate, bzip2 or lzma made, "
                f"got compression method {info.compress_type}"
            )


def _provenance(member: Member, notes: list[str]) -> dict[str, Any] | None:
    """The JSON object in a one-string array; a note where it is something else, as no answer hangs on it."""
    where = f"{member.path}: {member.key}"
    with member.opened() as stream:
        header = read_header(stream, where)
        if header.dtype.hasobject:
            raise DataError(
                f"{where}: expected a JSON string, got an object array (a pickle, never opened here)"
            )
        size = header.value_bytes
        if header.dtype.kind not in "US" or size != header.dtype.itemsize or size > _LONGEST_PROVENANCE:
            notes.append(f"provenance: expected one JSON string, got {header.shape} {header.dtype}; ignored")
            return None
        content = stream.read(size).ljust(size, b"\0")
    value = np.frombuffer(content, header.dtype, 1)[0]
    try:
        stated = parse_json(where, value.decode() if isinstance(value, bytes) else str(value))
    except ValueError as error:
        notes.append(f"provenance: not JSON ({one_line(error)}); ignored")
        return None
    if not isinstance(stated, dict):
        notes.append(f"provenance: expected a JSON object, got {type(stated).__name__}; ignored")
        return None
    return dict(without_nan(stated))
