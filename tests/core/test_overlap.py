"""The core of overlap against its naive twin, and against what no twin has time for."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lvmfast import _core
from tests.support import overlap as naive

VALUES = [
    "document", "item", "covered", "weight", "tokens_covered", "words_covered", "longest", "in_8", "in_13",
    "window_start", "window_end", "in_document", "strength", "numbers_differ",
]  # fmt: skip

#: Words that meet often enough for runs, with what folding, composing and cutting have to get right.
WORDS = st.sampled_from(
    [
        "ab", "cd", "AB", "ef", "gh", "ij", "kl", "Straße", "STRASSE", "e\u0301t", "\u00e9t",
        "7", "12", "2024", "x", "漢", "字", "かな", "か\u3099", "が", "한국", "\u1112\u1161\u11ab",
        "ไทย", "น\u0e33", "हिन्दी", "ड\u093c", "\u2460", "½", "ﬁn", "ＦＵＬＬ", "full",
        "z\u200bw", "zw", "\U0001f600", "\u212b", "İ", "ς", "Σ", "a\u0323\u0307",
        "a\u0307\u0323", "عَرَبِي", "=\u0338", "\u0338", "…", "1\u20e3", "\u1161", "\u00a0",
        "™",
    ]
)  # fmt: skip
SEPARATORS = st.sampled_from([" ", " ", " ", "", "\n", ", ", "_", "\u3000", "\u200d", "\u2014"])
TEXTS = st.lists(st.tuples(WORDS, SEPARATORS), max_size=14).map(
    lambda parts: "".join(word + separator for word, separator in parts)
)
#: Few words, so that everything is repeated.
PLAIN = st.lists(st.sampled_from(["red", "blue", "green", "7", "x", "字"]), max_size=60).map(" ".join)
#: Characters of which three are a word, with words between them.
THAI = st.lists(st.sampled_from([*"กขคง", "กขคงจฉช", "ลื", "red", "7"]), max_size=40).map("".join)
ANY = st.one_of(TEXTS, PLAIN, THAI)


#: What Unicode 14 (Python 3.11) and the core's version class differently.
RECLASSIFIED: set[str] = set()


def packed(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    rows = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return np.frombuffer(b"".join(rows), dtype=np.uint8), offsets


def index_of(items: Sequence[str], threads: int = 1) -> _core.OverlapIndex:
    index = _core.OverlapIndex()
    index.add(*packed(items), threads)
    index.close(threads)
    return index


def rows_of(pairs: _core.OverlapPairs, first_document: int = 0) -> list[dict[str, object]]:
    columns = {name: getattr(pairs, name).tolist() for name in VALUES}
    columns["document"] = [row + first_document for row in columns["document"]]
    assert all(len(column) == len(pairs) for column in columns.values())
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def scanned(items: Sequence[str], documents: Sequence[str], threads: int = 1) -> list[dict[str, object]]:
    return rows_of(index_of(items, threads).scan(*packed(documents), threads))


def test_every_character_is_folded_and_classed_as_the_twin_does() -> None:
    """Each in a text of its own, between two letters that it joins or parts."""
    assigned = [c for c in map(chr, range(0x30000)) if unicodedata.category(c) not in ("Cn", "Cs")]
    texts = [f"a{c}b" for c in assigned]
    cut = [tuple(naive.tokens(text)) for text in texts]
    first: dict[tuple[str, ...], int] = {}
    expected = [(first.setdefault(item, i), len(item)) for i, item in enumerate(cut)]
    index = index_of(texts)
    got = list(zip(index.same_as().tolist(), index.tokens().tolist(), strict=True))
    differ = {c for c, g, e in zip(assigned, got, expected, strict=True) if g != e}
    assert differ <= RECLASSIFIED


def test_every_character_by_itself_weighs_as_the_twin_says() -> None:
    """Twelve of each, so that their length in words is what one adds to it."""
    alone = [c for c in map(chr, range(0x30000)) if naive.tokens(c + c) == [c, c]]
    assert {naive.weight(c) for c in alone} == {4, 6}
    words = index_of([12 * c for c in alone]).words()
    assert {c for c, of in zip(alone, words, strict=True) if of != naive.length_of(c)} == set()


@given(st.lists(TEXTS, min_size=1, max_size=12))
@example(["=\u0338a", "= a", "\u2260a", "a=\u0338", "a"])
@example(["\u1112\u1161\u11ab", "한"])
@settings(max_examples=300, deadline=None)
def test_tokens_and_words_of_items(texts: list[str]) -> None:
    index = index_of(texts)
    side = naive.evaluation_side(texts)
    assert index.items == len(texts)
    assert index.same_as().tolist() == side.same_as
    cut = [naive.tokens(text) for text in texts]
    assert index.tokens().tolist() == [len(item) for item in cut]
    assert index.words().tolist() == [sum(map(naive.length_of, item)) // naive.WORD for item in cut]


@given(st.lists(ANY, max_size=6), st.lists(ANY, max_size=4), st.data())
@settings(max_examples=300, deadline=None)
def test_pairs_equal_the_twin(items: list[str], documents: list[str], data: st.DataObject) -> None:
    if items:
        # Documents that hold items, in pieces and in other words.
        pieces = st.sampled_from(items).flatmap(
            lambda item: st.tuples(st.integers(0, len(item)), st.integers(0, len(item))).map(
                lambda cut: item[min(cut) : max(cut)]
            )
        )
        planted = st.lists(st.one_of(pieces, st.sampled_from(items), PLAIN, THAI), min_size=1, max_size=4)
        documents = [*documents, *map(" ".join, data.draw(st.lists(planted, max_size=3)))]
    assert scanned(items, documents) == naive.pairs(items, documents)


LETTERS = [f"word{i}" for i in range(24)]


@pytest.mark.parametrize(
    ("kept", "strength"),
    [
        (LETTERS[:12], 2),  # half, and ten words
        ([*LETTERS[:4], "and", *LETTERS[6:10]], 0),
        (LETTERS[:8], 0),  # a third
    ],
)
def test_half_of_a_long_item_is_a_match(kept: list[str], strength: int) -> None:
    found = scanned([" ".join(LETTERS)], ["before " + " ".join(kept) + " after"])
    assert [pair["strength"] for pair in found] == [strength] * bool(strength)


@pytest.mark.parametrize(
    ("size", "kept", "strength"),
    [
        (16, [*range(8)], 2),  # half, and eight words in a row
        (16, [*range(5), *range(8, 11)], 0),  # half, and eight words that are not in a row
        (9, [*range(7)], 2),  # three quarters, and seven words in a row
        (10, [*range(7)], 0),
        (13, [*range(5), *range(10, 13)], 2),  # three fifths, and eight words
        (14, [*range(5), *range(10, 13)], 0),
        (8, [*range(8)], 2),  # the whole, of eight words
        (7, [*range(7)], 1),
        (8, [*range(7)], 2),
        (9, [*range(5), *range(5, 9)], 2),
    ],
)
def test_more_of_an_item_makes_a_match_of_fewer_words(size: int, kept: list[int], strength: int) -> None:
    words = [LETTERS[i] if i in kept else f"other{i}" for i in range(size)]
    found = scanned([" ".join(LETTERS[:size])], [" ".join(words)])
    assert [pair["strength"] for pair in found] == [strength] * bool(strength)


def test_three_quarters_and_seven_words_need_not_be_in_a_row() -> None:
    for between, strengths in (("gone with", [2]), ("gone with that", [])):
        item = f"red blue 7 green black {between} white grey brown"
        found = scanned([item], [item.replace(between, "what else")])
        assert [pair["strength"] for pair in found] == strengths


def test_runs_are_longer_where_three_characters_are_less_than_a_word() -> None:
    """Of an item of Thai, beside twenty, runs of four characters cover nothing, and runs of five all."""
    rng = np.random.default_rng(7)
    item = "".join(rng.permutation([chr(c) for c in range(0x0E01, 0x0E2F)]))

    def parted(size: int, between: str = " and ") -> str:
        pieces = (item[at : at + size] for at in range(20, len(item), size))
        return between.join([item[:20], *pieces])

    fours = parted(4)
    (pair,) = scanned([item], [parted(5)])
    assert (pair["strength"], pair["tokens_covered"]) == (2, 45)
    assert scanned([item], [fours]) == []
    # In a longer text of Latin the same characters are covered by runs of three.
    latin = " ".join(f"word{i}" for i in range(60))
    (pair,) = scanned([f"{latin} {item}"], [f"{latin} {fours}"])
    assert pair["tokens_covered"] == 60 + 44


def test_pieces_of_thai_in_another_order_are_a_match_from_six_words_on() -> None:
    """Eighteen characters are six words; all that is covered in shorter ones says little of the order."""
    rng = np.random.default_rng(7)
    item = "".join(rng.permutation([chr(c) for c in range(0x0E01, 0x0E2F)]))
    for size, strengths in ((18, [2]), (17, []), (6, [])):
        pieces = [item[at : at + size] for at in range(0, len(item), size)]
        found = scanned([item], [" ".join(reversed(pieces))])
        assert [pair["strength"] for pair in found] == strengths
    # In Han each piece has three words.
    han = "".join(map(chr, range(0x4E00, 0x4E2E)))
    (pair,) = scanned([han], [" ".join(reversed([han[at : at + 6] for at in range(0, len(han), 6)]))])
    assert pair["strength"] == 2


def test_templates_and_wide_gaps_in_thai_equal_the_twin() -> None:
    rng = np.random.default_rng(11)
    letters = [chr(c) for c in range(0x0E01, 0x0E2F)]
    words = ["".join(rng.choice(letters, 3)) for _ in range(9)]
    items = ["".join(rng.choice(words, 16)) for _ in range(40)] + ["one two three four five six seven eight"]
    one = "".join([*rng.permutation(letters), *rng.permutation(letters)])
    far = f" {'elsewhere ' * 200}"
    # In pieces of which no window holds two, and in two halves.
    spread = [far.join(one[at : at + size] for at in range(0, len(one), size)) for size in (5, 46)]
    documents = [*spread, f"{items[0][:30]} {items[1][12:]}", items[2][:40]]
    found = scanned([*items, one], documents)
    assert found == naive.pairs([*items, one], documents)
    assert [pair["document"] for pair in found if pair["item"] == len(items)] == [1]


def test_a_long_document_of_thai_does_not_hold_any_item_by_chance() -> None:
    """Of 3,000 words of three characters: each run of five of an item stands in it somewhere."""
    rng = np.random.default_rng(5)
    words = ["".join(chr(c) for c in rng.integers(0x0E01, 0x0E2F, 3)) for _ in range(3000)]
    chance = 1 / (1 + np.arange(3000))
    texts = ["".join(rng.choice(words, size, p=chance / chance.sum())) for size in [30] * 50 + [100_000]]
    assert scanned(texts[:-1], texts[-1:]) == []


def test_twelve_characters_of_han_are_as_long_as_eight_words() -> None:
    item = "春夏秋冬東西南北金木水火"
    for size, strength in ((12, 2), (11, 1)):
        (pair,) = scanned([item[:size]], [f"甲{item[:size]}乙"])
        assert pair["strength"] == strength
    # Of words in a match, two characters are one.
    long = "".join(map(chr, range(0x4E00, 0x4E20)))
    assert scanned([long], [long[:15]]) == []
    assert [pair["strength"] for pair in scanned([long], [long[:16]])] == [2]


SENTENCE = "why does the {} of a river carry more sand in spring than the {} of a lake in {}"
FILLINGS = [
    ("mouth", "shore", "autumn"), ("bed", "floor", "winter"), ("bank", "rim", "summer"),
    ("bend", "edge", "may"),
]  # fmt: skip


def test_templates_in_many_items_equal_the_twin() -> None:
    items = [SENTENCE.format(a, b, c) for a, _, _ in FILLINGS for _, b, _ in FILLINGS for _, _, c in FILLINGS]
    items += [
        "how many of the 12 apples that fell from the tree near the old mill were eaten by 3 small pigs"
    ]
    documents = [
        *items[:5], " and then ".join(items[10:14]), items[-1].replace("12", "13").replace("3 ", "4 "),
        SENTENCE.format("light", "dark", "space"), "so " + SENTENCE.format("mouth", "x", "y") + " indeed",
    ]  # fmt: skip
    assert scanned(items, documents) == naive.pairs(items, documents)


#: Parts of templates, and what fills their slots.
PARTS = {
    "Latin": (["which of the", "is true of every", "was first to", "how many of the"], "ab cd ef gh ij kl"),
    "Han": (["下列哪一項是", "的正確說法", "關於此人", "何者"], "甲乙 丙丁 戊己 庚 辛 壬癸"),
    "Thai": (["ข้อใดกล่าวถึง", "ได้ถูกต้อง", "มากที่สุดใน", "เป็น"], "กขค งจฉ ชซ ฌญฎฏฐ ฑฒณดตถ ทธ"),
}  # fmt: skip


@given(st.sampled_from(sorted(PARTS)), st.data())
@settings(max_examples=60, deadline=None)
def test_items_of_templates_equal_the_twin(script: str, data: st.DataObject) -> None:
    """Items of one template or two; documents of items, their pieces, and the templates filled otherwise."""
    parts, fillings = PARTS[script]
    space = " " if script == "Latin" else ""
    filling = st.sampled_from(fillings.split())
    part = st.sampled_from(parts)
    templates = data.draw(st.lists(st.lists(part, min_size=2, max_size=4), min_size=1, max_size=2))
    piece = st.one_of(filling, part, st.just("\u2014else "))

    def filled(template: list[str], *slots: str) -> str:
        words = [word for pair in itertools.zip_longest(template, slots, fillvalue="") for word in pair]
        return space.join(filter(None, words))

    slots = [[data.draw(filling) for _ in range(12)] for _ in range(3)]
    items = [filled(template, *some) for template in templates for some in zip(*slots, strict=True)]
    other = st.sampled_from(templates).flatmap(
        lambda template: st.lists(piece, min_size=len(template) - 1, max_size=4).map(
            lambda some: filled(template, *some)
        )
    )
    documents = data.draw(st.lists(st.lists(st.one_of(other, piece), max_size=6).map(space.join), max_size=4))
    documents += items[:2]
    assert scanned(items, documents) == naive.pairs(items, documents)


def test_a_verbatim_item_is_found_though_all_its_parts_stand_in_many_items() -> None:
    """Orders of the same phrases: every 5-gram but those over a border stands in dozens of items."""
    rng = np.random.default_rng(7)
    phrases = [" ".join(f"w{9 * p + k}" for k in range(9)) for p in range(4)]
    orders = {tuple(rng.permutation(4).tolist()) for _ in range(500)}
    items = sorted(" ".join(phrases[p] for p in order) for order in orders)
    items += [f"{phrases[0]} {i}" for i in range(12)] + [phrases[0], "one two three four five"]
    assert len(items) > 30
    documents = [f"before it, {item}! and after" for item in items]
    found = {(pair["document"], pair["item"]) for pair in scanned(items, documents) if pair["tokens_covered"]}
    assert {(i, i) for i in range(len(items))} <= found


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_batches_and_threads_change_nothing(threads: int, batch: int) -> None:
    rng = np.random.default_rng(3)
    words = [f"w{i}" for i in range(60)]
    items = [" ".join(rng.choice(words, rng.integers(3, 30))) for _ in range(50)]
    items += items[:5]
    documents = [
        " ".join([*rng.choice(words, 40), *items[rng.integers(len(items))].split()[: rng.integers(4, 30)]])
        for _ in range(60)
    ]
    whole = scanned(items, documents)
    assert len(whole) > 20
    index = _core.OverlapIndex()
    for start in range(0, len(items), batch):
        index.add(*packed(items[start : start + batch]), threads)
    index.close(threads)
    found = []
    for start in range(0, len(documents), batch):
        found += rows_of(index.scan(*packed(documents[start : start + batch]), threads), start)
    assert found == whole


@given(ANY, ANY, st.integers(0, 5), st.integers(0, 60))
@settings(max_examples=400, deadline=None)
def test_spans_are_common_runs_of_the_texts_as_they_are(
    document: str, item: str, start: int, end: int
) -> None:
    (spans,) = _core.overlap_spans(document, [item], np.array([[start, end]]))
    assert spans.shape[1] == 8
    assert spans.tolist() == sorted(spans.tolist())
    for a, b, c, d, *in_bytes in spans.tolist():
        cuts = ((document, a), (document, b), (item, c), (item, d))
        assert in_bytes == [len(text[:end].encode()) for text, end in cuts]
    window = naive.tokens(document)[start:end]
    ours = naive.tokens(item)
    expected = set()
    for own, other in ((window, ours), (ours, window)):
        lengths = naive.longest_ending(own, other)
        for place, length in enumerate(lengths):
            if length >= naive.run_of(ours) and not (
                place + 1 < len(lengths) and lengths[place + 1] > length
            ):
                expected.add(tuple(own[place + 1 - length : place + 1]))
    found = set()
    for a, b, c, d, *_ in spans.tolist():
        left, right = naive.tokens(document[a:b]), naive.tokens(item[c:d])
        if cuts_no_character(document) and cuts_no_character(item):
            assert left == right
            found.add(tuple(left))
        assert a < b
        assert c < d
    if cuts_no_character(document) and cuts_no_character(item):
        assert found == expected


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=4))
def test_stretches_are_the_tokens_of_their_windows(document: str, windows: list[tuple[int, int]]) -> None:
    stretches = _core.overlap_stretches(document, np.array(windows, np.int64).reshape(-1, 2))
    assert stretches.shape == (len(windows), 2)
    for (start, end), (a, b) in zip(windows, stretches.tolist(), strict=True):
        window = naive.tokens(document)[start:end]
        assert (a < b) == bool(window)
        if cuts_no_character(document):
            assert naive.tokens(document[a:b]) == window


def cuts_no_character(text: str) -> bool:
    """No character, with what composes with it, is more than one token."""
    return not any(c in text for c in "½\u1161™\u0e33")


def test_spans_point_into_the_texts_as_they_are() -> None:
    document = "… ＴＨＥ ﬁrst\u200b stra\u00dfe — is\u0301 “long”, 😀 he said"
    item = "the first STRASSE i\u0073\u0301 long"
    (span,) = _core.overlap_spans(document, [item], np.array([[0, 100]]))[0].tolist()
    assert document[span[0] : span[1]] == "ＴＨＥ ﬁrst\u200b stra\u00dfe — is\u0301 “long"
    assert item[span[2] : span[3]] == item


def test_what_is_asked_out_of_order_or_is_not_text() -> None:
    index = _core.OverlapIndex()
    with pytest.raises(ValueError, match="not closed"):
        index.scan(*packed(["a"]), 1)
    with pytest.raises(ValueError, match="row 1 is not UTF-8"):
        index.add(np.frombuffer(b"ab\xff", dtype=np.uint8), np.array([0, 2, 3]), 1)
    index.close(1)
    with pytest.raises(ValueError, match="is closed"):
        index.add(*packed(["a"]), 1)
    assert len(index.scan(*packed(["a", ""]), 1)) == 0
    assert _core.overlap_unicode().split(".")[0].isdigit()
