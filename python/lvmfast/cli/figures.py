"""Options made of a dataclass of figures: one for each field, in groups, so that none can be forgotten."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import Field, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from lvmfast.exits import Answer

Command = TypeVar("Command", bound=Callable[..., Answer])


def figure_options(figures: type, recipes: Collection[str]) -> Callable[[Command], Command]:
    """Gives a command that takes `**figures` an option for each field; those not given are None.

    Args:
        figures: a dataclass whose fields have `group` and `meaning` in their metadata.
        recipes: fields whose default hangs on the recipe.
    """
    types = get_type_hints(figures)

    def with_options(command: Command) -> Command:
        signature = inspect.signature(command)
        own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        made = []
        for field in fields(figures):
            plain = list[str] if types[field.name] == tuple[str, ...] else types[field.name]
            option = typer.Option(
                metavar=_metavar(field),
                help=_help(field, recipes),
                rich_help_panel=field.metadata["group"],
                show_default=False,
            )
            annotation = Annotated[plain | None, option]  # type: ignore[valid-type]
            made.append(
                inspect.Parameter(
                    field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
                )
            )
        hints = get_type_hints(command, include_extras=True)
        own = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + made
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return with_options


#: What texts are that are no words of a list.
_METAVARS = {
    **dict.fromkeys(("train", "val", "payload"), "PATH"),
    "ignore": "GLOB",
    "columns": "NAME=FIELD",
    "gates": "SET",
    "recipe": "RECIPE",
    "device": "DEVICE",
}


def _metavar(field: Field[Any]) -> str | None:
    """What stands behind an option: one of some words, a path, ...; None where its type says it."""
    known = getattr((field.metadata["check"] or (None,))[-1], "known", None)
    return "|".join(known) if known is not None else _METAVARS.get(field.name)


def _help(field: Field[Any], recipes: Collection[str]) -> str:
    if field.name in recipes:
        return f"{field.metadata['meaning']}  [from the recipe]"
    shown = ("off", "on")[field.default] if isinstance(field.default, bool) else field.default
    return str(field.metadata["meaning"]) + ("" if shown in ((), "") else f"  [{shown}]")


def given(figures: dict[str, Any]) -> dict[str, Any]:
    """Those that were."""
    return {name: value for name, value in figures.items() if value is not None and value != []}
