"""Keys and their intersection against Python's sets and dicts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvmfast import _core

Keys = npt.NDArray[np.uint64]

# Spellings that are an integer's own decimal text, and others that only look like one.
SPELLED = [
    "0",
    "-0",
    "00",
    "12",
    "012",
    "+12",
    " 12",
    "12 ",
    "1_2",
    "1.0",
    "1e3",
    "-",
    "",
    "-12",
    "--12",
    "١٢",
    "１２",
    "²",
]
EDGES = [0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64 - 1, 2**64, 10**30, -(10**30)]
string_ids = st.sampled_from([*SPELLED, *map(str, EDGES)]) | st.integers().map(str) | st.text(max_size=8)


def string_keys(ids: list[str], threads: int = 2) -> Keys:
    rows = [text.encode() for text in ids]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return _core.string_keys(np.frombuffer(b"".join(rows), np.uint8), offsets, threads)


def rows_of(keys: Keys) -> list[tuple[int, ...]]:
    return [tuple(map(int, row)) for row in keys]


@given(st.lists(string_ids, max_size=60))
def test_string_ids_are_equal_when_their_texts_are(ids: list[str]) -> None:
    keys = rows_of(string_keys(ids))
    assert len(dict.fromkeys(keys)) == len(dict.fromkeys(ids))
    assert len(set(zip(ids, keys, strict=True))) == len(set(ids))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=60))
def test_the_text_of_an_integer_has_the_integers_key(ids: list[int]) -> None:
    expected = np.stack([np.zeros(len(ids), np.int64), np.array(ids, np.int64)], axis=1).view(np.uint64)
    np.testing.assert_array_equal(string_keys([str(i) for i in ids]), expected)


@pytest.mark.parametrize("text", [*SPELLED, *map(str, EDGES)])
def test_only_the_text_that_an_integer_prints_is_an_integer(text: str) -> None:
    printed = text.isascii() and text.removeprefix("-").isdigit() and str(int(text)) == text
    is_integer = printed and -(2**63) <= int(text) < 2**63
    [[high, low]] = rows_of(string_keys([text]))
    assert (high == 0) == is_integer
    if is_integer:
        assert low == int(text) % 2**64


def keys_of(width: int) -> st.SearchStrategy[Keys]:
    words = st.sampled_from([0, 1, 2, 3, 2**32, 2**63, 2**64 - 1])
    rows = st.lists(st.lists(words, min_size=width, max_size=width), max_size=40)
    return rows.map(lambda rows: np.array(rows, np.uint64).reshape(-1, width))


two_sides = st.integers(1, 4).flatmap(lambda width: st.tuples(keys_of(width), keys_of(width)))


@given(two_sides, st.sampled_from([1, 2, 3]))
def test_intersection_is_the_nested_loop(sides: tuple[Keys, Keys], threads: int) -> None:
    train, evaluation = sides
    left, right = _core.intersect(train, evaluation, threads)
    expected = [
        (i, j) for i, a in enumerate(rows_of(train)) for j, b in enumerate(rows_of(evaluation)) if a == b
    ]
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == expected


@given(two_sides)
def test_a_table_is_a_dict_with_slots(sides: tuple[Keys, Keys]) -> None:
    inserted, probed = sides
    table = _core.KeyTable(inserted.shape[1], 2)
    oracle: dict[tuple[int, ...], int] = {}
    for part in np.array_split(inserted, 2):
        assert table.insert(part).tolist() == [oracle.setdefault(key, len(oracle)) for key in rows_of(part)]
    assert table.find(probed).tolist() == [oracle.get(key, -1) for key in rows_of(probed)]
    assert len(table) == len(oracle)
    assert table.nbytes >= inserted.shape[1] * 8 * len(oracle)


@pytest.mark.parametrize("train_is_larger", [True, False])
def test_large_sides_with_and_without_repeats(train_is_larger: bool) -> None:
    rng = np.random.default_rng(3)
    large = np.stack([rng.integers(0, 5000, 100_000), rng.integers(0, 40, 100_000)], axis=1)
    small = np.concatenate([large[::50], rng.integers(5000, 9000, (2000, 2))])
    train, evaluation = (large, small) if train_is_larger else (small, large)
    left, right = _core.intersect(train.view(np.uint64), evaluation.view(np.uint64), 2)
    rows: dict[tuple[int, int], list[int]] = {}
    for j, key in enumerate(map(tuple, evaluation.tolist())):
        rows.setdefault(key, []).append(j)
    expected = [(i, j) for i, key in enumerate(map(tuple, train.tolist())) for j in rows.get(key, ())]
    np.testing.assert_array_equal(np.stack([left, right], axis=1), expected)


def test_one_key_on_both_sides_yields_every_pair() -> None:
    train, evaluation = np.full((40_000, 2), 7, np.uint64), np.full((300, 2), 7, np.uint64)
    left, right = _core.intersect(train, evaluation, 2)
    np.testing.assert_array_equal(left, np.repeat(np.arange(40_000), 300))
    np.testing.assert_array_equal(right, np.tile(np.arange(300), 40_000))


def test_more_pairs_than_memory_is_an_error_and_no_crash() -> None:
    keys = np.zeros((20_000_000, 1), np.uint64)
    with pytest.raises(ValueError, match="no memory for the 400000000000000 pairs"):
        _core.intersect(keys, keys, 2)


def test_empty_sides() -> None:
    nothing, something = np.empty((0, 2), np.uint64), np.ones((3, 2), np.uint64)
    for train, evaluation in ((nothing, something), (something, nothing), (nothing, nothing)):
        assert [side.tolist() for side in _core.intersect(train, evaluation, 1)] == [[], []]


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="the two sides differ in width"):
        _core.intersect(np.zeros((1, 2), np.uint64), np.zeros((1, 3), np.uint64), 1)
    with pytest.raises(ValueError, match=r"expected \(n, 2\) words, got \(n, 4\)"):
        _core.KeyTable(2, 1).insert(np.zeros((1, 4), np.uint64))
    with pytest.raises(ValueError, match="a key has at least one word"):
        _core.KeyTable(0, 1)
    with pytest.raises(ValueError, match="aligned C-contiguous"):
        _core.KeyTable(2, 1).find(np.zeros((4, 4), np.uint64)[:, ::2])
