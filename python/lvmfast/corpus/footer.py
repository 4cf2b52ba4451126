"""Where the column chunks of a parquet file lie, read from its footer.

pyarrow knows it, too, but aborts the process over corrupt statistics when it is asked for a single column.
The footer is in Thrift's compact protocol (doc/specs/thrift-compact-protocol.md of apache/thrift), with the
fields of src/main/thrift/parquet.thrift of apache/parquet-format.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

_MAGIC = b"PAR1"
_DEEPEST = 32


@dataclass(frozen=True)
class ColumnChunk:
    """The bytes of one column in one row group."""

    path: tuple[str, ...]  #: in the schema, from the top
    start: int
    stop: int


def footer_size(tail: bytes) -> int | None:
    """Bytes from the footer to the end of the file, by the file's last 8; None where there is no footer."""
    if len(tail) < 8 or tail[-4:] != _MAGIC:
        return None
    return int(struct.unpack("<I", tail[-8:-4])[0]) + 8


def column_chunks(footer: bytes) -> list[list[ColumnChunk]] | None:
    """The chunks of each row group, in order; None where the footer is not understood."""
    try:
        return [
            [_chunk(chunk[3]) for chunk in group.get(1, ())]
            for group in _Compact(footer).structure(0).get(4, ())
        ]
    except (IndexError, KeyError, TypeError, ValueError, struct.error):
        return None


def _chunk(meta: dict[int, Any]) -> ColumnChunk:
    # A dictionary, where there is one, stands before the data. Some writers state 0 for none.
    start = min(meta[9], meta.get(11) or meta[9])
    return ColumnChunk(tuple(part.decode() for part in meta[3]), start, start + meta[7])


class _Compact:
    """A reader of Thrift's compact protocol: structures become dicts by field number."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def structure(self, depth: int) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("too deep")
        fields: dict[int, Any] = {}
        number = 0
        while kind := self._byte():
            step, kind = kind >> 4, kind & 15
            number = number + step if step else self._signed()
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._signed()
        if kind == 7:
            return struct.unpack("<d", self._bytes(8))[0]
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in (9, 10):
            head = self._byte()
            count = head >> 4 if head >> 4 < 15 else self._unsigned()
            if count > len(self._content):
                raise ValueError("too long")
            return [self._value(head & 15, depth + 1) for _ in range(count)]
        if kind == 11:
            count = self._unsigned()
            if count > len(self._content):
                raise ValueError("too long")
            kinds = self._byte() if count else 0
            return [
                (self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(count)
            ]
        if kind == 12:
            return self.structure(depth + 1)
        raise ValueError(f"type {kind}")

    def _byte(self) -> int:
        value = self._content[self._at]
        self._at += 1
        return value

    def _bytes(self, count: int) -> bytes:
        value = self._content[self._at : self._at + count]
        if len(value) < count:
            raise IndexError("the footer ends")
        self._at += count
        return value

    def _unsigned(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 70:
                raise ValueError("too long a number")

    def _signed(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)
