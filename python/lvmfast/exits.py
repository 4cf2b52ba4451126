"""The exit codes: the only place that makes one, and the only one where 1 is given."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from enum import IntEnum

from lvmfast.ending import leave
from lvmfast.errors import CoreError, IncompleteError, LvmfastError
from lvmfast.interrupts import EXIT_INTERRUPTED, INTERRUPTS, NO_THREADS
from lvmfast.shown import tell
from lvmfast.streams import flush_stdout

EXIT_BAD_INPUT = 2
EXIT_INCOMPLETE = 3


class Answer(IntEnum):
    """What a command returns once its report stands: the exit code."""

    YES = 0  #: clean, passed, verified, done
    NO = 1  #: a leak, a failed gate, a failed verification
    INCOMPLETE = EXIT_INCOMPLETE


def exit_code(command: Callable[[], Answer]) -> int:
    """The code of what `command` answers, once that is printed; else 2, 3 or 130, and a line on stderr."""
    try:
        answer = command()
        flush_stdout()
        if INTERRUPTS.seen:
            raise KeyboardInterrupt
        if not isinstance(answer, Answer):
            raise TypeError(f"expected an answer, got {answer!r}")
        return int(answer)
    except BaseException as error:
        if INTERRUPTS.seen and not isinstance(error, KeyboardInterrupt):
            error = KeyboardInterrupt()  # a library made something else of it
        tell(*_lines(error))
        if isinstance(error, KeyboardInterrupt):
            return EXIT_INTERRUPTED
        return EXIT_INCOMPLETE if isinstance(error, IncompleteError) else EXIT_BAD_INPUT


def _lines(error: BaseException) -> Iterator[str]:
    """What is told of an error: one line, unless it is a bug."""
    if getattr(error, "told", False):  # by another process of the run
        return
    if isinstance(error, KeyboardInterrupt):  # with what is left to say, where something was written
        yield f"lvmfast: interrupted; {str(error) or 'nothing was written'}"
    elif isinstance(error, LvmfastError) and not isinstance(error, CoreError):
        yield f"lvmfast: {error}"
    elif isinstance(error, MemoryError):
        yield f"lvmfast: out of memory: {_plain(error)}; no verdict"
    elif isinstance(error, ImportError):
        yield f"lvmfast: a library cannot be loaded: {_plain(_first(error))}"
    elif isinstance(error, OSError) and error.errno is not None:
        named = f"{error.filename}: " if error.filename else ""
        yield f"lvmfast: {named}{error.strerror}"
    elif isinstance(error, UnicodeEncodeError):
        yield "lvmfast: the name of a file or folder is not UTF-8, and cannot be written down; rename it"
    elif isinstance(error, RuntimeError) and "start new thread" in str(error):
        yield NO_THREADS
    else:
        for text in traceback.format_exception(error):
            yield from text.rstrip("\n").split("\n")
        yield "lvmfast: a bug, not a verdict; please report the lines above"


def _first(error: BaseException) -> BaseException:
    """Where a chain of import errors began: what wraps it gives pages of advice."""
    while isinstance(cause := error.__cause__ or error.__context__, ImportError):
        error = cause
    return error


def _plain(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def end_process(command: Callable[[], Answer]) -> None:
    """`exit_code`, and the end of the process."""
    try:
        code = exit_code(command)
    except BaseException:  # a second Ctrl-C while the first was told
        code = EXIT_INTERRUPTED if INTERRUPTS.seen else EXIT_BAD_INPUT
    leave(code)
