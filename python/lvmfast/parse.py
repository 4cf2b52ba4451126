"""Small JSON and TOML files that people and other programs write."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lvmfast.errors import DataError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_text(path: Path) -> str:
    """The UTF-8 text of a file.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text, found byte {error.start} outside it") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds; NaN and Infinity are read as Python writes them.

    Raises:
        DataError: it cannot be read, or is no JSON; a file that is cut off is called so.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if not text[error.pos :].strip() or error.msg.startswith("Unterminated string"):
            raise DataError(f"{path}: expected JSON, cut off after {len(text)} characters") from error
        raise DataError(f"{path}: expected JSON: line {error.lineno}: {error.msg}") from error
    except RecursionError as error:
        raise DataError(f"{path}: expected JSON, nested too deeply") from error


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file holds.

    Raises:
        DataError: it cannot be read, or is no TOML.
    """
    text = read_text(path)
    try:
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: expected TOML: {error}") from error
    return tables
