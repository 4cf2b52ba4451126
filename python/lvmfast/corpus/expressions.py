"""Texts made of fields: `data.question`, `messages[*].content`, `"{question} {choices}"`.

An expression is a path, several paths joined by ``+``, or a template with paths in braces. A path begins with
a field; ``.name`` goes to a field inside it, ``[*]`` to all items of a list, ``[2]`` to one (from 0), and
``[role=user]`` to those whose field has that value. Several texts of a row become one. Integers are written
in digits; of a list of content parts (``{"type": "text", "text": ...}``) in which a path ends it takes the
texts; anything else is no text. Where a path finds nothing in a row, a template has no text there; of
paths joined by ``+`` the others are left.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.arrow_types import is_list, meant_type, plain, plain_type
from lvmfast.corpus.dataset import ITEM_COLUMNS, Column
from lvmfast.corpus.values import SEPARATOR

_NAME = r"[^\s.\[\]{}+=]+"
_STEP = re.compile(rf"\.(?P<name>{_NAME})|\[\*\]|\[(?P<place>\d+)\]|\[(?P<field>{_NAME})=(?P<value>[^\]]+)\]")
_HEAD = re.compile(_NAME)
_BRACED = re.compile(r"\{([^{}]*)\}")
_Parents = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Field:
    """The field inside an object that has this name."""

    name: str

    @property
    def for_core(self) -> tuple[str, str, str]:
        """Kind, name and value."""
        return "field", self.name, ""


@dataclass(frozen=True)
class Items:
    """Items of a list: all, the one at `place`, or those in which `field` has `value`."""

    place: int | None = None
    field: str | None = None
    value: str = ""

    @property
    def for_core(self) -> tuple[str, str, str]:
        """Kind, name and value."""
        if self.place is not None:
            return "item", str(self.place), ""
        return ("items", "", "") if self.field is None else ("those", self.field, self.value)


_Step = Field | Items


@dataclass(frozen=True)
class Path:
    """From a field of a row to values inside it."""

    head: str
    steps: tuple[_Step, ...]


@dataclass(frozen=True)
class Expression:
    """A text made of fields of a row."""

    paths: tuple[Path, ...]
    template: tuple[str, ...] | None  #: what stands before, between and behind the paths; None: joined
    joint: str = "\n"  #: between several texts

    @property
    def heads(self) -> tuple[str, ...]:
        """The fields it reads."""
        return tuple(dict.fromkeys(path.head for path in self.paths))

    @property
    def chooses(self) -> bool:
        """Whether a path goes to some items of a list alone."""
        steps = [step for path in self.paths for step in path.steps]
        return any(isinstance(step, Items) and step != Items() for step in steps)

    @property
    def for_core(self) -> tuple[list[tuple[str, list[tuple[str, str, str]]]], tuple[str, ...] | None, str]:
        """As the core's reader of lines takes it."""
        paths = [(path.head, [step.for_core for step in path.steps]) for path in self.paths]
        return paths, self.template, self.joint

    def refusal(self, types: Mapping[str, pa.DataType]) -> str | None:
        """Why fields of these Arrow types cannot make it, or None."""
        return next(filter(None, (_refusal(path, types[path.head]) for path in self.paths)), None)

    def of_columns(self, columns: Mapping[str, pa.Array], rows: int) -> pa.Array:
        """Its text in each of `rows` rows, large_string, null where a row has none.

        Raises:
            pyarrow.ArrowInvalid: what stands there is no text.
        """
        import pyarrow.compute as pc

        found = [_found(path, columns[path.head]) for path in self.paths]
        if self.template is None:
            return self._joined(found, rows)
        pieces: list[Any] = [pa.scalar(self.template[0], pa.large_string())]
        for part, behind in zip(found, self.template[1:], strict=True):
            pieces += [self._joined([part], rows), pa.scalar(behind, pa.large_string())]
        return pc.binary_join_element_wise(*pieces, pa.scalar("", pa.large_string()))

    def of_row(self, row: Mapping[str, Any]) -> str | None:
        """Its text in a row of JSON.

        Raises:
            ValueError: what stands there is no text.
        """
        parts = [
            self.joint.join(found) if (found := list(_texts(path, row))) else None for path in self.paths
        ]
        if self.template is None:
            there = [part for part in parts if part is not None]
            return self.joint.join(there) if there else None
        if None in parts:
            return None
        return self.template[0] + "".join(
            f"{part}{behind}" for part, behind in zip(parts, self.template[1:], strict=True)
        )

    def _joined(self, found: Collection[tuple[pa.Array, _Parents]], rows: int) -> pa.Array:
        """The texts of each of `rows` rows as one."""
        import pyarrow.compute as pc

        parents = np.concatenate([parents for _, parents in found])
        order = np.argsort(parents, kind="stable")
        texts = pa.concat_arrays([texts for texts, _ in found]).take(pa.array(order))
        counts = np.bincount(parents, minlength=rows)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        lists = pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()), texts, mask=None if counts.all() else pa.array(counts == 0)
        )
        return pc.binary_join(lists, pa.scalar(self.joint, pa.large_string()))


def expression(text: str) -> Expression | None:
    """The expression that `text` is, or None: also of the bare name of a field, which needs none."""
    braced = _BRACED.split(text)
    if len(braced) > 1:
        paths = [_path(inner) for inner in braced[1::2]]
        template: tuple[str, ...] | None = tuple(braced[::2])
    else:
        paths, template = [_path(part) for part in text.split("+")], None
    if not all(paths) or (template is None and len(paths) == 1 and not paths[0].steps):  # type: ignore[union-attr]
        return None
    return Expression(tuple(path for path in paths if path is not None), template)


