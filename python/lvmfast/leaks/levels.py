"""The levels of a scan: their order, what they need, and what they cannot see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from lvmfast.corpus.dataset import Column
from lvmfast.errors import DataError

Level = Literal["doc", "chunk", "text", "vector", "context", "oracle"]
Side = Literal["train", "eval"]

LEVELS: tuple[Level, ...] = ("doc", "chunk", "text", "vector", "context", "oracle")
SIDES: tuple[Side, ...] = ("train", "eval")

#: Levels that mean something inside one split: ids repeat there by design, and windows overlap.
WITHIN_LEVELS: tuple[Level, ...] = ("text", "vector")

#: Levels that compare by cosine and so have a threshold.
COSINE_LEVELS: tuple[Level, ...] = ("vector", "context", "oracle")

NEEDS: dict[Level, tuple[Column, ...]] = {
    "doc": ("doc_id",),
    "chunk": ("doc_id", "chunk_id"),
    "text": ("text",),
    "vector": ("vector",),
    "context": ("vector", "context"),
    "oracle": ("vector", "context"),
}

CANNOT_SEE: dict[Level, str] = {
    "doc": "the same document under another id",
    "chunk": "the same chunk under other ids",
    "text": "re-cut, paraphrased or translated text",
    "vector": "text that another encoder embedded, or pairs below the threshold",
    "context": "windows that were built from other chunks",
    "oracle": "targets that only nearly repeat their context",
}


def other_side(side: Side) -> Side:
    """train for eval, eval for train."""
    return "train" if side == "eval" else "eval"


def parse_levels(names: Iterable[str]) -> tuple[Level, ...]:
    """The named levels in canonical order.

    Raises:
        DataError: a name that is no level, or no name at all.
    """
    wanted = {name.strip() for name in names}
    unknown = sorted(wanted.difference(LEVELS))
    if unknown or not wanted:
        found = ", ".join(unknown) or "nothing"
        raise DataError(f"levels: expected some of {', '.join(LEVELS)}; got {found}")
    return tuple(level for level in LEVELS if level in wanted)


def columns_of(levels: Iterable[Level]) -> tuple[Column, ...]:
    """The columns that `levels` read, each once, in a fixed order."""
    return tuple(dict.fromkeys(column for level in levels for column in NEEDS[level]))
