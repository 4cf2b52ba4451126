"""Plain text: a file is one document, or each of its lines is one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from lvmfast.corpus.budget import Budget
from lvmfast.corpus.dataset import Column, Rows
from lvmfast.corpus.npy import Readable
from lvmfast.corpus.streams import decompressed, head
from lvmfast.corpus.table_file import TableFile
from lvmfast.errors import DataError
from lvmfast.stores import Source, as_source

_BLOCK_BYTES = 8 << 20
_LONGEST = 256 << 20
_BOM = b"\xef\xbb\xbf"
#: What a file has for a field: all of it, or, where a column is mapped to that one, each line.
WHOLE, LINE = "text", "line"


def open_txt(path: str | Source, mapping: dict[Column, str], *, strict: bool = True) -> TableFile:
    """A file of plain text: one row, whose field is ``text``; where `mapping` reads ``line``, a row a line.

    Line ends belong to no line, and a byte order mark to no text. A line without text is a row, so that row n
    is line n + 1.

    Raises:
        DataError: a text of over 256 MiB or that the memory limit has no room for; while reading also bytes
            that are not UTF-8.
    """
    source = as_source(path)
    by_line = LINE in mapping.values()
    field = LINE if by_line else WHOLE
    guess = 1
    if by_line:
        start = head(source)
        guess = start.scaled(start.block.count(b"\n"))

    def scan(fields: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        row = 0
        with decompressed(source) as stream:
            for block in texts_of(source.name, stream, by_line=by_line):
                text = _lines(block) if by_line else _whole(block)
                yield row, pa.record_batch({field: text}).select(fields)
                row += len(text)

    schema = pa.schema([(field, pa.large_string())])
    file = TableFile.over(source, None, schema, scan, mapping, strict=strict, rows_guess=guess)
    if by_line:
        file.first_line_of = lambda: 1
    return file


def texts_of(path: str, stream: Readable, *, by_line: bool) -> Iterator[bytes]:
    """What a stream holds, without a byte order mark: all of it, or blocks of lines, the last one ended too.

    Raises:
        DataError: a text is longer than any may be.
    """
    budget = Budget()
    size = min(_BLOCK_BYTES, budget.block_bytes)
    held: list[bytes] = []
    length = 0

    def check() -> None:
        if length > _LONGEST:
            raise DataError(f"{path}: a text of over {_LONGEST} bytes, which is the most that is read")
        budget.check_row(length, path)

    read = stream.read(size).removeprefix(_BOM)
    while read:
        cut = read.rfind(b"\n") + 1 if by_line else 0
        if cut:
            yield b"".join([*held, read[:cut]])
            held, length = [], 0
        held.append(read[cut:])
        length += len(read) - cut
        check()
        read = stream.read(size)
    if length:
        yield b"".join([*held, b"\n" if by_line else b""])


def _whole(block: bytes) -> pa.Array:
    return pa.array([block], pa.large_binary()).view(pa.large_string())


def _lines(block: bytes) -> pa.Array:
    """large_string of the lines, without their ends."""
    data = np.frombuffer(block.replace(b"\r\n", b"\n"), np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    offsets = np.concatenate([[0], ends - np.arange(len(ends))]).astype(np.int64)
    kept = [None, pa.py_buffer(offsets), pa.py_buffer(data[data != ord("\n")])]
    return pa.Array.from_buffers(pa.large_string(), len(ends), kept)
