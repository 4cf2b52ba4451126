"""Overlap in naive Python: the words of its definition, with `unicodedata` and plain loops."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

FREQUENT = 10

#: Default_Ignorable_Code_Point of the Unicode character database.
IGNORABLE = [
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A),
    (0xE0000, 0xE0FFF),
]  # fmt: skip
#: Han, kana, Hangul, Thai, Lao, Tibetan, Myanmar, Khmer.
ALONE = [
    (0xE00, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x312F),
    (0x31A0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA960, 0xA97F), (0xA9E0, 0xA9FF),
    (0xAA60, 0xAA7F), (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF),
]  # fmt: skip


#: Thai, Lao, Tibetan, Myanmar, Khmer.
THREE_A_WORD = [(0xE00, 0x109F), (0x1780, 0x17FF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F)]
WORD = 12


def within(c: str, ranges: list[tuple[int, int]]) -> bool:
    return any(low <= ord(c) <= high for low, high in ranges)


def shown(text: str) -> str:
    return "".join(c for c in text if not within(c, IGNORABLE))


def folded(c: str) -> str:
    """NFKC_Casefold of one character."""
    while True:
        step = unicodedata.normalize("NFKC", shown(unicodedata.normalize("NFKC", c)).casefold())
        if shown(step) == c:
            return c
        c = shown(step)


def tokens(text: str) -> list[str]:
    found: list[str] = []
    inside = alone = False
    for c in unicodedata.normalize("NFC", "".join(map(folded, text))):
        group = unicodedata.category(c)[0]
        if group == "M":
            if inside:
                found[-1] += c
        elif group in "LN":
            by_itself = within(c, ALONE)
            if inside and not by_itself and not alone:
                found[-1] += c
            else:
                found.append(c)
            inside, alone = True, by_itself
        else:
            inside = alone = False
    return found


def weight(token: str) -> int:
    base = [c for c in token if unicodedata.category(c)[0] != "M"]
    if within(base[0], ALONE):
        return 4 if within(base[0], THREE_A_WORD) else 6
    if all(unicodedata.category(c)[0] == "N" for c in base):
        return 3 if len(base) <= 3 else WORD
    return 3 if len(token) == 1 and token.isascii() else WORD


def in_words(weight: int) -> int:
    """What a token of a weight counts where words are asked for: letters and short numbers are none."""
    return 0 if weight == 3 else weight


def length_of(token: str) -> int:
    """What a token adds to the length of its item, WORD a word."""
    return 8 if weight(token) == 6 else in_words(weight(token))


def run_of(item: Sequence[str]) -> int:
    characters = sum(within(token[0], THREE_A_WORD) for token in item)
    return 5 if characters >= 5 and 2 * characters >= len(item) else 3


def is_number(token: str) -> bool:
    base = [c for c in token if unicodedata.category(c)[0] != "M"]
    return all(unicodedata.category(c)[0] == "N" and not within(c, ALONE) for c in base)


def grams(sequence: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1)]


@dataclass
class Item:
    tokens: tuple[str, ...]
    weights: list[int] = field(default_factory=list)
    seeds: set[tuple[str, ...]] = field(default_factory=set)
    #: In an item of a template, the tokens that are of it alone, and the runs that cover no others.
    of_template: set[int] = field(default_factory=set)
    frequent: set[tuple[str, ...]] = field(default_factory=set)


@dataclass
class Side:
    """The evaluation side: its distinct items, by the first of each kind."""

    items: dict[int, Item]
    same_as: list[int]


def evaluation_side(texts: Sequence[str]) -> Side:
    cut = [tuple(tokens(text)) for text in texts]
    same_as = [cut.index(item) for item in cut]
    items = {i: Item(cut[i]) for i in sorted(set(same_as))}

    def rarity(n: int) -> Counter[tuple[str, ...]]:
        return Counter(gram for item in items.values() for gram in set(grams(item.tokens, n)))

    of_run = {n: rarity(n) for n in (3, 5)}
    for item in items.values():
        item.weights = [weight(token) for token in item.tokens]
        of_template = []
        run = run_of(item.tokens)
        for j in range(len(item.tokens)):
            around = [
                tuple(item.tokens[k : k + run])
                for k in range(max(0, j - run + 1), j + 1)
                if k + run <= len(item.tokens)
            ]
            of_template.append(bool(around) and all(of_run[run][gram] > FREQUENT for gram in around))
        ours = grams(item.tokens, 5)
        if not all(of_template):
            item.weights = [0 if t else w for t, w in zip(of_template, item.weights, strict=True)]
            item.of_template = {j for j, t in enumerate(of_template) if t}
            if 5 * sum(of_run[5][gram] > FREQUENT for gram in ours) >= 2 * len(ours):
                item.frequent = {gram for gram in grams(item.tokens, run) if of_run[run][gram] > FREQUENT}
        item.seeds = {gram for gram in ours if of_run[5][gram] <= FREQUENT}
        if ours and not item.seeds:
            item.seeds = {min(ours, key=lambda gram: of_run[5][gram])}
    return Side(items, same_as)


def held_tokens(item: Item, held: Counter[tuple[str, ...]], n: int) -> set[int]:
    """The tokens at places of n-grams up to which the item has one no more often than it is held."""
    seen: Counter[tuple[str, ...]] = Counter()
    found: set[int] = set()
    for place, gram in enumerate(grams(item.tokens, n)):
        seen[gram] += 1
        if seen[gram] <= held[gram]:
            found.update(covered_by(item, place, n))
    return found


def covered_by(item: Item, place: int, n: int) -> set[int]:
    """The tokens that the n-gram at a place covers: a frequent run those of templates alone."""
    here = set(range(place, place + n))
    return here & item.of_template if item.tokens[place : place + n] in item.frequent else here


def covered_in(item: Item, run: range) -> set[int]:
    """The tokens that a common run covers by itself."""
    n = run_of(item.tokens)
    return {j for place in range(run.start, run.stop - n + 1) for j in covered_by(item, place, n)}


def words_of(item: Item, places: set[int]) -> int:
    return sum(in_words(item.weights[place]) for place in places)


def in_runs(item: Item, stretches: list[list[str]], n: int) -> set[int]:
    there = {gram for stretch in stretches for gram in grams(stretch, n)}
    return {place + k for place, gram in enumerate(grams(item.tokens, n)) if gram in there for k in range(n)}


def common_runs(item: Item, stretches: list[list[str]]) -> list[range]:
    """The places of every run of the item that stands in one of the stretches."""
    size = len(item.tokens)
    spelled = ["\0".join(["", *stretch, ""]) for stretch in stretches]
    return [
        range(first, end)
        for first in range(size + 1)
        for end in range(first, size + 1)
        if any("\0".join(["", *item.tokens[first:end], ""]) in there for there in spelled)
    ]


def judge(item: Item, document: list[str]) -> dict[str, object] | None:
    size = len(item.tokens)
    fives = grams(document, 5)
    seeds = [i for i, gram in enumerate(fives) if gram in item.seeds]
    if not seeds:
        return None
    held = held_tokens(item, Counter(gram for gram in fives if gram in item.seeds), 5)
    in_seeds = {p + k for p, gram in enumerate(grams(item.tokens, 5)) if gram in item.seeds for k in range(5)}
    in_document = sum(item.weights[j] for j in held)
    if 5 * in_document < sum(item.weights[j] for j in in_seeds):
        return None
    run = run_of(item.tokens)
    if run == 5:
        held, in_document = set(), 0

    length = 2 * size + 64
    best: tuple[int, int, int] | None = None
    looked_at: set[int] = set()
    for start in range(max(0, len(document) - length) + 1):
        end = min(len(document), start + length)
        if not any(start <= i and i + 5 <= end for i in seeds):
            continue
        looked_at.update(range(start, end))
        covered = held_tokens(item, Counter(grams(document[start:end], run)), run)
        found = (sum(item.weights[j] for j in covered), len(covered), -start)
        best = max(best, found) if best else found
    assert best
    start = -best[2]
    window = document[start : start + length]
    covered = held_tokens(item, Counter(grams(window, run)), run)
    total = sum(item.weights)
    long_enough = sum(map(length_of, item.tokens)) >= 8 * WORD
    whole = len(covered) == size
    stretches: list[list[str]] = []
    for place in sorted(looked_at):
        if place - 1 not in looked_at:
            stretches.append([])
        stretches[-1].append(document[place])
    runs = [covered_in(item, run) for run in common_runs(item, stretches)]
    anywhere = [in_words(weight(token)) for token in item.tokens]
    words, in_a_row = words_of(item, covered), max(sum(anywhere[j] for j in one) for one in runs)
    match = (
        (2 * best[0] >= total and words >= 10 * WORD)
        or (2 * best[0] >= total and max(words_of(item, one) for one in runs) >= 8 * WORD)
        or (5 * best[0] >= 3 * total and words >= 8 * WORD)
        or (2 * in_document >= total and words_of(item, held) >= 10 * WORD)
        or (long_enough and 4 * best[0] >= 3 * total and max(words, in_a_row) >= 7 * WORD)
        or (whole and long_enough)
    ) and (run == 3 or in_a_row >= 6 * WORD)
    common = [k for k, gram in enumerate(grams(window, run)) if gram in set(grams(item.tokens, run))]
    if not match and not (whole and not long_enough):
        return None
    longest = max(n for n in range(size + 1) if n == 0 or in_runs(item, stretches, n))
    return {
        "covered": best[0],
        "weight": total,
        "tokens_covered": best[1],
        "words_covered": words // WORD,
        "longest": longest,
        "in_8": len(in_runs(item, stretches, 8)),
        "in_13": len(in_runs(item, stretches, 13)),
        "window_start": start + common[0],
        "window_end": start + common[-1] + run,
        "in_document": in_document,
        "strength": 2 if match else 1,
        "numbers_differ": not whole
        and all(is_number(item.tokens[j]) for j in range(size) if j not in covered),
    }


def pairs(items: Sequence[str], documents: Sequence[str]) -> list[dict[str, object]]:
    side = evaluation_side(items)
    found = []
    for row, text in enumerate(documents):
        document, places = tokens(text), without_line_numbers(text)
        for number, item in side.items.items():
            pair = judge(item, document)
            if len(places) < len(document) and (other := judge(item, [document[at] for at in places])):
                other["window_start"] = places[other["window_start"]]
                other["window_end"] = places[other["window_end"] - 1] + 1
                pair = max(pair or other, other, key=lambda one: (one["strength"], one["covered"]))
            if pair:
                found.append({"document": row, "item": number} | pair)
    return found


def without_line_numbers(text: str) -> list[int]:
    """The places of the tokens of a text that are no numbers of its lines."""
    lines = text.split("\n")
    begins = [re.match(r"[ \t]*([0-9]{1,6})(?=[\x00-\x7f]|\Z)(?![0-9A-Za-z_])", line) for line in lines]
    values = [int(begin[1]) if begin else -9 for begin in begins]
    numbered = {
        row + k
        for row in range(len(lines) - 2)
        if values[row] >= 0 and values[row : row + 3] == list(range(values[row], values[row] + 3))
        for k in range(3)
    }
    kept, done = [], 0
    for row, line in enumerate(lines):
        size = len(tokens(line))
        kept += range(done + (row in numbered), done + size)
        done += size
    assert done == len(tokens(text))
    return kept


def touched(item: Item, rows: list[list[str]]) -> set[int]:
    """The rows of a document, as tokens, that have to go for the item to stand in no run of the others."""
    document = [token for row in rows for token in row]
    pair = judge(item, document)
    if pair is None:
        return set()
    row_of = [number for number, row in enumerate(rows) for _ in row]
    total, size, run = sum(item.weights), len(item.tokens), run_of(item.tokens)
    seeds = [i for i, gram in enumerate(grams(document, 5)) if gram in item.seeds]
    length = 2 * size + 64
    extents = [(pair["window_start"], pair["window_end"])]
    for start in range(max(0, len(document) - length) + 1):
        window = document[start : start + length]
        if any(start <= i and i + 5 <= start + len(window) for i in seeds):
            covered = held_tokens(item, Counter(grams(window, run)), run)
            if 2 * sum(item.weights[j] for j in covered) >= total or len(covered) == size:
                common = [i for i, gram in enumerate(grams(window, run)) if gram in grams(item.tokens, run)]
                extents.append((start + common[0], start + common[-1] + run))
    gone = {row for low, high in extents for row in range(row_of[low], row_of[high - 1] + 1)}
    for low, high in runs_of(set(range(len(rows))) - gone):
        first = sum(map(len, rows[:low]))
        fives = grams([token for row in rows[low:high] for token in row], 5)
        there = [(first + i, gram) for i, gram in enumerate(fives) if gram in item.seeds]
        held = held_tokens(item, Counter(gram for _, gram in there), 5)
        if run == 3 and 2 * sum(item.weights[j] for j in held) >= total:
            gone.update(row for i, _ in there for row in range(row_of[i], row_of[i + 4] + 1))
    return gone


def longest_ending(own: Sequence[str], other: Sequence[str]) -> list[int]:
    """For each place of `own`, the tokens of the longest run that ends with it and stands in `other`."""
    text = "\0".join(["", *other, ""])
    return [
        max(n for n in range(j + 2) if n == 0 or "\0".join(["", *own[j + 1 - n : j + 1], ""]) in text)
        for j in range(len(own))
    ]


def cut(
    text: str, items: Sequence[str], margin: int, limits: tuple[int, int, int]
) -> tuple[str, list[tuple[int, int]], list[tuple[int, int]]]:
    """What becomes of a document, and where it is cut and its pieces stand: of words that are `\\w+`.

    The limits: the fewest characters of a piece, the most pieces, how often it is looked at.
    """
    least, most, looks = limits
    kept: list[tuple[int, int]] = []
    gone: set[int] = set()
    pieces = [(0, len(text))]
    for _ in range(looks):
        made = []
        for low, high in pieces:
            piece = text[low:high]
            words = [match.span() for match in re.finditer(r"\w+", piece)]
            assert len(words) == len(tokens(piece))
            found = [pair for pair in pairs(items, [piece]) if pair["strength"] == 2]
            if not found:
                kept.append((low, high))
                continue
            taken: set[int] = set()
            for pair in found:
                start, end = words[pair["window_start"]][0], words[pair["window_end"] - 1][1]
                taken.update(range(max(0, start - margin), min(len(piece), end + margin)))
            gone.update(low + at for at in taken)
            left = "".join("x" if at in taken else "." for at in range(len(piece)))
            made += [(low + m.start(), low + m.end()) for m in re.finditer(r"\.+", left)]
        pieces = [(low, high) for low, high in made if high - low >= least]
        if len(kept) + len(pieces) > most:
            return "too_many_pieces", runs_of(gone), []
        if not pieces:
            return ("cut" if kept else "too_short"), runs_of(gone), sorted(kept)
    return "still_matches", runs_of(gone), []


def runs_of(places: set[int]) -> list[tuple[int, int]]:
    """The runs of consecutive numbers."""
    starts = sorted(place for place in places if place - 1 not in places)
    ends = sorted(place + 1 for place in places if place + 1 not in places)
    return list(zip(starts, ends, strict=True))
