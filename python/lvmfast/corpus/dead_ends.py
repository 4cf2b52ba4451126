"""Why names and paths lead nowhere, with the nearest that exist."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from lvmfast.corpus.expressions import Expression, Field, Items, Path, inside

#: What is said of a text for which rows have none.
NOTHING = "finds nothing"
#: Values that a message names.
_NAMED = 10


def nearest(name: str, names: Collection[str]) -> str:
    """Of what there is, the name that is most like `name`, for the middle of a message; empty if none is."""
    close = get_close_matches(name, [other for other in names if other != name], 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def dead_end(made: Expression, rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Why none of `rows` has a text; None where one has one, or cannot be read, or where there are none."""
    try:
        if not rows or any(made.of_row(row) is not None for row in rows):
            return None
        found = (_dead_end(path, rows) for path in made.paths)
        return next((why for why in found if why is not None), None)
    except ValueError:
        return None


def _dead_end(path: Path, rows: Sequence[Mapping[str, Any]]) -> str | None:
    values, so_far = [row.get(path.head) for row in rows], path.head
    for step in path.steps:
        if all(value is None for value in values):
            break
        found = [inner for value in values for inner in inside(step, value)]
        if isinstance(step, Field):
            names = list(dict.fromkeys(name for value in values if value is not None for name in value))
            if step.name not in names:
                there = _listed(names)
                return f"no {step.name!r} in {so_far}{nearest(step.name, names)}; there is {there}"
        elif not found and (items := [item for value in values if value is not None for item in value]):
            if step.field is None:
                return f"no {so_far} has an item {step.place}"
            field = Field(step.field)
            said = sorted({str(inside(field, item)[0]) for item in items})
            like = nearest(step.value, said)
            return f"no {step.field} in {so_far} is {step.value!r}{like}; there is {_listed(said)}"
        values, so_far = found, so_far + _written(step)
    return None  # what it leads to is null: that is counted, and no mistake in the path


def _written(step: Field | Items) -> str:
    if isinstance(step, Field):
        return f".{step.name}"
    if step.field is not None:
        return f"[{step.field}={step.value}]"
    return "[*]" if step.place is None else f"[{step.place}]"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(name[:40] for name in names[:_NAMED]) or "nothing") + more
