"""Items of templates: what the core of overlap finds of them, and of their templates filled otherwise."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import NamedTuple

import edits  # noqa: F401, they enter their kinds
from kinds import KINDS, Item
from overlap_core import LEAK_STRENGTH, indexed, packed
from words import Language, Word, Words, invent, written

LANGUAGES = ("Latin", "Han", "Thai")
TEMPLATES = 12  #: of a language
ITEMS = 40  #: of a template
OTHERS = 60  #: documents with another filling of a template
FILLINGS = 200  #: of a slot
EDITS = ("case", "replaced one", "replaced 1 in 10", "deleted 1 in 10", "inserted 1 in 10")
KINDS_PLANTED = ("verbatim", *EDITS)
OTHER = "other fillings"


class Document(NamedTuple):
    """A document: its text, the item that stands in it if one does, and how."""

    text: str
    item: int | None
    kind: str
    language: str


class Template:
    """Two to four parts of five to twelve words, and between them slots of one to three words."""

    def __init__(self, language: Language, rng: random.Random) -> None:
        space = language.grammar.space
        self.parts = [language.sentence(rng, rng.randint(5, 12), space, 0) for _ in range(rng.randint(2, 4))]
        sizes = [rng.randint(1, 3) for _ in self.parts[1:]]
        self.slots = [
            [[Word(language.content(rng), space) for _ in range(size)] for _ in range(FILLINGS)]
            for size in sizes
        ]

    def filled(self, rng: random.Random, count: int) -> list[Words]:
        """So many texts, each with a filling of its own."""
        fillings: set[tuple[int, ...]] = set()
        while len(fillings) < count:
            fillings.add(tuple(rng.randrange(FILLINGS) for _ in self.slots))
        order = rng.sample(sorted(fillings), count)
        return [self.text(filling) for filling in order]

    def text(self, filling: tuple[int, ...]) -> Words:
        words = list(self.parts[0])
        for slot, which, part in zip(self.slots, filling, self.parts[1:], strict=True):
            words += slot[which] + part
        return words


def made(name: str, seed: str, items: list[str]) -> list[Document]:
    """The documents of a language; its items are added to `items`."""
    rng = random.Random(f"{seed}/{name}/templates")
    language = invent(name, rng)
    documents = []

    def document(text: str, item: int | None, kind: str) -> None:
        before, after = (written(language.passage(rng, 60)) for _ in range(2))
        documents.append(Document(f"{before}\n{text}\n{after}", item, kind, name))

    for _ in range(TEMPLATES):
        texts = Template(language, rng).filled(rng, ITEMS + OTHERS)
        for number, words in enumerate(texts[:ITEMS]):
            kind = KINDS_PLANTED[number % len(KINDS_PLANTED)]
            planted = KINDS[kind].plant(Item(words, "", name), language, rng)
            if planted:
                document(planted[0], len(items), kind)
            items.append(written(words))
        for words in texts[ITEMS:]:
            document(written(words), None, OTHER)
    return documents


def table(seed: str) -> str:
    """By kind and language, the percentage of documents that match their item, or any if they hold none."""
    items: list[str] = []
    documents = [document for name in LANGUAGES for document in made(name, seed, items)]
    pairs = indexed(packed(items)).scan(*packed(document.text for document in documents), 1)
    matched = defaultdict(set)
    for row, item, strength in zip(
        pairs.document.tolist(), pairs.item.tolist(), pairs.strength.tolist(), strict=True
    ):
        if strength == LEAK_STRENGTH:
            matched[row].add(item)
    every = Counter((one.kind, one.language) for one in documents)
    found = Counter(
        (one.kind, one.language)
        for row, one in enumerate(documents)
        if (one.item in matched[row] if one.item is not None else matched[row])
    )
    lines = [f"| % that match | {' | '.join(LANGUAGES)} |", f"| --- |{' --- |' * len(LANGUAGES)}"]
    for kind in (*KINDS_PLANTED, OTHER):
        cells = []
        for name in LANGUAGES:
            hit, of = found[kind, name], every[kind, name]
            cells.append(f"{100 * hit / of:.1f} of {of}" if of else "none")
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)
