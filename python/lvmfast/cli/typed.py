"""Commands of click that take what a function takes: names, types and defaults are those of its signature.

What else there is to say of a parameter is in its annotation::

    def monitor(epoch: Annotated[int, typed.Option(min=0, help="Epoch to judge.")] = 2) -> Answer: ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click


class Option:
    """A parameter that is an option. A bool without names of its own is a pair, ``--quiet/--no-quiet``."""

    def __init__(self, *names: str, **attributes: Any) -> None:
        """Names in place of the parameter's; what `click.Option` takes; ``min``; ``group``, for the help."""
        self.names, self.attributes = names, attributes

    def made(self, parameter: inspect.Parameter) -> click.Parameter:
        """The option that click parses."""
        kind, several = _kind(parameter)
        name = parameter.name.replace("_", "-")
        names = self.names or (f"--{name}/--no-{name}" if kind is bool else f"--{name}",)
        attributes = {"show_default": True, "multiple": several, **self.attributes}
        if kind is bool:
            attributes["is_flag"] = True
        else:
            attributes["type"] = _type(kind, attributes.pop("min", None))
        return _Option([parameter.name, *names], **attributes, **_default(parameter, several))


class Argument:
    """A parameter that is an argument, explained in the help as options are."""

    def __init__(self, *, help: str, metavar: str | None = None) -> None:
        """As of `click.Option`."""
        self._help, self._metavar = help, metavar

    def made(self, parameter: inspect.Parameter) -> click.Parameter:
        """The argument that click parses."""
        kind, several = _kind(parameter)
        attributes = _default(parameter, several)
        explained = self._help
        if "default" not in attributes:
            explained += "  [required]"
        elif attributes["default"] is not None:
            explained += f"  [default: {attributes['default']}]"
        return _Argument(
            explained,
            [parameter.name],
            type=_type(kind, None),
            nargs=-1 if several else 1,
            metavar=self._metavar,
            **attributes,
        )


class _Option(click.Option):
    def __init__(self, *args: Any, group: str = "options", **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group


class _Argument(click.Argument):
    group = "arguments"

    def __init__(self, explained: str, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self._explained = explained

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        return self.make_metavar(ctx), self._explained


class Command(click.Command):
    """A command that takes what its function takes, with a help by groups of parameters."""

    def __init__(
        self, name: str, *, callback: Callable[..., Any], params: Any = None, **attributes: Any
    ) -> None:
        """As `click.Command`; parameters are those of the callback."""
        super().__init__(name, callback=callback, params=parameters(callback), **attributes)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes a section for each group, in the order of the options."""
        groups: dict[str, list[tuple[str, str]]] = {"arguments": [], "options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(parameter, "group", "options"), []).append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name.capitalize()):
                    formatter.write_dl(records)


class Group(click.Group):
    """A command of commands, which its decorator `command` makes of functions."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of their declaration."""
        return list(self.commands)


def parameters(function: Callable[..., Any]) -> list[click.Parameter]:
    """Those of a function that are annotated as options and arguments."""
    signature = inspect.signature(function, eval_str=True)
    return [
        said.made(parameter)
        for parameter in signature.parameters.values()
        for said in getattr(parameter.annotation, "__metadata__", ())
    ]


def _kind(parameter: inspect.Parameter) -> tuple[Any, bool]:
    """The type of a value, and whether there can be several: of ``list[str] | None`` str, and True."""
    kind = parameter.annotation.__origin__
    if type(None) in get_args(kind):
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    return (get_args(kind)[0], True) if get_origin(kind) is list else (kind, False)


def _type(kind: Any, least: float | None) -> Any:
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if least is not None:
        return click.IntRange(min=int(least)) if kind is int else click.FloatRange(min=least)
    if issubclass(kind, Enum):
        return click.Choice(kind)
    return click.Path(path_type=Path) if kind is Path else kind


def _default(parameter: inspect.Parameter, several: bool) -> dict[str, Any]:
    """What click takes of a default. Several values are a list, as the function says; none, the default."""
    if parameter.default is parameter.empty:
        attributes: dict[str, Any] = {"required": True}
    else:
        attributes = {"default": parameter.default}
    if several:
        none = attributes.get("default")
        attributes["callback"] = lambda context, made, values: list(values) if values else none
    return attributes
