"""Items and documents of an invented language, with the phrases that everybody in it uses."""

from __future__ import annotations

import random
from collections.abc import Iterator

from kinds import SHORT, Item
from words import CODE, NUMBERS, invent, split, written


class World:
    """A language with the phrases that everybody in it uses."""

    def __init__(self, script: str, seed: str) -> None:
        rng = random.Random(f"{seed}/{script}/world")
        self.script = script
        self.language = invent(script, rng)
        latin = invent(CODE, rng, 1500).vocabulary
        self.names = [name for name in latin if name.isascii() and len(name) > 2]
        phrase = self.language.sentence
        end = self.language.grammar.comma
        self.common = [phrase(rng, rng.randint(6, 14), end, 0) for _ in range(4)]
        self.rare = [phrase(rng, rng.randint(5, 9), end, 0) for _ in range(12)]
        self.stock = [phrase(rng, rng.randint(6, 10), end, 0) for _ in range(20)]
        self.quotations = [phrase(rng, rng.randint(10, 25)) for _ in range(60)]
        self.notices = [self.language.passage(rng, rng.randint(30, 70)) for _ in range(6)]

    def code(self, rng: random.Random) -> str:
        """A function of invented names."""
        names = rng.sample(self.names, 12)
        name = iter(names)
        function, first, second, total, each = (next(name) for _ in range(5))
        a, b, c = (rng.randint(2, 999) for _ in range(3))
        body = [
            f"{total} = {rng.choice(['0', '[]', '{}', '1', 'None'])}",
            f"for {each} in {first}:",
            f"    if {each} {rng.choice(['>', '<', '==', '!='])} {a}:",
            f"        {total} {rng.choice(['+=', '-=', '*='])} {each} {rng.choice('+-*')} {second}",
        ]
        extra = [
            f"{names[5]} = {rng.choice(['len', 'sorted', 'sum', 'set'])}({first}) {rng.choice('+-*%')} {b}",
            f"while {names[6]} {rng.choice('<>')} {second}:\n        {names[6]} {rng.choice('+-')}= {c}",
            f"if not {second}:\n        return {names[7]}({first}[{rng.randint(0, 9)}:], {second})",
            f"{names[8]} = [{each} for {each} in {first} if {each} % {rng.randint(2, 9)} == 0]",
            f"assert isinstance({first}, {rng.choice(['list', 'dict', 'str'])}), '{names[9]} {names[10]}'",
        ]
        rng.shuffle(extra)
        lines = [
            f"def {function}({first}, {second}):",
            *(f"    {line}" for line in body + extra[: rng.randint(2, 5)]),
        ]
        return "\n".join([*lines, f"    return {total}"])

    def answer(self, rng: random.Random) -> str:
        """One to eight words, or a number."""
        count = rng.randint(1, 8)
        space = self.language.grammar.space
        if rng.random() < 0.3:
            return str(rng.randint(10, 99_999))
        return space.join(self.language.content(rng) for _ in range(count))

    def short_item(self, rng: random.Random) -> Item:
        """A question of five to twelve words."""
        words = self.language.sentence(rng, rng.randint(5, SHORT - 1), self.language.grammar.question, 0)
        return Item(words, self.answer(rng), self.script)

    def item(self, rng: random.Random) -> Item:
        """A question: with a common start or none, a stock phrase or none, plain, numbers, options, long."""
        if self.script == CODE:
            return Item(split(self.code(rng)), self.answer(rng), self.script)
        language, draw = self.language, rng.random()
        start = rng.choice(self.common) if draw < 0.25 else rng.choice(self.rare) if draw < 0.35 else []
        shape = rng.random()
        count = rng.randint(120, 220) if shape < 0.08 else rng.randint(SHORT + 2, 60)
        own = language.passage(rng, count, numbers=0.12 if shape > 0.7 else NUMBERS)
        stock = (0, 0)
        if rng.random() < 0.15 and count > 30:
            phrase, at = rng.choice(self.stock), count // 2
            own = own[:at] + phrase + own[at:]
            stock = (len(start) + at, len(start) + at + len(phrase))
        own[-1] = own[-1]._replace(after=language.grammar.question)
        choices: list[int] = []
        if 0.4 < shape < 0.65:
            for letter in "ABCD":
                choices.append(len(start) + len(own))
                own[-1] = own[-1]._replace(after=own[-1].after.rstrip() + "\n")
                own += split(f"{letter}) ") + language.sentence(rng, rng.randint(3, 9), "\n")
            choices.append(len(start) + len(own))
        return Item([*start, *own], self.answer(rng), self.script, len(start), stock, tuple(choices))

    def blocks(self, rng: random.Random) -> list[str]:
        """The paragraphs of a document: prose, lists, quotations, notices, code, tables, stock phrases."""
        language, draw = self.language, rng.random
        found = []
        for _ in range(rng.randint(2, 9)):
            words = language.passage(rng, rng.randint(15, 110))
            if draw() < 0.25:
                at = rng.randrange(len(words))
                words[at:at] = rng.choice(self.stock)
            found.append(written(words).rstrip())
            shape = draw()
            if shape < 0.1:
                found.append(f"“{written(rng.choice(self.quotations)).rstrip()}”")
            elif shape < 0.18:
                items = [
                    written(language.sentence(rng, rng.randint(2, 9), "")) for _ in range(rng.randint(3, 9))
                ]
                found.append("\n".join(f"- {line}" for line in items))
            elif shape < 0.22:
                found.append(
                    "\n".join(" ".join(str(rng.randint(0, 9999)) for _ in range(5)) for _ in range(6))
                )
            elif shape < 0.25 or (self.script == CODE and shape < 0.8):
                found.append(self.code(rng))
            elif shape < 0.27:
                found.append(written([*rng.choice(self.common), *language.passage(rng, rng.randint(10, 40))]))
        if draw() < 0.3:
            found.insert(rng.choice([0, len(found)]), written(rng.choice(self.notices)))
        return found

    def document(self, rng: random.Random) -> str:
        """A document without a plant."""
        return "\n\n".join(self.blocks(rng))

    def questions(self, rng: random.Random) -> Iterator[Item]:
        """Items without end, one in five short."""
        while True:
            yield self.item(rng) if rng.random() < 0.8 else self.short_item(rng)
