"""Kinds that are no leaks: grey ones, which nobody scores, and negatives, which a tool must not report."""

from __future__ import annotations

import json
import random

from kinds import GREY, NEGATIVE, Item, Planted, kind
from words import CODE, Language, Word, split, written


def part_of(item: Item, low: float, high: float, rng: random.Random) -> tuple[str, float] | None:
    """A stretch of a long item, between these shares of its words, and its share."""
    if item.template or len(item.words) < 24:
        return None
    share = rng.uniform(low, high)
    kept = round(share * len(item.words))
    first = rng.randint(0, len(item.words) - kept)
    return written(item.words[first : first + kept]), share


@kind(GREY)
def half(item: Item, language: Language, rng: random.Random) -> Planted | None:
    part = part_of(item, 0.45, 0.55, rng)
    return part and (part[0], f"{part[1]:.0%} kept")


LOOKALIKE = str.maketrans("aceopxyATOEPCHаосреху", "асеорхуАТОЕРСНaocpexy")


@kind(GREY)
def lookalike_letters(item: Item, language: Language, rng: random.Random) -> Planted | None:
    words = [Word(c.translate(LOOKALIKE) if rng.random() < 0.35 else c, after) for c, after in item.words]
    changed = sum(map(Word.__ne__, words, item.words))
    return (written(words), f"{changed} of {len(words)} words") if changed > 2 else None


@kind(GREY)
def escaped(item: Item, language: Language, rng: random.Random) -> Planted | None:
    text = json.dumps(json.dumps({"q": item.text}))
    return None if text.count("\\u") < 4 and "\n" not in item.text else (text, "JSON in JSON")


@kind(NEGATIVE)
def quotation(item: Item, language: Language, rng: random.Random) -> Planted | None:
    part = part_of(item, 0.25, 0.42, rng)
    return part and (f"“{part[0].strip()}”", f"{part[1]:.0%}")


@kind(NEGATIVE)
def template(item: Item, language: Language, rng: random.Random) -> Planted | None:
    return (written(item.words[: item.template]), f"{item.template} words") if item.template else None


@kind(NEGATIVE)
def stock_phrase(item: Item, language: Language, rng: random.Random) -> Planted | None:
    first, last = item.stock
    return (written(item.words[first:last]), f"{last - first} words") if last else None


@kind(NEGATIVE)
def sibling(item: Item, language: Language, rng: random.Random) -> Planted | None:
    """The same template and the same stop words, and nothing else the same."""
    words = item.words[: item.template] + [
        word if language.is_stop_word(word.core) else Word(language.other(rng, word.core), word.after)
        for word in item.words[item.template :]
    ]
    same = sum(map(Word.__eq__, words, item.words))
    if item.script == CODE or same - item.template > (len(words) - item.template) / 2:
        return None
    return written(words), f"{same / len(words):.0%} the same"


@kind(NEGATIVE)
def words_shuffled(item: Item, language: Language, rng: random.Random) -> Planted:
    cores = rng.sample([word.core for word in item.words], len(item.words))
    return written(Word(core, word.after) for core, word in zip(cores, item.words, strict=True)), "all"


@kind(NEGATIVE)
def answer_alone(item: Item, language: Language, rng: random.Random) -> Planted | None:
    # a worked solution says the question again
    return (item.answer, "whole") if item.answer and len(split(item.answer)) <= 12 else None
