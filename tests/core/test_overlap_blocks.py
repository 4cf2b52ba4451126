"""The core of overlap with its items in blocks: pairs, and n-grams that were seen, are those without."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast import _core

VALUES = [
    "document", "item", "covered", "weight", "tokens_covered", "words_covered", "longest", "in_8", "in_13",
    "window_start", "window_end", "in_document", "strength", "numbers_differ",
]  # fmt: skip


def packed(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    rows = [text.encode() for text in texts]
    return np.frombuffer(b"".join(rows), np.uint8), np.cumsum([0, *map(len, rows)], dtype=np.int64)


def index_of(items: Sequence[str]) -> _core.OverlapIndex:
    index = _core.OverlapIndex()
    index.add(*packed(items), 1)
    return index


def rows_of(pairs: _core.OverlapPairs) -> list[tuple[object, ...]]:
    return list(zip(*(getattr(pairs, name).tolist() for name in VALUES), strict=True))


def by_blocks(index: _core.OverlapIndex, documents: Sequence[str], of: int) -> list[tuple[object, ...]]:
    found = []
    for block in range(of):
        index.turn(block, of, 2)
        found += rows_of(index.scan(*packed(documents), 2))
    return sorted(found)


def world(seed: int) -> tuple[list[str], list[str]]:
    """Items of templates, of which some are frequent, edited, equal and cut; and documents."""
    rng = random.Random(seed)
    words = [f"word{i}" for i in range(120)]
    frames = [[rng.choice(words) for _ in range(rng.randrange(3, 14))] for _ in range(4)]
    items = []
    for _ in range(rng.randrange(20, 90)):
        filled = rng.choices(words, k=rng.randrange(0, 12))
        frame = rng.choice(frames) if rng.random() < 0.6 else []
        items.append([*frame, *filled] if rng.random() < 0.5 else [*filled, *frame])
    for _ in range(30):  # near duplicates, equal ones, beginnings, and items of templates alone
        item = list(rng.choice(items))
        kind = rng.randrange(4)
        if kind == 0 and item:
            item[rng.randrange(len(item))] = rng.choice(words)
        elif kind == 1:
            item = item[: rng.randrange(len(item) + 1)]
        elif kind == 2:
            item = rng.choice(frames) * rng.randrange(1, 4)
        items.append(item)
    rng.shuffle(items)
    documents = []
    for _ in range(40):
        parts = []
        for _ in range(rng.randrange(4)):
            item = list(rng.choice(items))
            for _ in range(rng.randrange(3)):
                if item:
                    item[rng.randrange(len(item))] = rng.choice(words)
            parts += [*item, *rng.choices(words, k=rng.randrange(10))]
        documents.append(parts)
    return [" ".join(item) for item in items], [" ".join(document) for document in documents]


@pytest.mark.parametrize("seed", range(12))
def test_blocks_find_the_pairs_of_all_items(seed: int) -> None:
    items, documents = world(seed)
    whole = index_of(items)
    whole.close(1)
    expected = rows_of(whole.scan(*packed(documents), 1))
    assert len(expected) > 20
    for of in (1, 2, 3, 5, 7, 1000):
        assert by_blocks(index_of(items), documents, of) == expected
    assert by_blocks(whole, documents, 4) == expected  # and it turns from all to blocks


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), max_size=30).map(" ".join), min_size=1, max_size=30),
    st.lists(st.lists(st.sampled_from("abcdefg"), max_size=60).map(" ".join), max_size=4),
    st.integers(1, 8),
)
@settings(max_examples=200, deadline=None)
def test_blocks_of_any_items_find_the_pairs_of_all(items: list[str], documents: list[str], of: int) -> None:
    whole = index_of(items)
    whole.close(1)
    assert by_blocks(index_of(items), documents, of) == rows_of(whole.scan(*packed(documents), 1))


@pytest.mark.parametrize("seed", range(4))
def test_some_items_alone_are_found_whatever_the_block(seed: int) -> None:
    items, documents = world(seed)
    index = index_of(items)
    index.close(1)
    of_all = rows_of(index.scan(*packed(documents), 1))
    index.turn(1, 3, 1)
    same_as = index.same_as()
    for some in (range(0, len(items), 5), range(7, 9), range(0)):
        firsts = set(same_as[list(some)].tolist())
        found = index.scan(*packed(documents), 1, None, np.array(some, np.int64))
        assert rows_of(found) == [pair for pair in of_all if pair[1] in firsts]
    with pytest.raises(ValueError, match="there is no item 5000"):
        index.scan(*packed(documents), 1, None, np.array([5000]))


@pytest.mark.parametrize("seed", range(4))
def test_n_grams_that_were_seen_are_those_of_all_items(seed: int) -> None:
    items, documents = world(seed)
    whole = index_of(items)
    whole.close(1)
    whole.watch_grams()
    whole.scan(*packed(documents), 2)
    repeated = [dict(zip(*map(np.ndarray.tolist, whole.repeated_grams(n, 1)), strict=True)) for n in range(3)]
    expected = [set(places.tolist()) for places in whole.take_seen()]
    assert all(expected)
    assert not any(expected[n] & repeated[n].keys() for n in range(3))
    for of in (2, 3, 7):
        index = index_of(items)
        index.watch_grams()
        seen: list[set[int]] = [set(), set(), set()]
        for block in range(of):
            index.turn(block, of, 1)
            index.scan(*packed(documents), 2)
            for n, places in enumerate(index.take_seen()):
                seen[n] |= {repeated[n].get(place, place) for place in places.tolist()}
        assert seen == expected


def test_repeated_n_grams_are_those_of_plain_python() -> None:
    items, _ = world(3)
    index = index_of(items)
    index.end(1)
    tokens = [item.split() for item in dict.fromkeys(items)]
    starts = np.cumsum([0, *map(len, tokens)])
    for which, length in enumerate((8, 11, 13)):
        first: dict[tuple[str, ...], int] = {}
        expected = []
        for item, start in zip(tokens, starts, strict=False):
            for place in range(len(item) - length + 1):
                known = first.setdefault(tuple(item[place : place + length]), start + place)
                if known != start + place:
                    expected.append((start + place, known))
        places, of = index.repeated_grams(which, 1)
        assert list(zip(places.tolist(), of.tolist(), strict=True)) == expected
        assert expected


def test_as_many_blocks_as_the_room_asks_for() -> None:
    items, documents = world(1)
    index = index_of(items)
    index.end(1)
    most = index.tokens().max()
    distinct = np.unique(index.same_as())
    tokens = int(index.tokens()[distinct].sum())
    whole = 40 * tokens
    assert index.blocks(whole) == 1
    bare = index.nbytes
    for part in (2, 5):
        of = index.blocks(whole // part)
        assert of is not None
        assert of >= part
        for block in range(of):
            index.turn(block, of, 1)
            assert index.nbytes - bare <= whole // part
    assert index.blocks(40 * int(most)) is None
    assert index.blocks(0) is None
    with pytest.raises(ValueError, match="block 3 of 3"):
        index.turn(3, 3, 1)
    with pytest.raises(ValueError, match="closed"):
        index.add(*packed(documents), 1)


def test_nothing_is_scanned_before_a_turn() -> None:
    index = index_of(["a b c d e f"])
    index.end(1)
    with pytest.raises(ValueError, match="not closed"):
        index.scan(*packed(["a"]), 1)
    with pytest.raises(ValueError, match="not closed"):
        index_of(["a"]).scan(*packed(["a"]), 1, None, np.array([0]))
