"""Values as trees of arrays and JSON values, by the fields of their dataclasses, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Saved = TypeVar("Saved", bound=DataclassInstance)

#: Arrays, JSON values, and trees of them by name.
Tree = dict[str, Any]


def to_arrays(value: DataclassInstance) -> Tree:
    """A dataclass of arrays, JSON values, mappings and such dataclasses as a tree."""
    return {field.name: _saved(getattr(value, field.name)) for field in fields(value)}


def from_arrays(cls: type[Saved], tree: Tree) -> Saved:
    """What `to_arrays` made a tree of, by the types that the fields of `cls` are declared with."""
    kinds = _kinds(cls)
    return cls(**{field.name: _restored(kinds[field.name], tree[field.name]) for field in fields(cls)})


@cache
def _kinds(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _saved(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return to_arrays(value)
    if isinstance(value, Mapping):
        return {str(key): _saved(inner) for key, inner in value.items()}
    return value


def _restored(kind: Any, value: Any) -> Any:
    if value is None:
        return None
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (one for one in get_args(kind) if one is not type(None))
    if is_dataclass(kind):
        return from_arrays(kind, value)  # type: ignore[arg-type]
    if isinstance(value, dict):
        of_key, of_value = get_args(kind)
        key = of_key if of_key in (int, float) else str
        return {key(name): _restored(of_value, inner) for name, inner in value.items()}
    return value
