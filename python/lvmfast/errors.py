"""The exceptions of lvmfast. The CLI turns them into exit codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lvmfast.shown import line


class LvmfastError(Exception):
    """Base of everything that lvmfast raises on purpose. Its text is one line, safe to print."""

    def __str__(self) -> str:
        """The message, whatever names and values from outside stand in it."""
        return line(super().__str__())


class DataError(LvmfastError, ValueError):
    """Bad usage or bad data: one line that names the file, the key, what was expected and what was found.

    The CLI's exit code 2. Nothing was written.
    """


class IncompleteError(LvmfastError):
    """Something that was to be complete is not, and can be completed. The CLI's exit code 3."""


class LeakError(LvmfastError):
    """A scan found a leak; raised by ``LeakReport.raise_if_leaky``. The CLI's exit code 1."""


class CoreError(LvmfastError):
    """The Rust core panicked: a bug, and no verdict. The CLI's exit code 2."""


class OutputError(LvmfastError):
    """What was to be printed was not, so that nobody saw a verdict. The CLI's exit code 2."""


def reason(error: OSError) -> str:
    """What the system says, without its number and the path."""
    return error.strerror or str(error)


@contextmanager
def naming(place: object, failure: str) -> Iterator[None]:
    """Turns what the system says in the block into a DataError: `place`: `failure`: and why.

    Raises:
        DataError: as the block raises OSError.
    """
    try:
        yield
    except OSError as error:
        raise DataError(f"{place}: {failure}: {reason(error)}") from error


def missing_extra(purpose: str, extra: str, error: ImportError) -> DataError:
    """The error of work that needs libraries which a plain installation leaves out."""
    return DataError(f"{purpose} needs {error.name}: pip install 'lvmfast[{extra}]'")
