"""What every page is made with: templates that escape all data and show what would hide in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lvmfast.shown import visible

if TYPE_CHECKING:
    from jinja2 import Template


def template(name: str, **filters: Callable[[Any], str]) -> Template:
    """The template `name` of this folder, with `filters` and ``words`` (a name without underscores)."""
    # Here and not above: what draws no page starts without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from lvmfast.report.compiled import FOLDER, CompiledTemplates

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        bytecode_cache=CompiledTemplates(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value, keep="\n\t") if type(value) is str else value,
    )
    environment.filters |= {"words": lambda name: str(name).replace("_", " "), **filters}
    return environment.get_template(name)
