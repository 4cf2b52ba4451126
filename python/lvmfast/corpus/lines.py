"""JSON records as blocks of lines: as they stand, one object a line, or out of one list of objects."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus.blocks import BlockMemory
from lvmfast.corpus.budget import Budget
from lvmfast.corpus.failures import one_line
from lvmfast.corpus.npy import Refilling
from lvmfast.errors import DataError

_BLOCK_BYTES = 4 << 20
_LONGEST_LINE = 256 << 20
_BOM = b"\xef\xbb\xbf"
#: Longer than what is cut off of a word, a number or an escape at the end of a piece of text.
_CUT_OFF = 16
_BLANK = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Lines:
    """Whole lines, and where they stand in their file."""

    parts: Sequence[npt.NDArray[np.uint8]]  #: of whole lines
    first: int  #: the number of the first one
    #: of records that stood in a list: the line at which each begins
    numbers: Sequence[int] | None = None
    start: int | None = None  #: the byte of the stream at which the first one begins, where they stand in it
    behind: int | None = None  #: the number of the line behind the last one, likewise

    @classmethod
    def of(
        cls,
        blocks: Iterable[bytes | memoryview],
        first: int,
        numbers: Sequence[int] | None = None,
        start: int | None = None,
        behind: int | None = None,
    ) -> Lines:
        """The lines in blocks of whole lines, which are not copied."""
        return cls(
            [np.frombuffer(block, np.uint8) for block in blocks if len(block)], first, numbers, start, behind
        )

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """(number, line) of each line that is not blank."""
        number = self.first
        for part in self.parts:
            block, start = part.tobytes(), 0
            while start < len(block):
                end = block.find(b"\n", start)
                end = len(block) if end < 0 else end
                line = block[start:end]
                if line and not line.isspace():
                    yield self.number(number), line
                start, number = end + 1, number + 1

    def number(self, place: int) -> int:
        """The number in its file of the line at `place`, counted from that of the first one."""
        return place if self.numbers is None else self.numbers[place - self.first]

    def one(self, place: int, line: npt.NDArray[np.uint8]) -> Lines:
        """The line at `place`, counted likewise."""
        return Lines([line], self.number(place))


def line_blocks(path: str, stream: Refilling, *, whole: bool = True) -> Iterator[Lines]:
    """The records of `stream` to its end, without a byte order mark.

    A stream that begins with ``[`` is one list, whose records come as lines of their own; every other one is
    lines already, and blank ones are still there.

    Args:
        path: names the file in errors.
        stream: is read forward.
        whole: whether the stream ends where its file does; otherwise a record that is cut off is left out.

    Raises:
        DataError: a line is too long, or the list is broken; the line is named.
    """
    pieces = _Pieces(path, stream)
    read = pieces.read()
    start = len(_BOM) if read[: len(_BOM)] == _BOM else 0
    if begins_a_list(bytes(read)):
        return _listed(pieces, read[start:], whole)
    return _as_they_stand(pieces, read[start:], whole, start)


class _Pieces:
    """A stream, read in pieces of such a size that there is room for what is made of them.

    Their memory is used again, once nobody looks at them.
    """

    def __init__(self, path: str, stream: Refilling) -> None:
        self.path, self._stream, self._budget = path, stream, Budget()
        self._memory = BlockMemory()
        self.size = min(_BLOCK_BYTES, self._budget.block_bytes)

    def read(self, size: int = 0) -> memoryview:
        """The next piece, of `size` bytes if that is more; empty at the end."""
        # A larger one is for a long value of a list, and not needed again.
        block = np.empty(size, np.uint8) if size > self.size else self._memory.lend(self.size)
        return block.data[: self._stream.readinto(block.data)]

    def check(self, line: int, size: int) -> None:
        """Refuses a line of `size` bytes or more that there is no room for.

        Raises:
            DataError: it is longer than the memory limit allows, or than any line may be.
        """
        where = f"{self.path}: line {line}"
        if size > _LONGEST_LINE:
            raise DataError(f"{where}: over {_LONGEST_LINE} bytes long, which is the most that is read")
        self._budget.check_row(size, where)

    def check_begun(self, line: int, size: int) -> None:
        """As `check`, of a line that goes on: where it is refused, how long it is in the end is found out."""
        try:
            self.check(line, size)
        except DataError:
            while size <= _LONGEST_LINE and (piece := self.read()):
                ends, begun, _ = _core.line_ends(np.frombuffer(piece, np.uint8))
                size += begun - 1 if ends else len(piece)
                if ends:
                    break
            self.check(line, size)
            raise


def begins_a_list(start: bytes) -> bool:
    """Whether a file that begins with `start` is one list, and not lines."""
    return start.removeprefix(_BOM).lstrip(b" \t\r\n").startswith(b"[")


def _as_they_stand(pieces: _Pieces, read: memoryview, whole: bool, start: int) -> Iterator[Lines]:
    pending: list[bytes] = []
    line, size = 1, 0
    while read:
        ends, begun, cut = _core.line_ends(np.frombuffer(read, np.uint8))
        # Of a line that ends in this piece, or not even there, everything before the piece is pending.
        if cut:
            pieces.check(line, size + begun - 1)
        else:
            pieces.check_begun(line, size + len(read))
        if cut:
            begun = begun if pending else 0
            parts = b"".join([*pending, read[:begun]]), read[begun:cut]
            made = [Lines.of(parts, line, start=start, behind=line + ends)]
            del parts
            start += size + cut
            pending, size = [], 0
            line += ends
            yield made.pop()  # which is not held here any longer than by whoever asked
        if cut < len(read):
            pending.append(bytes(read[cut:]))
            size += len(pending[-1])
        read = pieces.read()
    if pending and whole:
        yield Lines.of([b"".join(pending)], line, start=start, behind=line + 1)


def _listed(pieces: _Pieces, read: memoryview, whole: bool) -> Iterator[Lines]:
    text = _Text(pieces, read, whole)
    records: list[bytes] = []
    numbers: list[int] = []
    size = 0
    text.expect("[")
    more = not text.took("]")
    while more and (found := text.record()) is not None:
        numbers.append(found[0])
        records.append(found[1])
        size += len(found[1])
        del found
        if size >= pieces.size:
            yield Lines.of([b"\n".join(records)], 1, numbers)
            records, numbers, size = [], [], 0
        more = text.expect(",]") == ","
    if whole and text.begins():
        where = f"{pieces.path}: line {text.line}"
        raise DataError(f"{where}: expected the end of the file behind its list, got more")
    if records:
        yield Lines.of([b"\n".join(records)], 1, numbers)


class _Text:
    """The text of a stream, from the place that reading has come to."""

    def __init__(self, pieces: _Pieces, read: memoryview, whole: bool) -> None:
        self._pieces, self._path, self._whole = pieces, pieces.path, whole
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._records = json.JSONDecoder()
        self._text, self._at, self.line = "", 0, 1
        self._ended = False
        self._add(read)

    def _add(self, read: memoryview) -> None:
        self._ended = not read
        try:
            more = self._decoder.decode(bytes(read), final=self._ended and self._whole)
        except UnicodeDecodeError as error:
            raise DataError(f"{self._path}: behind line {self.line}: not UTF-8") from error
        self._text, self._at = self._text[self._at :] + more, 0

    def begins(self) -> bool:
        """Whether anything but white space is left; it is where reading goes on."""
        while True:
            match = _BLANK.match(self._text, self._at)
            end = match.end() if match else self._at
            self._go_to(end)
            if end < len(self._text) or self._ended:
                return end < len(self._text)
            self._add(self._pieces.read())

    def took(self, mark: str) -> bool:
        """Whether `mark` comes next; if so, reading goes on behind it."""
        found = self.begins() and self._text[self._at] == mark
        self._at += found
        return found

    def expect(self, marks: str) -> str:
        """The one of `marks` that comes next; empty where the stream is cut off before it."""
        for mark in marks:
            if self.took(mark):
                return mark
        if self._cut_off():
            return ""
        got = repr(self._text[self._at]) if self.begins() else "the end of the file"
        raise DataError(f"{self._path}: line {self.line}: expected {' or '.join(marks)} in a list, got {got}")

    def record(self) -> tuple[int, bytes] | None:
        """The line at which the value that comes next begins, and the value on one line.

        None where the stream is cut off within it.
        """
        self.begins()
        size = self._pieces.size
        while (end := self._end_of_value()) is None:
            if self._cut_off():
                return None
            self._pieces.check(self.line, len(self._text) - self._at)
            self._add(self._pieces.read(size))
            size *= 2  # so that a long value is not begun again for every block
        line, value = self.line, self._text[self._at : end]
        self._go_to(end)
        # No string of JSON has a line end in it.
        return line, value.replace("\n", " ").replace("\r", " ").encode()

    def _end_of_value(self) -> int | None:
        """Where the value ends that comes next; None where that takes more text."""
        try:
            _, end = self._records.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated") or error.pos + _CUT_OFF > len(self._text)
            if cut and not (self._ended and self._whole):
                return None
            line = self.line + self._text.count("\n", self._at, error.pos)
            raise DataError(f"{self._path}: line {line}: {one_line(error.msg)}") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self._path}: line {self.line}: {one_line(error)}") from error
        return end if end < len(self._text) or self._ended else None

    def _cut_off(self) -> bool:
        """Whether the stream is at its end, and its file goes on."""
        return self._ended and not self._whole

    def _go_to(self, place: int) -> None:
        self.line += self._text.count("\n", self._at, place)
        self._at = place
