"""How commands show their options and arguments, and how commands are listed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from lvmfast.cli.conversion import converting_at_once

Function = TypeVar("Function", bound=Callable[..., Any])

#: What stands in a help for a value of a type, where an option has no word of its own for it.
WORDS = {"int": "N", "float": "NUMBER", "str": "TEXT", "path": "PATH", "Path": "PATH"}
_TYPE = re.compile(r"<(?:list\[)?(\w+)(?: range)?\]?>")
_CHOICES = re.compile(r"<((?:[\w-]+\|)+[\w-]+)>")


class Command(TyperCommand):
    """A command whose help names values by what they are, and not by the types of Python."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As of typer; values that need no library to be converted load none."""
        return converting_at_once(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """``[OPTIONS] TRAIN...``: arguments by their names, those that may be left out in brackets."""
        arguments = [each for each in self.get_params(ctx) if each.param_type_name == "argument"]
        return [self.options_metavar or "", *map(_argument, arguments)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes a section for arguments, and one for each group of options, in their order."""
        for name, records in sections(self, ctx).items():
            with formatter.section(name.capitalize()):
                formatter.write_dl(records)


class App(typer.Typer):
    """Commands whose help is that of `Command`."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **how: Any
    ) -> Callable[[Function], Function]:
        """As of `typer.Typer`."""
        return super().command(name, cls=cls or Command, **how)


def sections(command: Any, ctx: Any) -> dict[str, list[tuple[str, str]]]:
    """What the help of a command says of its arguments and options: (name and value, text) by section."""
    found: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        if parameter.param_type_name == "argument":
            found.setdefault("arguments", []).append((_argument(parameter), record[1]))
        else:
            group = getattr(parameter, "rich_help_panel", None) or "options"
            found.setdefault(group, []).append((_in_words(record[0]), record[1]))
    return found


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name.upper())
    if parameter.nargs != 1 and not name.endswith("..."):
        name += "..."
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _in_words(shown: str) -> str:
    return _CHOICES.sub(r"\1", _TYPE.sub(lambda found: WORDS.get(found[1], found[1].upper()), shown))
