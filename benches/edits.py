"""Leaks: what becomes of an evaluation item before it is put into a document, and is the item still."""

from __future__ import annotations

import html
import random
import unicodedata

from kinds import GREY, LEAK, Item, Planted, kind
from words import CODE, Language, Word, Words, changed_number, split, written


def places(rng: random.Random, words: Words, share: float, least: int = 1) -> list[int]:
    """Places of a share of the words."""
    return sorted(rng.sample(range(len(words)), min(len(words), max(least, round(share * len(words))))))


def spaced(item: Item) -> bool:
    """Whether blanks stand between the words."""
    return sum(" " in word.after for word in item.words) > len(item.words) / 2


def blank(word: Word) -> str:
    """What stands behind a word when the next is put there."""
    return word.after if word.after.strip() == "" and word.after else " " if word.after else ""


@kind(LEAK)
def verbatim(item: Item, language: Language, rng: random.Random) -> Planted:
    return item.text, "whole"


@kind(LEAK)
def case(item: Item, language: Language, rng: random.Random) -> Planted | None:
    strength = rng.choice(["upper", "lower", "title"])
    text = getattr(item.text, strength)()
    return None if sum(map(str.__ne__, text, item.text)) < 2 else (text, strength)


@kind(LEAK)
def punctuation(item: Item, language: Language, rng: random.Random) -> Planted | None:
    if item.script == CODE:
        return None  # it would be another program
    strength = rng.choice(["dropped", "other", "more"])
    words = list(item.words)
    for i, (core, after) in enumerate(words):
        gap = " " if " " in after or "\n" in after else ""
        if after.strip() or (strength == "more" and rng.random() < 0.2):
            words[i] = Word(
                core, gap if strength == "dropped" else rng.choice([" —", ";", "…", "!", " |"]) + gap
            )
    text = written(words).rstrip()
    return None if text == item.text else (text, strength)


@kind(LEAK)
def rewrapped(item: Item, language: Language, rng: random.Random) -> Planted:
    width, edge = rng.randint(5, 12), rng.choice(["", "    ", "> ", "\t", "# ", " * "])
    words = [
        Word(core, f"{after.rstrip()}\n{edge}" if i % width == width - 1 else after)
        for i, (core, after) in enumerate(item.words)
    ]
    return edge + written(words), f"{width} words, {edge!r}"


@kind(LEAK)
def hyphenated(item: Item, language: Language, rng: random.Random) -> Planted | None:
    """As text copied from a page set in type: words broken at the ends of lines."""
    if item.script not in ("Latin", "Cyrillic"):
        return None
    words = list(item.words)
    for i in range(rng.randint(5, 9), len(words), rng.randint(8, 12)):
        core = words[i].core
        if len(core) >= 6:
            words[i] = Word(f"{core[: len(core) // 2]}-\n{core[len(core) // 2 :]}", words[i].after)
    text = written(words)
    return None if "-\n" not in text else (text, "broken words")


@kind(LEAK)
def cut(item: Item, language: Language, rng: random.Random) -> Planted | None:
    share = rng.uniform(0.6, 0.8)
    kept = round(share * len(item.words))
    if item.template or len(item.words) < 16:
        return None  # of a question with a common start, the rest is the question
    first = rng.choice([0, len(item.words) - kept, rng.randint(0, len(item.words) - kept)])
    return written(item.words[first : first + kept]), f"{share:.0%} kept"


def replaced_at(item: Item, language: Language, rng: random.Random, at: list[int]) -> str:
    words = list(item.words)
    for i in at:
        words[i] = Word(language.other(rng, words[i].core), words[i].after)
    return written(words)


SHARES = {"one": 0.0, "1 in 10": 0.1, "1 in 5": 0.2}


@kind(LEAK, "replaced one", "replaced 1 in 10", "replaced 1 in 5")
def replaced(item: Item, language: Language, rng: random.Random, name: str) -> Planted:
    strength = name.removeprefix("replaced ")
    return replaced_at(item, language, rng, places(rng, item.words, SHARES[strength])), strength


