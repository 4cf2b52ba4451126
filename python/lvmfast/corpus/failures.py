"""Errors of zip, Arrow and the operating system, retold as one-line `DataError`s."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from lvmfast.errors import DataError, reason

_LONGEST = 240


class FieldError(DataError):
    """A field of a row does not hold what its column does; the rest of the file may be in order."""


def one_line(error: object) -> str:
    """The message of a foreign error on one line, cut to a readable length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turns what a library raises over bad bytes in the file `name` into a DataError that names it."""
    try:
        yield
    except DataError:
        raise
    except UnicodeEncodeError as error:
        raise DataError(f"{name}: expected a name in UTF-8; rename it, or link to it") from error
    except OSError as error:
        raise DataError(f"{name}: {one_line(reason(error))}") from error
    except (
        pa.ArrowMemoryError
    ) as error:  # of the machine, or of a file that claims to hold more than any machine
        raise DataError(f"{name}: out of memory: {one_line(error)}") from error
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        UnicodeError,
        pa.ArrowException,
    ) as error:
        raise DataError(f"{name}: {one_line(error)}") from error
