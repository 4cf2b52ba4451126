"""What every page is made with: templates that escape all data and show what would hide in it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

#: Characters that change the order of the text around them, or that nobody sees.
INVISIBLE = frozenset(
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
)


def template(name: str, **filters: Callable[[Any], str]) -> Template:
    """The template `name` of this folder, with `filters` and ``words`` (a name without underscores)."""
    # Here and not above: what draws no page starts without it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("lvmfast", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters |= {"words": lambda name: str(name).replace("_", " "), **filters}
    return environment.get_template(name)


def visible(text: str) -> str:
    """`text` with control characters and changes of direction written out: it reads as it is stored."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    plain = character not in INVISIBLE and unicodedata.category(character) not in ("Cc", "Cs", "Cn")
    if character in "\n\t" or plain:
        return character
    return f"\u27e8U+{ord(character):04X}\u27e9"
