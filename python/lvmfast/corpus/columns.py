"""Which field of a file is which column: the names that exist in the wild, and the user's own mapping."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

from lvmfast.corpus.dataset import COLUMNS, ITEM_COLUMNS, Column
from lvmfast.corpus.dead_ends import nearest
from lvmfast.corpus.expressions import heads_of
from lvmfast.corpus.looks import LackingError
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.errors import DataError

ALIASES: dict[Column, tuple[str, ...]] = {
    "doc_id": ("doc_id", "article_id", "article_index"),
    "chunk_id": ("chunk_id", "chunk_index"),
    "text": ("text",),
    "vector": ("vector", "embedding", "embeddings", "targets", "target_vectors"),
    "context": ("context", "contexts", "context_sequences", "sequences"),
    # Of evaluation items alone, whose mapping has them.
    "question": (),
    "passage": (),
    "choices": (),
    "answer": (),
}
#: The fields of an evaluation item, which have a name each.
ROLES: tuple[Column, ...] = ("question", *ITEM_COLUMNS)
#: What texts are read from without a word.
CUSTOMARY = frozenset({*ALIASES["text"], "question"})
#: What a field can be mapped to.
NAMED: tuple[Column, ...] = (*COLUMNS, "question")

#: Column -> field for both sides of a scan; under ``train`` and ``eval``, for one of them.
ColumnsOfSides: TypeAlias = Mapping[str, str | Mapping[str, str]]

#: An (n, >= 2) array of integers: column 0 is the doc_id, column 1 the chunk_id.
PAIR_FIELD = "truth_keys"

_EXPECTED = {True: "a mapping of columns to fields, as it is a side", False: "the name of a field"}
_ONE_SIDE = "a scan takes names of one side by --train-column and --eval-column"
_MAP = "map one of them: --column NAME=FIELD, such as text=FIELD (in Python columns={...})"


#: What a field of an evaluation item is made of.
EXPECTED_ITEMS: dict[Column, str] = {
    "passage": "text or a list of texts",
    "choices": "a text or a list of texts",
    "answer": "text, integers (where there are no choices, whose numbers they would be) or lists of these",
}

#: Why a field of `near_misses` is not its column.
MISSED = "names are compared letter by letter; rename it, or map it (--column NAME=FIELD)"


def columns_of(columns: ColumnsOfSides | None, side: Side | None) -> dict[str, str]:
    """The mapping of a side: what is said of it alone goes before what is said of both (None: the latter).

    Raises:
        DataError: a side has one field instead of a mapping.
    """
    own: dict[str, str] = {}
    common: dict[str, str] = {}
    for key, field in (columns or {}).items():
        if (key in SIDES) is isinstance(field, str):
            raise DataError(f"columns: {key}: expected {_EXPECTED[key in SIDES]}, got {field!r}")
        if isinstance(field, str):
            common[key] = field
        elif key == side:
            own = dict(field)
    return {**common, **own}


def check_mapping(mapping: Mapping[str, str] | None) -> dict[Column, str]:
    """The user's mapping, with its keys held to the names of columns.

    Raises:
        DataError: a key is not a column.
    """
    checked: dict[Column, str] = {}
    for key, field in (mapping or {}).items():
        column = next((c for c in NAMED if c == key), None)
        if column is None:
            raise DataError(f"column {key}: expected one of {', '.join(NAMED)}")
        checked[column] = field
    return checked


def mapping_of_items(mapping: Mapping[Column, str]) -> dict[Column, str]:
    """The mapping by which evaluation items are read: each role has a field, and a question is a text."""
    mapped = {**{role: role for role in ROLES if role not in mapping.values()}, **mapping}
    if "question" in mapping:
        mapped["text"] = mapped.pop("question")
    return mapped


def mapping_of_texts(mapping: Mapping[Column, str]) -> dict[Column, str]:
    """The mapping by which anything else is read, which knows no role."""
    return {column: field for column, field in mapping.items() if column not in ROLES}


def resolve(
    name: str,
    fields: Collection[str],
    mapping: Mapping[Column, str],
    *,
    pairs: bool = False,
    strict: bool = True,
) -> dict[Column, str]:
    """The field of the file `name` that each column is read from; columns it lacks are left out.

    A mapped field is taken as it is and is no alias candidate for any other column. One of a role may be
    missing; a question is the text where there is no other. With `pairs` the
    file may hold ids as one ``truth_keys`` array. Without `strict` a mapped field that the file lacks
    leaves the column to its aliases (a split and its payload share one mapping).

    Raises:
        DataError: a mapped field does not exist, one column has two candidates, or there is no column.
    """
    claimed = {field for field in mapping.values() if field in fields}
    found: dict[Column, str] = {}
    for column in NAMED:
        field = mapping.get(column)
        if field in claimed:
            found[column] = str(field)
            continue
        if field is not None and strict and column not in ROLES:
            there = _listed(fields)
            lacking = next((head for head in heads_of(field) if head not in fields), field)
            inside = "" if lacking == field else f" (for {field})"
            like = nearest(lacking, fields)
            raise LackingError(
                f"{name}: {column}: no field {lacking!r}{inside}{like}; there is {there}; {_ONE_SIDE}"
            )
        candidates = [alias for alias in ALIASES[column] if alias in fields and alias not in claimed]
        if pairs and column in ("doc_id", "chunk_id") and PAIR_FIELD in fields:
            candidates.append(PAIR_FIELD)
        if len(candidates) > 1:
            raise DataError(f"{name}: {column}: both {' and '.join(candidates)} could be it; {_MAP}")
        if candidates:
            found[column] = candidates[0]
    if (question := found.pop("question", None)) is not None:
        found.setdefault("text", question)
    if not found:
        mapped = {column: field for column, field in mapping.items() if column not in ROLES}
        lacking = " or ".join(f"{field!r} ({column})" for column, field in mapped.items())
        asked = f"no field {lacking}, as mapped, and " if lacking else ""
        raise LackingError(f"{name}: {asked}no field is a known column; there is {_listed(fields)}; {_MAP}")
    return found


def near_misses(fields: Collection[str], found: Mapping[Column, str]) -> dict[Column, str]:
    """By column that was not found: a field that differs from one of its names in case or blanks alone."""
    known = {*found.values(), *(alias for aliases in ALIASES.values() for alias in aliases)}
    plain = {field.strip().casefold(): field for field in fields if field not in known}
    missed = {
        column: [plain[alias] for alias in ALIASES[column] if alias in plain]
        for column in COLUMNS
        if column not in found
    }
    return {column: candidates[0] for column, candidates in missed.items() if candidates}


def reads_a_number(column: Column, found: Mapping[Column, str]) -> bool:
    """Whether an integer is what `column` says, as text; beside choices an answer is the number of one."""
    return column != "answer" or "choices" not in found


def _listed(fields: Collection[str]) -> str:
    shown = sorted(fields)[:20]
    return ", ".join(shown) + (f" and {len(fields) - 20} more" if len(fields) > 20 else "") or "none"
