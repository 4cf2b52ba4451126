"""Two texts, word by word: what only one of them has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import takewhile

#: The comparison takes time quadratic in the words, so that it looks at this many of each text alone.
MOST_WORDS = 250
MOST_CHARS = 4000

WORD = re.compile(r"\s*\S+")


@dataclass(frozen=True)
class Piece:
    """A stretch of one text."""

    text: str
    differs: bool  #: whether the other text lacks it


@dataclass(frozen=True)
class Comparison:
    """The beginnings of two texts in pieces."""

    train: tuple[Piece, ...]
    eval: tuple[Piece, ...]
    train_left_out: int  #: characters behind what is shown
    eval_left_out: int
    equal: bool  #: whether the whole texts are the same string

    @property
    def marked(self) -> bool:
        """Whether a word differs in what is shown."""
        return any(piece.differs for piece in (*self.train, *self.eval))


def compare(train: str, eval: str) -> Comparison:
    """Marks the words that differ. White space between words is shown as it is and not compared."""
    left, right = _words(train), _words(eval)
    a, b = [w.strip() for w in left], [w.strip() for w in right]
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    shared = [(0, 0, head)]
    matcher = SequenceMatcher(None, a[head:], b[head:], autojunk=False)
    shared += [(i + head, j + head, n) for i, j, n in matcher.get_matching_blocks()]
    return Comparison(
        _pieces(left, [(i, n) for i, _, n in shared]),
        _pieces(right, [(j, n) for _, j, n in shared]),
        len(train) - sum(map(len, left)),
        len(eval) - sum(map(len, right)),
        train == eval,
    )


def _words(text: str) -> list[str]:
    """The first words, each with the white space before it."""
    words = []
    for match in WORD.finditer(text[:MOST_CHARS]):
        words.append(match.group())
        if len(words) == MOST_WORDS:
            return words
    shown = sum(map(len, words))
    return [*words, text[shown:MOST_CHARS]] if shown < min(len(text), MOST_CHARS) else words


def _pieces(words: list[str], shared: list[tuple[int, int]]) -> tuple[Piece, ...]:
    pieces, done = [], 0
    for start, length in shared:
        for stop, differs in ((start, True), (start + length, False)):
            text = "".join(words[done:stop])
            if text:
                pieces.append(Piece(text, differs and bool(text.strip())))
            done = stop
    return tuple(pieces)
