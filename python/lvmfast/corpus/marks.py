"""Where blocks of lines begin in a file that was read to its end, so that some rows are found again by it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from lvmfast.corpus.codecs import codec_of
from lvmfast.corpus.dataset import Rows
from lvmfast.corpus.failures import reading
from lvmfast.corpus.lines import Lines
from lvmfast.corpus.npy import Readable
from lvmfast.corpus.streams import decompressed
from lvmfast.errors import DataError
from lvmfast.stores import Source

#: Of a block in which more runs of rows are wanted all rows are read, which takes less than so many batches,
MOST_RUNS = 32
#: and so they are where more lines than this would have to be looked for.
MOST_LINES = 8192
_PASSED_BYTES = 1 << 20

#: Rows that follow each other: the number of the first one, and which of those that were read they are.
Run = tuple[int, slice]


@dataclass
class Marks:
    """The blocks of a file in order: the row, line and byte at which each begins, and the byte behind it.

    Bytes are those of the lines: what is compressed is decompressed.
    """

    rows: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    stops: list[int] = field(default_factory=list)
    first_line: int | None = None  #: of row 0, where each row after it stands on the next line

    def add(self, row: int, lines: Lines) -> None:
        """Notes the next block, of which `row` is the first one; records of a list are not found again."""
        if lines.start is not None:
            self.rows.append(row)
            self.lines.append(lines.first)
            self.starts.append(lines.start)
            self.stops.append(lines.start + sum(len(part) for part in lines.parts))

    def again(self, source: Source, wanted: Rows) -> Iterator[tuple[Lines, Sequence[Run]]]:
        """Lines that hold the `wanted` rows, ascending and in the file, in order, and which rows they are.

        Raises:
            DataError: the file cannot be read, or was changed meanwhile.
        """
        if not len(wanted):
            return
        blocks = np.searchsorted(np.array(self.rows), wanted, side="right") - 1
        edges = np.flatnonzero(np.diff(blocks, prepend=-1, append=-1))
        chosen = blocks[edges[:-1]].tolist()
        parts = _parts(source, [(self.starts[block], self.stops[block]) for block in chosen])
        with reading(source.name):
            for block, part, rows in zip(chosen, parts, np.split(wanted, edges[1:-1]), strict=True):
                first = self.rows[block]
                ends = [*(np.flatnonzero(np.diff(rows) > 1) + 1).tolist(), len(rows)]
                if len(ends) > MOST_RUNS or rows[-1] - first > MOST_LINES:
                    yield Lines.of([part], self.lines[block]), [(first, slice(None))]
                    continue
                found = _found(part, (rows - first).tolist())
                if len(found) < len(rows):
                    raise DataError(f"{source.name}: changed while it was read")
                numbers = [self.lines[block] + line for _, _, line in found]
                texts = [np.frombuffer(part, np.uint8, stop - start, start) for start, stop, _ in found]
                begins = [0, *ends[:-1]]
                runs = [(int(rows[low]), slice(low, high)) for low, high in zip(begins, ends, strict=True)]
                yield Lines(texts, numbers[0], numbers), runs


def _parts(source: Source, ranges: list[tuple[int, int]]) -> Iterator[bytes]:
    """The bytes of ascending ranges of a file: it is decompressed up to the last one, or read there alone."""
    if codec_of(source.name) is None:
        with source.open([[each] for each in ranges]) as raw:
            for start, stop in ranges:
                raw.seek(start)
                yield _part(raw, stop - start, source.name)
        return
    with decompressed(source) as stream:
        at = 0
        for start, stop in ranges:
            while at < start:
                at += len(_part(stream, min(start - at, _PASSED_BYTES), source.name))
            yield _part(stream, stop - start, source.name)
            at = stop


def _part(stream: Readable, size: int, name: str) -> bytes:
    part = stream.read(size)
    if len(part) < size:
        raise DataError(f"{name}: changed while it was read")
    return part


def _found(block: bytes, wanted: Sequence[int]) -> list[tuple[int, int, int]]:
    """Where lines start and end, and how many are before them: `wanted` of those that are not blank."""
    found = []
    start = stop = line = 0
    row = -1
    for number in wanted:
        while row < number and stop < len(block):
            start, stop = stop, block.find(b"\n", stop) + 1 or len(block)
            line += 1
            if block[start] > ord(" ") or not block[start:stop].isspace():
                row += 1
        if row < number:
            break
        found.append((start, stop, line - 1))
    return found
