"""Items, and the kinds of ways in which they are planted.

A kind is a leak (a tool should find it), grey (a matter of taste, never scored) or a negative (a tool must
not call it a leak: no part of it says what the item says).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from words import Language, Words, written

LEAK, GREY, NEGATIVE = "leak", "grey", "negative"
#: Fewer words than this make a short item, which is planted as such and in no other way.
SHORT = 13


@dataclass(frozen=True)
class Item:
    """An evaluation item: its words, and which of them it shares with others."""

    words: Words
    answer: str
    script: str
    template: int = 0  #: so many words at the start stand in many items
    stock: tuple[int, int] = (0, 0)  #: these words are a phrase that many documents have
    choices: tuple[int, ...] = ()  #: where each option starts, and the end

    @property
    def text(self) -> str:
        """As it stands in the evaluation file."""
        return written(self.words).rstrip()


Planted = tuple[str, str]  #: the text, and how strong the edit is
Plant = Callable[[Item, Language, random.Random], "Planted | None"]
Planter = Callable[..., "Planted | None"]


@dataclass(frozen=True)
class Kind:
    """A way to plant an item; `plant` returns None for an item that it does not fit."""

    name: str
    verdict: str
    plant: Plant


KINDS: dict[str, Kind] = {}


def kind(verdict: str, *names: str) -> Callable[[Planter], Planter]:
    """Enters a function as one kind, or as several that are told apart by its last argument."""

    def enter(function: Planter) -> Planter:
        for name in names or (function.__name__.replace("_", " "),):

            def plant(item: Item, language: Language, rng: random.Random, name: str = name) -> Planted | None:
                return function(item, language, rng, name) if names else function(item, language, rng)

            KINDS[name] = Kind(name, verdict, plant)
        return function

    return enter
