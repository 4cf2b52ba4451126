"""What the values of options become, where it takes no library: typer loads pydantic for each of them.

Loading it and building an adapter for every option takes as long as a scan of two small files, and most
values are what the option wants as they stand: its default, or text. Those, plain numbers and words of a
choice are converted here; the rest, and whatever is refused, is left to typer, with its rules and words.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, get_args, get_origin

_NUMBERS = {int: re.compile(r"[0-9]{1,18}", re.A), float: re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.A)}


def converting_at_once(parameters: list[Any]) -> list[Any]:
    """The parameters, which convert by `converted` what it knows; a typer without pydantic keeps its own."""
    for parameter in parameters:
        adapter = getattr(parameter, "get_runtime_param", None)
        if adapter is not None and not isinstance(adapter, _Conversion):
            parameter.get_runtime_param = _Conversion(parameter, adapter)
    return parameters


class _Conversion:
    """What typer asks for a parameter's value, in place of an adapter of pydantic."""

    def __init__(self, parameter: Any, adapter: Any) -> None:
        self._type, self._ranged = parameter.type_descriptor.annotation, parameter.type_descriptor.is_ranged
        self._adapter = adapter

    def __call__(self) -> _Conversion:
        return self

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value, of the type that the parameter has; none where it is not given."""
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        found = None if self._ranged else converted(value, self._type)
        return self._adapter().coerce(value, param=param, ctx=ctx) if found is None else found


def converted(value: Any, to: Any) -> Any:
    """`value` as `to` (str, int, float, an Enum, or a list of one); None where it takes more than a look."""
    if get_origin(to) is list and isinstance(value, (list, tuple)):
        values = [converted(each, *get_args(to)) for each in value]
        return None if None in values else values
    if to not in (str, int, float) and not (isinstance(to, type) and issubclass(to, Enum)):
        return None
    if type(value) is to:
        return value
    if type(value) is not str:
        return None
    if to in _NUMBERS:
        return to(value) if _NUMBERS[to].fullmatch(value) else None
    return next((each for each in to if each.value == value), None)
