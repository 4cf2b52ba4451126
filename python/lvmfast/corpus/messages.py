"""Record batches of Arrow files, read where they are wanted and never mapped.

A map of a file that is cut short in the meantime kills the process that touches it. So the bytes of a batch
are read into memory of its own: its metadata, which tells pyarrow where the buffers of each column are to
be, and then of those buffers what the rows in question need. What is not read is never touched, and costs
nothing. Where that does not do (dictionaries, compression, other byte orders, old files) pyarrow reads all
of a batch by itself.

The layout of messages is in format/Message.fbs and docs/source/format/Columnar.rst of apache/arrow.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from lvmfast.corpus.blocks import Bytes, read_into
from lvmfast.errors import DataError

FILE_MAGIC = b"ARROW1\0\0"
_CONTINUATION = 0xFFFFFFFF
_SCHEMA, RECORDS = 1, 3
#: Metadata of a message; that of 100,000 columns has 10 MB.
_LONGEST_METADATA = 256 << 20
_V5 = 4
#: A message in a footer: where it begins, the bytes of its metadata, and those of its buffers.
_BLOCK = struct.Struct("<qi4xq")
_REST_BYTES = 1 << 20
#: Larger batches are read in pieces of about so much.
PIECE_BYTES = 64 << 20
#: Less is taken from memory that was used before.
_SMALL = 32 << 20


@dataclass(frozen=True)
class Message:
    """A message of an Arrow file: where it lies, and what its metadata says."""

    kind: int
    start: int
    body: int  #: where its buffers begin,
    stop: int  #: and end
    rows: int  #: of a record batch
    plain: bool  #: whether it is of a kind that needs nothing but its schema to be read


class _Table:
    """A table of a flatbuffer."""

    def __init__(self, content: bytes, at: int) -> None:
        self._content, self._at = content, at
        self._fields = at - struct.unpack_from("<i", content, at)[0]
        self._size = struct.unpack_from("<H", content, self._fields)[0]

    def _place(self, number: int) -> int | None:
        entry = 4 + 2 * number
        if entry + 2 > self._size:
            return None
        offset = struct.unpack_from("<H", self._content, self._fields + entry)[0]
        return self._at + offset if offset else None

    def number(self, field: int, form: str) -> int:
        """A field of the form that `struct` has a letter for; 0 where it is not there."""
        place = self._place(field)
        return 0 if place is None else int(struct.unpack_from("<" + form, self._content, place)[0])

    def table(self, field: int) -> _Table | None:
        """The table that a field is."""
        place = self._place(field)
        if place is None:
            return None
        return _Table(self._content, place + struct.unpack_from("<I", self._content, place)[0])

    def structs(self, field: int, form: struct.Struct) -> list[tuple[int, ...]]:
        """The structs of the vector that a field is."""
        place = self._place(field)
        if place is None:
            return []
        start = place + struct.unpack_from("<I", self._content, place)[0]
        count = struct.unpack_from("<I", self._content, start)[0]
        if start + 4 + count * form.size > len(self._content):
            raise IndexError("a vector that ends behind its buffer")
        return [form.unpack_from(self._content, start + 4 + i * form.size) for i in range(count)]


def messages(path: str, raw: BinaryIO, size: int) -> list[Message]:
    """The messages of the Arrow file of `size` bytes, in either format, by their metadata alone.

    Of the file format those that its footer lists, which is what readers go by: polars leaves out the length
    of the schema at its beginning.

    Raises:
        DataError: it is no Arrow file, one that was cut short, or a stream with more behind its end.
    """
    raw.seek(0)
    if raw.read(len(FILE_MAGIC)) == FILE_MAGIC:
        return _listed(path, raw, size)
    found: list[Message] = []
    at = 0
    while at + 4 <= size:
        message = _message_at(path, raw, at, size)
        if message is None:
            at = raw.tell()
            break
        found.append(message)
        at = message.stop
    raw.seek(at)
    refuse_more(f"{path}: expected the end of the file behind that of its stream", raw)
    return found


def refuse_more(where: str, raw: Any) -> None:
    """Refuses what follows in a file, unless it is NUL bytes: of two put together one would be lost.

    Raises:
        DataError: there is something; the message begins with `where`.
    """
    while piece := raw.read(_REST_BYTES):
        if bytes(piece).strip(b"\0"):
            raise DataError(f"{where}, got more: was it cut, or were several put together?")


def _listed(path: str, raw: BinaryIO, size: int) -> list[Message]:
    """What the footer of a file lists: dictionaries, and record batches in their order."""
    end, content = _footer(path, raw, size)
    found: list[Message] = []
    try:
        footer = _Table(content, struct.unpack_from("<I", content)[0])
        schema = footer.table(1)
        little = schema is not None and schema.number(0, "h") == 0
        blocks = [*footer.structs(2, _BLOCK), *footer.structs(3, _BLOCK)]
    except (struct.error, IndexError) as error:
        raise DataError(f"{path}: a footer that is none of an Arrow file") from error
    for at, metadata, body in blocks:
        if not (0 <= at <= end and metadata >= 0 and 0 <= body <= end):
            raise DataError(f"{path}: the footer names a message at byte {at}, where none can be")
        message = _message_at(path, raw, at, end)
        if message is None:
            raise DataError(f"{path}: message at byte {at}: none, though the footer names it")
        in_place = message.body == at + metadata and message.stop == message.body + body
        found.append(replace(message, plain=message.plain and little and in_place))
    return found


def _message_at(path: str, raw: BinaryIO, at: int, end: int) -> Message | None:
    """The message at byte `at`, which ends before `end`; None where there is the mark of the last one."""
    raw.seek(at)
    length, prefix = struct.unpack("<I", raw.read(4).ljust(4, b"\0"))[0], 4
    if length == _CONTINUATION:
        length, prefix = struct.unpack("<I", raw.read(4).ljust(4, b"\0"))[0], 8
    if length == 0:
        return None
    where = f"{path}: message at byte {at}"
    if length > min(_LONGEST_METADATA, end - at - prefix):
        raise DataError(f"{where}: expected {length} bytes of metadata, got {max(0, end - at - prefix)}")
    try:
        message = _message(raw.read(length), at, at + prefix + length)
    except (struct.error, IndexError) as error:
        raise DataError(f"{where}: metadata that is none of an Arrow message") from error
    if not message.body <= message.stop <= end:
        raise DataError(f"{where}: expected {message.stop - message.body} bytes, got {end - message.body}")
    return message


def all_plain(listed: Sequence[Message]) -> bool:
    """Whether `read_rows` can read every record batch."""
    return all(message.plain and message.kind in (_SCHEMA, RECORDS) for message in listed)


def _footer(path: str, raw: BinaryIO, size: int) -> tuple[int, bytes]:
    """Where the footer of a file begins, and its bytes."""
    raw.seek(max(0, size - 10))
    tail = raw.read(10)
    length = struct.unpack("<i", tail[:4])[0] if len(tail) == 10 else 0
    if tail[4:] != FILE_MAGIC[:6] or not 0 < length <= min(size - 10, _LONGEST_METADATA):
        raise DataError(f"{path}: expected the footer of an Arrow file at its end: it was cut short")
    start = size - 10 - int(length)
    raw.seek(start)
    return start, raw.read(length)


def _message(metadata: bytes, start: int, body: int) -> Message:
    root = _Table(metadata, struct.unpack_from("<I", metadata)[0])
    kind, header = root.number(1, "B"), root.table(2)
    plain, rows = root.number(0, "h") == _V5 and header is not None, 0
    if header is not None and kind == RECORDS:
        rows = header.number(0, "q")
        plain = plain and header.table(3) is None  # compressed
    elif header is not None and kind == _SCHEMA:
        plain = plain and header.number(0, "h") == 0  # big-endian
    if rows < 0:
        raise IndexError("rows below 0")
    return Message(kind, start, body, body + root.number(3, "q"), rows, plain)


def read_rows(
    path: str, raw: BinaryIO, message: Message, schema: pa.Schema, fields: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The rows of a plain record batch, in one piece or in several of about PIECE_BYTES, with `fields` alone.

    Raises:
        DataError: the file was cut short.
    """
    start, step = 0, max(1, message.rows)
    while start < max(1, message.rows):
        memory = _room(message.stop - message.start)
        read_into(raw, message.start, memory[: message.body - message.start], path)
        content = pa.py_buffer(memory)
        batch = pa.ipc.read_record_batch(content, schema).select(fields)
        size = batch.get_total_buffer_size()
        if size > PIECE_BYTES:
            step = max(1, message.rows * PIECE_BYTES // size)
        piece = batch.slice(start, step)
        for array in piece.columns:
            for buffer, low, high in _needed(array):
                at = buffer.address - content.address
                if low < high and 0 <= at <= len(memory) - high:  # and not pyarrow's own
                    read_into(raw, message.start + at + low, memory[at + low : at + high], path)
        yield piece
        start += step


def _room(size: int) -> Bytes:
    """(size,) bytes, of which the system gives a page when it is first written to."""
    if size < _SMALL:
        return np.empty(size, np.uint8)
    if not hasattr(mmap, "MAP_ANONYMOUS"):  # Windows, where memory without a file is nobody else's anyway
        return np.frombuffer(mmap.mmap(-1, size), np.uint8)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    return np.frombuffer(mmap.mmap(-1, size, flags=flags), np.uint8)


def _needed(array: pa.Array) -> Iterator[tuple[pa.Buffer, int, int]]:
    """(buffer, first byte, end) of what the elements of `array` stand in. What comes later may hang on it.

    Of a type that has others of any width in it the whole: pyarrow checks what it holds beyond its elements.
    """
    type_, low, high = array.type, array.offset, array.offset + len(array)
    if isinstance(type_, pa.BaseExtensionType):
        yield from _needed(array.storage)
        return
    buffers = array.buffers()
    offsets = _OFFSETS.get(type_.id)
    if _has_width(type_):
        yield from _bits(buffers[1], low, high, type_.bit_width)
    elif offsets is not None and (not pa.types.is_nested(type_) or _is_fixed(type_.value_type)):
        yield from _bits(buffers[1], low, high + 1, 8 * np.dtype(offsets).itemsize)
        first, last = _ends(buffers[1], low, high, offsets)
        if pa.types.is_nested(type_):
            yield from _needed(array.values.slice(first, last - first))
        elif buffers[2] is not None:
            yield from _bits(buffers[2], first, min(last, buffers[2].size), 8)
    elif pa.types.is_fixed_size_list(type_) and _is_fixed(type_):
        size = type_.list_size
        yield from _needed(array.values.slice(low * size, len(array) * size))
    elif pa.types.is_struct(type_) and _is_fixed(type_):
        for place in range(type_.num_fields):
            yield from _needed(array.field(place))
    else:
        yield from ((buffer, 0, buffer.size) for buffer in buffers if buffer is not None)
        return
    yield from _bits(buffers[0], low, high, 1)


_OFFSETS = {
    pa.string().id: np.int32,
    pa.binary().id: np.int32,
    pa.large_string().id: np.int64,
    pa.large_binary().id: np.int64,
    pa.list_(pa.null()).id: np.int32,
    pa.large_list(pa.null()).id: np.int64,
}


def _has_width(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_primitive(type_) or pa.types.is_decimal(type_) or pa.types.is_fixed_size_binary(type_)
    )


def _is_fixed(type_: pa.DataType) -> bool:
    """Whether each element of `type_` has its place in every buffer."""
    if pa.types.is_fixed_size_list(type_) or pa.types.is_struct(type_):
        return all(_is_fixed(type_.field(place).type) for place in range(type_.num_fields))
    return _has_width(type_)


def _bits(buffer: pa.Buffer | None, low: int, high: int, width: int) -> Iterator[tuple[pa.Buffer, int, int]]:
    """Elements `low` to `high` of `width` bits; what a corrupt file lacks of them is found out later."""
    if buffer is not None:
        yield buffer, low * width // 8, min(-(-high * width // 8), buffer.size)


def _ends(
    buffer: pa.Buffer | None, low: int, high: int, kind: type[np.signedinteger[Any]]
) -> tuple[int, int]:
    """Where the items of elements `low` to `high` begin and end; nothing where offsets are corrupt."""
    if buffer is None:
        return 0, 0
    offsets = np.frombuffer(buffer, kind, buffer.size // np.dtype(kind).itemsize)[low : high + 1]
    if not len(offsets) or not 0 <= offsets[0] <= offsets[-1]:
        return 0, 0
    return int(offsets[0]), int(offsets[-1])
