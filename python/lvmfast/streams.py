"""stdout and stderr of the command: a verdict that cannot be printed is an error, a message is not."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from lvmfast.errors import OutputError, reason

if TYPE_CHECKING:
    from typing import TextIO

    from _typeshed import ReadableBuffer


class _Output(io.RawIOBase):
    """A file descriptor. Once it could not be written, the rest goes nowhere."""

    def __init__(self, number: int, *, needed: bool) -> None:
        self._number, self._needed = number, needed
        self.failed: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: ReadableBuffer) -> int:
        size = memoryview(data).nbytes
        if self.failed is not None:
            return size
        try:
            return os.write(self._number, data)
        except OSError as error:
            self.failed = error
            if self._needed:
                raise OutputError(_unwritten(reason(error))) from error
            return size


def _unwritten(why: str) -> str:
    return f"stdout: cannot be written: {why}; the answer is incomplete, so it counts as none"


def open_streams() -> None:
    """Puts streams in place of `sys.stdout` and `sys.stderr` that print every character in some form.

    Raises:
        OutputError: stdout is closed.
    """
    closed = sys.stdout is None
    for number in range(3):  # a file that is opened later must not get the number of a closed stream
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stderr = _text(sys.stderr, _Output(2, needed=False), line_buffering=True)
    sys.stdout = _text(sys.stdout, _Output(1, needed=True), line_buffering=os.isatty(1))
    if closed:
        raise OutputError(_unwritten("it is closed"))


def _text(stream: TextIO | None, output: _Output, *, line_buffering: bool) -> io.TextIOWrapper:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    buffer = io.BufferedWriter(output)
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=line_buffering)


def flush_stdout() -> None:
    """Returns when all that was printed is out.

    Raises:
        OutputError: it is not.
    """
    sys.stdout.flush()
    output = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(output, _Output) and output.failed is not None:  # and something swallowed the error
        raise OutputError(_unwritten(reason(output.failed)))