def expressions(mapping: Mapping[Column, str], names: Collection[str]) -> dict[str, Expression]:
    """By what columns are mapped to: the expressions over fields of a file that has `names`."""
    found = {}
    for column, text in mapping.items():
        made = None if text in names else expression(text)
        if made is not None and set(made.heads) <= set(names):
            found[text] = replace(made, joint=SEPARATOR) if column in ITEM_COLUMNS else made
    return found


def made_of(text: str) -> Expression:
    """The expression that `text` is; of the name of a field, its text."""
    return expression(text) or Expression((Path(text, ()),), None)


def heads_of(text: str) -> tuple[str, ...]:
    """The fields that `text`, a name or an expression, reads."""
    return made_of(text).heads


def makes_text(text: str, schema: pa.Schema) -> bool:
    """Whether a field or an expression is there, in rows of `schema`, and makes texts."""
    made = made_of(text)
    types = {head: schema.field(head).type for head in made.heads if head in schema.names}
    return len(types) == len(made.heads) and made.refusal(types) is None


def _path(text: str) -> Path | None:
    text = text.strip()
    head = _HEAD.match(text)
    if head is None:
        return None
    steps: list[_Step] = []
    at = head.end()
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            return None
        name, place, field, value = step.group("name", "place", "field", "value")
        steps.append(
            Field(name) if name else Items(None if place is None else int(place), field, value or "")
        )
        at = step.end()
    return Path(head.group(), tuple(steps))


def _refusal(path: Path, type_: pa.DataType) -> str | None:
    for step in path.steps:
        type_ = plain_type(type_)
        if isinstance(step, Items):
            if not is_list(type_):
                return f"expected a list, got {type_}"
            type_ = type_.value_type
        of = step.name if isinstance(step, Field) else step.field
        if of is None:
            continue
        inner = plain_type(type_)
        if not pa.types.is_struct(inner):
            return f"expected an object with {of!r}, got {inner}"
        if inner.get_field_index(of) < 0:
            there = ", ".join(field.name for field in inner)
            return f"no field {of!r} in it; there is {there}"
        if isinstance(step, Field):
            type_ = inner.field(of).type
    leaf = meant_type(type_)
    return (
        None
        if _is_leaf(leaf) or (path.steps and _is_parts(type_))
        else f"expected text or integers at its end, got {leaf}"
    )


def _is_leaf(type_: pa.DataType) -> bool:
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return pa.types.is_integer(type_) or any(is_one(type_) for is_one in texts)


def _is_parts(type_: pa.DataType) -> bool:
    """Whether it is a list of content parts, as messages have them that can also hold images."""
    if not is_list(listed := plain_type(type_)):
        return False
    inner = plain_type(listed.value_type)
    if not pa.types.is_struct(inner):
        return False
    fields = [inner.field(name).type for name in ("type", "text") if inner.get_field_index(name) >= 0]
    return len(fields) == 2 and all(_is_leaf(meant_type(field)) for field in fields)


def _found(path: Path, array: pa.Array) -> tuple[pa.Array, _Parents]:
    """The texts that are found along a path, large_string without nulls, and the row of each, ascending."""
    import pyarrow.compute as pc

    array = plain(array)
    parents = np.arange(len(array))
    for step in path.steps:
        if isinstance(step, Items):
            within = np.asarray(pc.list_parent_indices(array))
            items = plain(array.flatten())
            keep = _kept(step, items, within)
            if keep is not None:
                items, within = items.filter(keep), within[np.asarray(keep)]
            array, parents = items, parents[within]
        else:
            array = plain(pc.struct_field(array, step.name))
    if is_list(array.type):
        parents = parents[np.asarray(pc.list_parent_indices(array))]
        array = plain(pc.struct_field(plain(array.flatten()), "text"))
    valid = array.is_valid()
    return array.filter(valid).cast(pa.large_string()), parents[np.asarray(valid)]


def _kept(step: Items, items: pa.Array, within: _Parents) -> pa.Array | None:
    """Which items a step goes to; None for all."""
    import pyarrow.compute as pc

    if step.place is not None:
        place = np.arange(len(within)) - np.searchsorted(within, within)
        return pa.array(place == step.place)
    if step.field is not None:
        of = plain(pc.struct_field(items, step.field)).cast(pa.large_string())
        return pc.equal(of, pa.scalar(step.value, pa.large_string())).fill_null(False)
    return None


def _texts(path: Path, row: Mapping[str, Any]) -> Iterator[str]:
    """The texts that are found along a path in a row of JSON."""
    values = [row.get(path.head)]
    for step in path.steps:
        values = [inner for value in values for inner in inside(step, value)]
    values = [part for value in values for part in _parts(path, value)]
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, int) and not isinstance(value, bool):
            yield str(value)
        elif value is not None:
            raise ValueError(f"expected text or integers, got {type(value).__name__}")


def _parts(path: Path, value: Any) -> list[Any]:
    """What content parts say; any other value as it is."""
    if not (path.steps and isinstance(value, list)):
        return [value]
    if not all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in value):
        raise ValueError("expected text, integers or content parts ({'type': 'text', 'text': ...}), got list")
    return [part.get("text") for part in value]


def inside(step: _Step, value: Any) -> list[Any]:
    """What a step leads to from a value of JSON.

    Raises:
        ValueError: it leads nowhere from a value of that kind.
    """
    if isinstance(step, Field):
        if value is None:
            return [None]
        if not isinstance(value, dict):
            raise ValueError(f"expected an object with {step.name!r}, got {type(value).__name__}")
        return [value.get(step.name)]
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"expected a list, got {type(value).__name__}")
    if step.place is not None:
        return value[step.place : step.place + 1]
    if step.field is None:
        return value
    return [item for item in value if str(inside(Field(step.field), item)[0]) == step.value]
