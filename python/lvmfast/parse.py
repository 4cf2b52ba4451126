"""The one place that reads JSON and TOML, of ours and of others: bounded, and typed where it is used."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from lvmfast.errors import DataError

#: Bytes of the largest file that is read: a summary states some hundred bytes for each input file.
MOST_BYTES = 256 << 20
#: Lists and objects inside one another.
MOST_DEPTH = 100


def read_bytes(path: str | os.PathLike[str], most: int = MOST_BYTES) -> bytes:
    """A whole small file.

    Raises:
        DataError: it cannot be read, or is larger than `most` bytes.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = b"" if size > most else file.read(most + 1)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if max(size, len(content)) > most:
        raise DataError(f"{path}: expected a file of at most {most:,} bytes, got {size:,}")
    return content


def read_text(path: str | os.PathLike[str]) -> str:
    """The UTF-8 text of a small file.

    Raises:
        DataError: it cannot be read, is too large, or is no text.
    """
    return decoded(str(path), read_bytes(path))


def decoded(where: str, content: bytes) -> str:
    """UTF-8 text; `where` names it in errors.

    Raises:
        DataError: it is no text.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: expected UTF-8 text, found byte {error.start} outside it") from error


def read_json(path: str | os.PathLike[str], most: int = MOST_BYTES, *, nan: bool = True) -> Any:
    """What a JSON file holds, as `parse_json`.

    Raises:
        DataError: as `parse_json`, or it cannot be read.
    """
    return parse_json(str(path), read_bytes(path, most), most, nan=nan)


def parse_json(where: str, content: bytes | str, most: int = MOST_BYTES, *, nan: bool = True) -> Any:
    """What JSON says; `where` names it in errors.

    Args:
        where: a file, and the line or field in it.
        content: UTF-8.
        most: bytes that are parsed.
        nan: whether NaN and Infinity may stand there, as Python and other trainers write them.

    Raises:
        DataError: it is no JSON, is cut off, is larger than `most` bytes, holds lists in lists more than
            `MOST_DEPTH` deep, a whole number beyond 64 bits, or text that UTF-8 cannot write.
    """
    if len(content) > most:
        raise DataError(f"{where}: expected JSON of at most {most:,} bytes, got {len(content):,}")
    text = content if isinstance(content, str) else decoded(where, content)
    try:
        value = json.loads(text, parse_int=_integer, parse_constant=None if nan else _no_constant)
    except json.JSONDecodeError as error:
        if not text[error.pos :].strip() or error.msg.startswith("Unterminated string"):
            raise DataError(f"{where}: expected JSON, cut off after {len(text)} characters") from error
        place = f"line {error.lineno}: " if "\n" in text else ""
        raise DataError(f"{where}: expected JSON: {place}{error.msg}") from error
    except RecursionError as error:
        raise DataError(f"{where}: expected JSON, nested too deeply") from error
    except ValueError as error:  # of the two functions below
        raise DataError(f"{where}: expected JSON: {error}") from error
    if text.count("[") + text.count("{") > MOST_DEPTH and _deeper(value, MOST_DEPTH):
        raise DataError(
            f"{where}: expected JSON, nested too deeply: more than {MOST_DEPTH} lists and objects"
        )
    if "\\u" in text or isinstance(content, str):
        _check_unicode(where, value)
    return value


def _integer(text: str) -> int:
    """Whole numbers beyond 64 bits are no figure of any file, and overflow whatever takes them."""
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise ValueError(f"a whole number of {len(text.removeprefix('-')):,} digits, beyond 64 bits")
    return int(text)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no number")


def _deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterator[Any]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (inner for inner in inside if isinstance(inner, (dict, list)))


def _check_unicode(where: str, value: Any) -> None:
    """Half of a surrogate pair is no character: nothing that is written in UTF-8 could repeat it."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: expected text, got half of a surrogate pair, which is none") from error


def without_nan(value: Any) -> Any:
    """JSON whose NaN and infinities are null: it has no name for them."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def as_documented(path: object) -> Iterator[None]:
    """Refuses a document that lacks what docs/output.md says of it, or has it in another type.

    Raises:
        DataError: in place of whatever that led to.
    """
    try:
        yield
    except DataError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise DataError(f"{path}: is not as docs/output.md has it: {error!r:.120}") from error


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a TOML file holds.

    Raises:
        DataError: it cannot be read, or is no TOML.
    """
    if sys.version_info >= (3, 11):  # here and not above: most commands read none
        import tomllib
    else:
        import tomli as tomllib

    text = read_text(path)
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: expected TOML: {error}") from error
    return tables


class Fields:
    """An object of JSON, whose values are had by name and type.

    Each method takes a name; all but `fields` and `list` take a default for where it is missing or null.
    """

    def __init__(self, where: str, value: Any) -> None:
        """Holds `value` to be an object; `where` names it in errors.

        Raises:
            DataError: it is none.
        """
        if not isinstance(value, dict):
            raise DataError(f"{where}: expected an object, got {kind(value)}")
        self.where = where
        self.values: dict[str, Any] = value

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        value = self._get(name, default)
        if not isinstance(value, str):
            self._refuse(name, "text", value)
        return value

    def integer(self, name: str, default: int | None = None, *, least: int = 0) -> int:
        """A whole number from `least` that 64 bits hold."""
        value = self._get(name, default)
        whole = isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**63
        if not whole:
            self._refuse(name, f"a whole number from {least}", value)
        return int(value)

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self._refuse(name, "a finite number", value)
        return float(value)

    def boolean(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            self._refuse(name, "true or false", value)
        return value

    def fields(self, name: str) -> Fields:
        """An object."""
        return Fields(f"{self.where}: {name}", self._get(name, None))

    def list(self, name: str) -> list[Any]:
        """A list."""
        value = self._get(name, None)
        if not isinstance(value, list):
            self._refuse(name, "a list", value)
        return value

    def _get(self, name: str, default: Any) -> Any:
        value = self.values.get(name)
        return default if value is None else value

    def _refuse(self, name: str, expected: str, value: Any) -> NoReturn:
        found = kind(value) if name in self.values else "nothing"
        raise DataError(f"{self.where}: {name}: expected {expected}, got {found}")


def kind(value: Any) -> str:
    """What a value of JSON is called in a message: its type, or itself where it is short."""
    names = {dict: "an object", list: "a list", bool: "true or false", type(None): "null"}
    if type(value) in names:
        return names[type(value)]
    return f"{value!r:.60}"
