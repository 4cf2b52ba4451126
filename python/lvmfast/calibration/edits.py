"""Texts that are edited on purpose, so that it is known that they say the same."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence

PREFIXES = (
    "Question: ",
    "Q: ",
    "Please answer: ",
    "Here is one more: ",
    "Answer the following. ",
    "Consider this. ",
    "Task 7. ",
)
_MARKS = re.compile(r"[^\w\s]")
_WORD = re.compile(r"\w+")

#: An edit of a text, which may leave it as it is; the texts are those that a word can be taken from.
Edit = Callable[[str, random.Random, Sequence[str]], str]


def _case(text: str, draw: random.Random, texts: Sequence[str]) -> str:
    changed: str = draw.choice((str.upper, str.lower, str.title))(text)
    return changed


def _white_space(text: str, draw: random.Random, texts: Sequence[str]) -> str:
    return re.sub(r"\s+", lambda _: draw.choice((" ", "  ", "\n", "\n\n", "\t")), text) + draw.choice(" \n")


def _punctuation(text: str, draw: random.Random, texts: Sequence[str]) -> str:
    """All marks go, or the last one becomes another."""
    if draw.random() < 0.5:
        return " ".join(_MARKS.sub(" ", text).split())
    return text.rstrip(".?!:; ") + draw.choice((".", "?", "!", " ?", "..."))


def _prefix(text: str, draw: random.Random, texts: Sequence[str]) -> str:
    return draw.choice(PREFIXES) + text


def _word(text: str, draw: random.Random, texts: Sequence[str]) -> str:
    """One word becomes a word of another text."""
    words = list(_WORD.finditer(text))
    others: list[str] = _WORD.findall(draw.choice(texts))
    if len(words) < 2 or not others:
        return text
    place = draw.choice(words)
    return text[: place.start()] + draw.choice(others) + text[place.end() :]


#: Edits after which it is the same text to any reader,
SAME: Mapping[str, Edit] = {"case": _case, "white space": _white_space, "punctuation": _punctuation}
#: and those after which it is a text that says about the same.
NEAR: Mapping[str, Edit] = {"prefix": _prefix, "word": _word}
EDITS: Mapping[str, Edit] = {**SAME, **NEAR}


def edited(texts: Sequence[str], edit: str, seed: int) -> list[tuple[str, str]]:
    """(text, the same edited), of those texts that the edit changes. Equal arguments give equal edits."""
    pairs = []
    for place, text in enumerate(texts):
        changed = EDITS[edit](text, random.Random(f"{seed} {edit} {place}"), texts)
        if changed != text and changed.strip():
            pairs.append((text, changed))
    return pairs
