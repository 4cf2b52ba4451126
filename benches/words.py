"""Invented languages: words from seeded syllables in eight scripts, drawn by Zipf's law, and texts as words.

A text is a list of `Word`s: what is a word, and what stands behind it. Edits change that list;
`written` makes a string of it. In scripts without spaces a word is a few characters with nothing behind.
"""

from __future__ import annotations

import functools
import itertools
import random
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Word(NamedTuple):
    """Letters, marks and numbers, and the separators behind them."""

    core: str
    after: str


Words = list[Word]


def written(words: Iterable[Word]) -> str:
    """The words as one string."""
    return "".join(core + after for core, after in words)


#: Scripts in which each character is a word where a text is split: those without spaces (Thai, Lao, Tibetan,
#: Myanmar, Khmer, kana, Han), and Hangul.
SPACELESS = (
    (0x0E00, 0x0FFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x2E80, 0x2FDF),
    (0x3005, 0x3007),
    (0x3021, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xAC00, 0xD7AF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


@functools.cache
def stands_alone(character: str) -> bool:
    """Whether a character is a token by itself."""
    return character >= "\u0e00" and any(first <= ord(character) <= last for first, last in SPACELESS)


@functools.cache
def in_word(character: str) -> bool:
    """Whether a character is a letter, a mark or a number."""
    return unicodedata.category(character)[0] in "LMN"


def split(text: str) -> Words:
    """Any text as words; what stands before the first word goes with an empty one."""
    words: list[list[str]] = []
    open_word = False
    for character in text:
        if in_word(character):
            alone = stands_alone(character)
            if open_word and not alone:
                words[-1][0] += character
            else:
                words.append([character, ""])
            open_word = not alone
        else:
            if not words:
                words.append(["", ""])
            words[-1][1] += character
            open_word = False
    return [Word(core, after) for core, after in words]


@dataclass(frozen=True)
class Grammar:
    """How the words of a script are made and written one behind the other."""

    onsets: Sequence[str]
    nuclei: Sequence[str]
    codas: Sequence[str]
    syllables: tuple[int, int] = (1, 4)
    space: str = " "
    comma: str = ", "
    stop: str = ". "
    question: str = "? "


def _span(first: int, last: int) -> list[str]:
    return [c for c in map(chr, range(first, last)) if unicodedata.category(c).startswith("L")]


_HAN = {"space": "", "comma": "，", "stop": "。", "question": "？"}
GRAMMARS: dict[str, Grammar] = {
    "Latin": Grammar(
        "b c d f g h j l m n p r s t v br st tr pl gr qu ch".split(),
        "a e i o u ai ou é ö ea".split(),
        ["", "", "", "n", "r", "s", "l", "t"],
    ),
    "Cyrillic": Grammar(
        "б в г д ж з к л м н п р с т ф х ч ш ст пр тр".split(),
        "а е и о у ы я ю й".split(),
        ["", "", "н", "р", "ть", "л", "к"],
    ),
    "Han": Grammar(_span(0x4E00, 0x5A00), [""], [""], (1, 2), **_HAN),
    "Japanese": Grammar(
        [*_span(0x3042, 0x3094), *_span(0x30A2, 0x30F4), *_span(0x6200, 0x6700)],
        [""],
        [*[""] * 9, "の", "を", "る"],
        (1, 3),
        **_HAN,
    ),
    "Thai": Grammar(
        _span(0x0E01, 0x0E2F), "า ี ุ ะ ู ิ ือ ัว ่า ้า ำ ็".split(), ["", "", *"นงมกบดยว"], (1, 3),
        space="", comma=" ", stop=" ", question=" ",
    ),
    "Arabic": Grammar(
        "ب ت ج ح د ر س ش ص ع ف ق ك ل م ن ه و ي".split(), ["ا", "و", "ي", ""], ["", "", "ن", "ة"],
        (2, 3), comma="، ", question="؟ ",
    ),
    "Devanagari": Grammar(
        "क ख ग च ज ट ड त द न प ब म य र ल व स ह".split(), ["ा", "ि", "ी", "ु", "े", "ो", ""], ["", "", "ं", "न"],
        (1, 4), comma=", ", stop="। ",
    ),
}  # fmt: skip
CODE = "code"
SCRIPTS = (*GRAMMARS, CODE)
#: The most frequent words of a language say nothing by themselves.
STOP_WORDS = 40
#: The share of words that are numbers.
NUMBERS = 0.02


@dataclass
class Language:
    """A vocabulary by rank, drawn by Zipf's law, with a synonym for every word behind the stop words."""

    name: str
    vocabulary: list[str]
    grammar: Grammar
    weights: list[float] = field(init=False)

    def __post_init__(self) -> None:
        ranks = range(len(self.vocabulary))
        self.weights = list(itertools.accumulate(1 / (rank + 2.7) for rank in ranks))
        self.rank = {word: rank for rank, word in enumerate(self.vocabulary)}

    def draw(self, rng: random.Random, count: int) -> list[str]:
        """Words by frequency."""
        return rng.choices(self.vocabulary, cum_weights=self.weights, k=count)

    def content(self, rng: random.Random) -> str:
        """One word that is no stop word."""
        first = min(STOP_WORDS, len(self.vocabulary) // 2)
        return self.vocabulary[rng.randrange(first, len(self.vocabulary))]

    def is_stop_word(self, word: str) -> bool:
        """Whether a word is among the most frequent."""
        return self.rank.get(word.lower(), STOP_WORDS) < STOP_WORDS

    def other(self, rng: random.Random, word: str) -> str:
        """A word for another, never the same."""
        if word.isdigit():
            return changed_number(rng, word)
        new = self.content(rng)
        while new.lower() == word.lower():
            new = self.content(rng)
        return new

    def synonym(self, word: str) -> str | None:
        """What the invented table has for a word: its neighbour by rank; nothing for stop words."""
        rank = self.rank.get(word.lower(), 0)
        if rank < STOP_WORDS or (rank ^ 1) >= len(self.vocabulary):
            return None
        return self.vocabulary[rank ^ 1]

    def sentence(
        self, rng: random.Random, count: int, end: str | None = None, numbers: float = 0.02
    ) -> Words:
        """`count` words, with commas, now and then a number, and a full stop or `end`."""
        drawn = self.draw(rng, count)
        words = [
            Word(str(rng.randint(2, 9999)) if rng.random() < numbers else word, self.grammar.space)
            for word in drawn
        ]
        for i in range(4, count - 3):
            if rng.random() < 0.08:
                words[i] = Word(words[i].core, self.grammar.comma)
        words[0] = Word(words[0].core.capitalize(), words[0].after)
        words[-1] = Word(words[-1].core, end or self.grammar.stop)
        return words

    def passage(self, rng: random.Random, count: int, numbers: float = NUMBERS) -> Words:
        """Sentences of `count` words together."""
        words: Words = []
        while len(words) < count:
            left = count - len(words)
            length = min(left, rng.randint(6, 22))
            words += self.sentence(rng, left if left - length < 4 else length, numbers=numbers)
        return words


def changed_number(rng: random.Random, number: str) -> str:
    """Another number of as many digits, unlike it."""
    length = min(len(number), 12)
    new = number
    while new == number:
        new = str(rng.randrange(10 ** (length - 1), 10**length)) if length > 1 else str(rng.randrange(10))
    return new


def invent(name: str, rng: random.Random, size: int = 6000) -> Language:
    """A language of `size` words in a script; the frequent words are the short ones."""
    grammar = GRAMMARS["Latin" if name == CODE else name]
    words: dict[str, None] = {}
    while len(words) < size:
        low, high = grammar.syllables
        count = rng.randint(low, low if len(words) < STOP_WORDS else high)
        drawn = (rng.choices(part, k=count) for part in (grammar.onsets, grammar.nuclei, grammar.codas))
        words["".join(map("".join, zip(*drawn, strict=True)))] = None
    return Language(name, list(words), grammar)


def learned(name: str, texts: Iterable[str]) -> Language:
    """The language of given texts: their words by how often they stand there."""
    counts = Counter(word.core.lower() for text in texts for word in split(text) if word.core.isalpha())
    return Language(name, [word for word, _ in counts.most_common()], GRAMMARS["Latin"])
