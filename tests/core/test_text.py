"""The text level against Python itself: `re`, `str.lower`, `unicodedata` and `xxhash` are the oracles."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from lvmfast import _core

ABSENT, EMPTY, SHORT = -1, -2, -3


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


#: Code points that both sides' Unicode versions assign, surrogates left out. An older core would not know
#: some of Python's, and there is no list of which.
ASSIGNED = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Cs")]
#: What Unicode 14 (Python 3.11) and 17 (the core) assign both and class differently: a letter that was cased,
#: what NFKC makes that letter, and a mark that was not case-ignorable. It shows beside a sigma alone.
RECLASSIFIED = set("\u0295\u02e4\U0001171e")
older_python = pytest.mark.skipif(
    version(_core.unicode_version()) < version(unicodedata.unidata_version),
    reason="Python's Unicode is newer than the core's",
)


def comparable(text: str) -> bool:
    return all(c not in RECLASSIFIED and unicodedata.category(c) != "Cn" for c in text)


def default(text: str) -> str:
    return re.sub(r"\s+", " ", text.lower()).strip()


def strict(text: str) -> str:
    def fold(c: str) -> str:
        category = unicodedata.category(c)
        return "0" if category == "Nd" else " " if category[0] in "PS" else c

    lower = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    return re.sub(r"\s+", " ", "".join(map(fold, lower))).strip()


ORACLES = {"none": str, "default": default, "strict": strict}


def packed(texts: Iterable[str | bytes]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    rows = [text if isinstance(text, bytes) else text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return np.frombuffer(b"".join(rows), np.uint8), offsets


def hash_128(texts: Sequence[str | bytes], mode: str, threads: int = 2) -> list[int]:
    words = _core.hash_texts_128(*packed(texts), mode, threads)
    assert words.shape == (len(texts), 2)
    return [int(high) << 64 | int(low) for high, low in words]


# Everything that a rule of the normalisation speaks of, and neighbours that might confuse it.
NASTY = (
    "aAzZ019_ \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x00\x08\x1b\x7f\x85\xa0\xad\u1680\u180e\u2000\u200a\u200b\u2028"
    "\u2029\u202f\u205f\u2060\u3000\ufeffΣσςΑαΊΐİIıißẞǄǅǆKΩÅϴ\u0301\u0307\u0345\u0338ʰ'’.·:,-–\"жЖԱ漢字かﬁﬀ½²٣१𝟘𝐀😀𐐀𐐨"
)
texts = st.text(st.sampled_from(NASTY), max_size=120) | st.text(max_size=60)
modes = st.sampled_from(sorted(ORACLES))


@older_python
@pytest.mark.parametrize(
    "context", ["{}", "A{}B", "AΣ{}", "AΣ{}a", "{}Σ", "a{}Σ b", " {} \n{}", "'{}\u0301Σ.{}"]
)
def test_every_code_point_in_context(context: str) -> None:
    wrong = [
        f"U+{ord(c):04X}"
        for c in ASSIGNED
        if _core.normalize_text(text := context.format(c, c), "default") != default(text)
        and not ("Σ" in context and c in RECLASSIFIED)
    ]
    assert wrong == []


@older_python
@pytest.mark.parametrize("context", ["{}", "A{}b", "{}\u0301Σ1{}"])
def test_every_code_point_strictly(context: str) -> None:
    wrong = [
        f"U+{ord(c):04X}"
        for c in ASSIGNED
        if _core.normalize_text(text := context.format(c, c), "strict") != strict(text)
        and not ("Σ" in context and c in RECLASSIFIED)
    ]
    assert wrong == []


@given(texts, modes)
def test_any_text(text: str, mode: str) -> None:
    if comparable(text):
        assert _core.normalize_text(text, mode) == ORACLES[mode](text)


@given(texts, modes)
def test_normalising_twice_changes_nothing(text: str, mode: str) -> None:
    once = _core.normalize_text(text, mode)
    assert _core.normalize_text(once, mode) == once


@given(texts, st.integers(0, 64))
def test_position_within_a_block_does_not_matter(text: str, shift: int) -> None:
    if comparable(text):
        text = "x" * shift + text + "Y" * 40
        assert _core.normalize_text(text, "default") == default(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Well-Known,\u00a0“facts”… ", "well known facts"),
        ("In 1984, £12.50", "in 0000 00 00"),
        ("ﬁne ２０２４", "fine 0000"),
        ("Café CAFE\u0301", "café café"),
        ("?!… —", ""),
    ],
)
def test_strict_folds_what_its_documentation_says(text: str, expected: str) -> None:
    assert _core.normalize_text(text, "strict") == expected


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        _core.normalize_text("a\ud800b", "default")


def test_an_unknown_mode_is_named() -> None:
    with pytest.raises(ValueError, match='expected none, default or strict, got "casefold"'):
        _core.normalize_text("a", "casefold")


@given(st.lists(texts, max_size=100), modes)
def test_hashes_are_those_of_xxhash_over_the_normalised_text(rows: list[str], mode: str) -> None:
    normalised = [_core.normalize_text(row, mode).encode() for row in rows]
    assert hash_128(rows, mode) == [xxhash.xxh3_128_intdigest(row) for row in normalised]
    assert _core.hash_texts_64(*packed(rows), mode, 2).tolist() == [
        xxhash.xxh64_intdigest(r) for r in normalised
    ]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_texts_keep_their_order_for_any_thread_count(threads: int) -> None:
    rows = [f"Row  {i}\n Ж{'É' * (i % 7)}Σ " for i in range(5000)]
    expected = [xxhash.xxh3_128_intdigest(default(row).encode()) for row in rows]
    assert hash_128(rows, "default", threads) == expected


@pytest.mark.parametrize(
    "paragraph", ["A  wide\tText of ASCII.\n", "Широкий  текст Σ ΟΔΟΣ 漢字。\n", "İK\u2126ẞ"]
)
def test_a_large_text(paragraph: str) -> None:
    text = paragraph * 200_000
    assert hash_128([text, "", text], "default") == [
        xxhash.xxh3_128_intdigest(default(row).encode()) for row in (text, "", text)
    ]


def test_a_long_run_between_sigmas_takes_no_quadratic_time() -> None:
    text = ("Σ" + "\u0301" * 50) * 20_000
    assert _core.normalize_text(text, "default") == default(text)


def test_no_rows() -> None:
    assert _core.hash_texts_128(np.empty(0, np.uint8), np.empty(0, np.int64), "default", 1).shape == (0, 2)
    assert _core.hash_texts_64(np.empty(0, np.uint8), np.zeros(1, np.int64), "default", 1).shape == (0,)


@pytest.mark.parametrize(
    "bad", [b"\xff", b"ab\xc3", "漢".encode()[:2] + b"a", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]
)
@pytest.mark.parametrize("mode", sorted(ORACLES))
def test_bytes_that_are_not_utf8_name_the_row(bad: bytes, mode: str) -> None:
    rows = [b"fine"] * 70 + [bad] + [b"fine"]
    index = _core.TextIndex(mode, 0, 2)
    for call in (
        lambda: hash_128(rows, mode),
        lambda: index.add(*packed(rows)),
        lambda: index.find(*packed(rows)),
    ):
        with pytest.raises(ValueError, match="text row 70 is not UTF-8"):
            call()


@pytest.mark.parametrize("offsets", [[-1, 2], [0, 9], [0, 2, 1], [2, 1], [4]])
def test_offsets_outside_the_data(offsets: list[int]) -> None:
    with pytest.raises(ValueError, match="text offsets: expected ascending positions within 3 bytes"):
        _core.hash_texts_128(np.zeros(3, np.uint8), np.array(offsets, np.int64), "none", 1)


@given(
    st.lists(st.lists(texts, max_size=40), max_size=4),
    st.lists(texts, max_size=40),
    modes,
    st.integers(0, 20),
)
def test_the_index_is_a_dict_of_normalised_texts(
    batches: list[list[str]], probes: list[str], mode: str, min_chars: int
) -> None:
    index = _core.TextIndex(mode, min_chars, 2)
    oracle: dict[str, int] = {}

    def slot(text: str, insert: bool) -> int:
        key = _core.normalize_text(text, mode)
        if len(key) < min_chars or not key:
            return SHORT if key else EMPTY
        return oracle.setdefault(key, len(oracle)) if insert else oracle.get(key, ABSENT)

    for batch in batches:
        assert index.add(*packed(batch)).tolist() == [slot(text, insert=True) for text in batch]
    every = [*probes, *(text for batch in batches for text in batch)]
    assert index.find(*packed(every)).tolist() == [slot(text, insert=False) for text in every]
    assert len(index) == len(oracle)
    assert index.nbytes >= sum(len(key.encode()) for key in oracle)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_index_over_more_than_one_share(threads: int) -> None:
    rows = [f"{i % 3000} " * (1 + i % 700) for i in range(9000)]
    index = _core.TextIndex("default", 1, threads)
    oracle: dict[str, int] = {}
    expected = [oracle.setdefault(default(row), len(oracle)) for row in rows]
    assert index.add(*packed(rows)).tolist() == expected
    assert index.find(*packed(rows)).tolist() == expected
