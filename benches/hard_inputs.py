"""Sides of overlap that are hard on purpose, each of about as many tokens as one asks for.

Their tests and their bench take them from here: time and memory are to grow no faster than the size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STOP_PHRASE = (
    "it is one of the most of all that there is to be"  #: of more than seven words, so that it is a match
)


@dataclass(frozen=True)
class Sides:
    """Evaluation texts, training texts, and how many pairs of distinct ones match, short ones as well."""

    items: list[str]
    documents: list[str]
    pairs: int


def drawn(tokens: int, kinds: int) -> str:
    """Words drawn from so many kinds, the same ones each time."""
    return " ".join(f"w{word}" for word in np.random.default_rng(5).integers(0, kinds, tokens))


def lines_of(text: str, words: int) -> list[str]:
    every = text.split()
    return [" ".join(every[at : at + words]) for at in range(0, len(every), words)]


def hard_inputs(size: int) -> dict[str, Sides]:
    """Sides of about `size` tokens, a thousand or more, by what is hard about them."""
    few, long = drawn(size, 3), drawn(size, size)
    root = int(size**0.5)
    lines = lines_of(drawn(size - size % 30, 5000), 30)
    question = " ".join(f"asked{place}" for place in range(20))
    equal, seen = (
        "equal to all other items",
        "these letters have nothing between them that anybody could see ",
    )
    hidden = "\u200b".join(seen)
    first = long.split()[:root]
    prefixes = [" ".join(first[:words]) for words in range(root)]
    return {
        "a long document": Sides([question], [f"{long} {question} {long[: len(long) // 9]}"], 1),
        "tiny documents": Sides([question], [f"w{n} {n}" for n in range(size // 2)], 0),
        "one token": Sides(["spam " * size], ["spam " * size], 1),
        "one token, many documents": Sides(["spam " * size], ["spam " * 9] * (size // 9), 0),
        # An item of fewer than five tokens is not looked for.
        "one token, items of every length": Sides(
            ["spam " * n for n in range(root)], ["spam " * root] * 5, 5 * (root - 5)
        ),
        "few tokens": Sides([few], [few[::-1], few], 1),
        "a long item": Sides([long], [long, long[: size // 2]], 1),
        "equal items": Sides([equal] * (size // 5), [f"{equal} " * (size // 5)], 1),
        "prefixes": Sides(prefixes, [long], root - 5),
        "hidden characters": Sides(
            [seen], [hidden * (size // 10), "a" + "\u200b" * size + "b", f"{hidden} " * (size // 10)], 2
        ),
        "marks": Sides(["e" + "\u0301\u0323" * size], ["e" + "\u0301" * size], 0),
        "jamo": Sides(["\u1161" * size], ["\u1161" * size], 1),
        "the benchmark itself": Sides(lines, lines, len(lines)),
        "a stop phrase": Sides([STOP_PHRASE], [f"{line} {STOP_PHRASE}" for line in lines], len(lines)),
        "a stop phrase, one document": Sides([STOP_PHRASE], [f"{STOP_PHRASE} " * (size // 13)], 1),
        "numbered lines": Sides(lines[:9], ["\n".join(f"{n}: {line}" for n, line in enumerate(lines))], 9),
    }
