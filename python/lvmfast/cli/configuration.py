"""`lvmfast.toml`: options of commands in a file, under the command line.

A table for each command, a key for each of its options::

    [leakscan]
    train = ["data/train"]
    min-chars = 32
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvmfast.errors import DataError
from lvmfast.parse import read_toml
from lvmfast.shown import tell

FILE = "lvmfast.toml"


class Configuration:
    """What a file says of the options of commands, and which of it the command that runs goes by."""

    def __init__(self) -> None:
        """No file."""
        self._file = ""
        self._read: list[str] = []

    def options(self, given: Path | None, commands: Sequence[str], asked: str | None, command: Any) -> Any:
        """What click takes as defaults for the command `asked`; None where no file says anything of it.

        Args:
            given: the file, or None for `FILE` in the working folder, which need not be there.
            commands: the names that tables can have.
            asked: the name of the command that runs.
            command: it, with its parameters.

        Raises:
            DataError: the file cannot be read, or has a table, a key or a value that no command has.
        """
        self._read = []
        path = Path(FILE) if given is None else given
        if given is None and not path.is_file():
            return None
        self._file = str(path)
        tables = read_toml(path)
        for name, table in tables.items():
            if name not in commands or not isinstance(table, dict):
                hint = _nearest(name, commands)
                raise DataError(f"{path}: {name}: expected a table of a command, [leakscan] for one{hint}")
        if asked is None or asked not in tables:
            return None
        return {asked: self._of(command, tables[asked], asked)}

    def blamed(self, message: str) -> str:
        """Where an option that a message is about was read from: the end of a line."""
        return f" (in {self._file})" if any(f"'{option}'" in message for option in self._read) else ""

    def tell(self) -> None:
        """Says which options were read from the file, if any was."""
        if self._read:
            tell(f"options from {self._file}: {', '.join(self._read)}")
        self._read = []

    def _of(self, command: Any, table: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The values of a command's table by the names of its parameters; those of its commands in it."""
        below: Mapping[str, Any] = getattr(command, "commands", {})
        known = {} if below else {name: each for each in command.params for name in _names(each)}
        found: dict[str, Any] = {}
        for key, value in table.items():
            name = key.replace("-", "_")
            if key in below and isinstance(value, dict):
                found[key] = self._of(below[key], value, f"{where}.{key}")
            elif name in known:
                parameter = known[name]
                found[parameter.name] = self._value(parameter, value, f"{where}: {key}")
            else:
                if below:
                    tables = ", ".join(f"[{where}.{each}]" for each in below)
                    raise DataError(f"{self._file}: {where}: {key}: expected one of the tables {tables}")
                line, hint = f"lvmfast {where.replace('.', ' ')}", _nearest(name, list(known))
                raise DataError(f"{self._file}: {where}: {key}: `{line}` has no such option{hint}")
        return found

    def _value(self, parameter: Any, value: Any, where: str) -> Callable[[], Any]:
        """The value, as something that click calls where the command line says nothing of the parameter."""
        several = parameter.multiple or parameter.nargs == -1
        values = value if several and isinstance(value, list) else [value]
        flag = bool(getattr(parameter, "is_flag", False))
        for each in values:
            if isinstance(each, (list, dict)) or isinstance(each, bool) != flag:
                expected = "true or false" if flag else f"a value{' or a list of them' if several else ''}"
                raise DataError(f"{self._file}: {where}: expected {expected}, got {each!r:.60}")

        def read() -> Any:
            option = next(iter(parameter.opts))
            if option not in self._read:
                self._read.append(option)
            return [str(each) for each in values] if several else value if flag else str(value)

        return read


def _names(parameter: Any) -> list[str]:
    """What a parameter is called in a file: as its option, with either dash."""
    return [option.lstrip("-").replace("-", "_") for option in parameter.opts if option != "--help"]


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"; did you mean {near[0].replace('_', '-')}?" if near else f"; expected one of {_shown(known)}"


def _shown(known: Sequence[str]) -> str:
    return ", ".join(name.replace("_", "-") for name in dict.fromkeys(known))


CONFIGURATION = Configuration()