@kind(LEAK, "inserted 1 in 10", "inserted 1 in 5")
def inserted(item: Item, language: Language, rng: random.Random, name: str) -> Planted:
    strength = name.removeprefix("inserted ")
    words = list(item.words)
    for i in reversed(places(rng, words[1:], SHARES[strength])):
        words.insert(
            i + 1, Word(rng.choice([*language.draw(rng, 1), language.content(rng)]), blank(words[i]))
        )
    return written(words), strength


@kind(LEAK, "deleted 1 in 10", "deleted 1 in 5")
def deleted(item: Item, language: Language, rng: random.Random, name: str) -> Planted:
    strength = name.removeprefix("deleted ")
    gone = set(places(rng, item.words, SHARES[strength]))
    return written(word for i, word in enumerate(item.words) if i not in gone), strength


@kind(LEAK)
def swapped(item: Item, language: Language, rng: random.Random) -> Planted | None:
    words = list(item.words)
    for i in places(rng, words[1:], 0.12):
        first, second = words[i], words[i + 1]
        words[i], words[i + 1] = Word(second.core, first.after), Word(first.core, second.after)
    text = written(words)
    return None if text.rstrip() == item.text else (text, "1 in 8 neighbours")


def misspelt_word(word: str, language: Language, rng: random.Random) -> str:
    place = rng.randrange(len(word))
    letter = rng.choice(rng.choice(language.vocabulary[:2000]))
    way = rng.randrange(3)
    if way == 0 and len(word) > 3 and place + 1 < len(word):
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if way == 1 and len(word) > 3:
        return word[:place] + word[place + 1 :]
    return word[:place] + letter + word[place + 1 :]


@kind(LEAK)
def misspelt(item: Item, language: Language, rng: random.Random) -> Planted | None:
    words = list(item.words)
    least = 4 if spaced(item) else 1
    long = [i for i, word in enumerate(words) if len(word.core) >= least and not word.core.isdigit()]
    for i in rng.sample(long, min(len(long), max(2, len(words) // 7))):
        words[i] = Word(misspelt_word(words[i].core, language, rng), words[i].after)
    text = written(words)
    return None if text.rstrip() == item.text else (text, "1 word in 7")


@kind(LEAK)
def synonyms(item: Item, language: Language, rng: random.Random) -> Planted | None:
    words, changed = list(item.words), 0
    for i in places(rng, words, 0.25):
        synonym = language.synonym(words[i].core)
        if synonym:
            words[i], changed = Word(synonym, words[i].after), changed + 1
    return None if changed < 2 else (written(words), f"{changed} of {len(words)}")


@kind(LEAK)
def gap(item: Item, language: Language, rng: random.Random) -> Planted:
    width = rng.choice([12, 25, 50, 100, 250])
    at = round(rng.uniform(0.3, 0.7) * len(item.words))
    between = written(language.passage(rng, width))
    return f"{written(item.words[:at])}\n{between}\n{written(item.words[at:])}", f"{width:3} words"


@kind(LEAK)
def reordered(item: Item, language: Language, rng: random.Random) -> Planted | None:
    """Its sentences or lines in another order."""
    parts: list[Words] = [[]]
    for word in item.words:
        parts[-1].append(word)
        if any(end in word.after for end in ".?\n。？।؟"):
            parts.append([])
    parts = [part for part in parts if part]
    if len(parts) < 3 or item.script == CODE:
        return None
    parts = parts[1:] + parts[:1] if len(parts) < 4 else rng.sample(parts, len(parts))
    text = " ".join(written(part).strip() for part in parts)
    return None if text.split() == item.text.split() else (text, f"{len(parts)} sentences")


@kind(LEAK)
def options_shuffled(item: Item, language: Language, rng: random.Random) -> Planted | None:
    if not item.choices:
        return None
    bounds = list(zip(item.choices, item.choices[1:], strict=False))
    options = bounds[1:] + bounds[:1]
    words = item.words[: item.choices[0]] + [
        word for first, last in options for word in item.words[first:last]
    ]
    return written(words), f"{len(options)} options"


@kind(LEAK)
def full_width(item: Item, language: Language, rng: random.Random) -> Planted | None:
    text = "".join(
        chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else "\u3000" if c == " " else c for c in item.text
    )
    return None if sum(map(str.__ne__, text, item.text)) < len(text) / 3 else (text, "every ASCII character")


@kind(LEAK)
def no_break_spaces(item: Item, language: Language, rng: random.Random) -> Planted | None:
    space = rng.choice("\u00a0\u202f\u2009\u3000")
    return (item.text.replace(" ", space), f"U+{ord(space):04X}") if item.text.count(" ") > 3 else None


@kind(LEAK)
def zero_width(item: Item, language: Language, rng: random.Random) -> Planted:
    mark = rng.choice("\u200b\u2060\ufeff\u00ad")
    letters = zip(item.text, item.text[1:] + " ", strict=True)
    text = "".join(a + mark if a.isalpha() and b.isalpha() and rng.random() < 0.3 else a for a, b in letters)
    return text, f"U+{ord(mark):04X}"


@kind(LEAK)
def decomposed(item: Item, language: Language, rng: random.Random) -> Planted | None:
    text = unicodedata.normalize("NFD", item.text)
    return (text, "NFD") if len(text) > len(item.text) + 2 else None


@kind(LEAK)
def numbers_changed(item: Item, language: Language, rng: random.Random) -> Planted | None:
    words = [Word(changed_number(rng, core) if core.isdigit() else core, after) for core, after in item.words]
    changed = sum(map(Word.__ne__, words, item.words))
    return (written(words), f"{changed} of {len(words)}") if changed > 1 else None


def marked(word: Word, language: Language, rng: random.Random, style: str) -> Word:
    core, after = word
    link = f"https://example.org/{language.content(rng)}"
    ways = {
        "html": [f"<b>{core}</b>", f'<a href="{link}">{core}</a>', f"<br/>{core}", f"<span>{core}</span>"],
        "markdown": [f"**{core}**", f"[{core}]({link})", f"`{core}`", f"_{core}_"],
    }
    return Word(rng.choice(ways[style]), after)


@kind(LEAK, "html", "markdown")
def markup(item: Item, language: Language, rng: random.Random, style: str) -> Planted | None:
    if item.script == CODE:
        return None
    words = [Word(html.escape(core), after) for core, after in item.words]
    for i in places(rng, words, 0.12, 2):
        words[i] = marked(words[i], language, rng, style)
    return (f"<p>{written(words)}</p>" if style == "html" else written(words)), "1 word in 8"


@kind(LEAK)
def several_at_once(item: Item, language: Language, rng: random.Random) -> Planted:
    text = replaced_at(item, language, rng, places(rng, item.words, 0.1))
    return rewrapped(Item(split(text.lower()), "", item.script), language, rng)[
        0
    ], "case, lines, 1 in 10 replaced"


def identifiers(item: Item) -> list[str]:
    keywords = {"def", "for", "in", "if", "else", "return", "while", "not", "range", "len", "and", "None"}
    return sorted({core for core, _ in item.words if core.isalpha() and core not in keywords})


@kind(LEAK)
def variables_renamed(item: Item, language: Language, rng: random.Random) -> Planted | None:
    if item.script != CODE:
        return None
    names = {name: language.content(rng) for name in rng.sample(identifiers(item), 2)}
    return written(Word(names.get(core, core), after) for core, after in item.words), "2 names"


@kind(LEAK)
def lines_numbered(item: Item, language: Language, rng: random.Random) -> Planted | None:
    if item.script != CODE:
        return None
    first = rng.randint(1, 400)
    return "\n".join(f"{first + i:4}  {line}" for i, line in enumerate(item.text.split("\n"))), "every line"


@kind(LEAK, "short, 8 to 12 words")
@kind(GREY, "short, 5 to 7 words")
def short(item: Item, language: Language, rng: random.Random, name: str) -> Planted | None:
    wanted = (8, 12) if name.startswith("short, 8") else (5, 7)
    return (item.text, "whole") if wanted[0] <= len(item.words) <= wanted[1] else None
