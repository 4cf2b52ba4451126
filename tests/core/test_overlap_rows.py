"""Documents of several rows in the core of overlap: as if joined, and which rows a pair touches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast import _core
from lvmfast.corpus.keys import text_bytes
from tests.support import overlap as naive

WORDS = st.sampled_from(
    ["red", "blue", "green", "grey", "black", "white", "pink", "7", "x", "字", "ไ", "ก", "e\u0301", "\u0301"]
)
ITEMS = st.lists(st.lists(WORDS, max_size=24).map(" ".join), min_size=1, max_size=5)
FIGURES = [
    "item", "covered", "weight", "tokens_covered", "words_covered", "longest", "in_8", "in_13",
    "window_start", "window_end", "in_document", "strength", "numbers_differ",
]  # fmt: skip


def index_of(items: Sequence[str]) -> _core.OverlapIndex:
    index = _core.OverlapIndex()
    index.add(*bytes_of(items), 1)
    index.close(1)
    return index


def bytes_of(texts: Sequence[str]):
    return text_bytes(pa.array(texts, pa.large_string()))


@st.composite
def sides(draw):
    """Items, and documents as lists of rows: some hold items or parts of them, cut into rows anywhere."""
    items = draw(ITEMS)
    planted = st.sampled_from(items).flatmap(
        lambda item: st.tuples(st.integers(0, len(item)), st.integers(0, len(item))).map(
            lambda cut: item[min(cut) : max(cut)]
        )
    )
    part = st.one_of(st.sampled_from(items), planted, st.lists(WORDS, max_size=40).map(" ".join))
    documents = []
    for _ in range(draw(st.integers(1, 3))):
        words = " ".join(draw(st.lists(part, max_size=6))).split(" ")
        cuts = draw(st.lists(st.integers(0, len(words)), max_size=6).map(sorted))
        bounds = [0, *cuts, len(words)]
        documents.append([" ".join(words[low:high]) for low, high in pairwise(bounds)])
    return items, documents


@settings(max_examples=200, deadline=None)
@given(sides())
def test_rows_are_scanned_as_if_joined_and_those_that_are_touched_are_the_twins(both) -> None:
    items, documents = both
    index = index_of(items)
    rows = [text for document in documents for text in document]
    starts = np.cumsum([0, *map(len, documents)])
    found = index.scan(*bytes_of(rows), 1, starts)
    joined = index.scan(*bytes_of(["\n".join(document) for document in documents]), 1)
    for name in ("document", *FIGURES):
        assert getattr(found, name).tolist() == getattr(joined, name).tolist(), name
    side = naive.evaluation_side(items)
    touched: list[set[int]] = [set() for _ in range(len(found))]
    for pair, first, end in found.touched.tolist():
        touched[pair].update(range(first, end))
    for pair, (number, item) in enumerate(zip(found.document.tolist(), found.item.tolist(), strict=True)):
        tokens = [naive.tokens(text) for text in documents[number]]
        row_of = [row for row, of_row in enumerate(tokens) for _ in of_row]
        assert found.row_start[pair] == row_of[found.window_start[pair]]
        assert found.row_end[pair] == row_of[found.window_end[pair] - 1] + 1
        assert found.row_token[pair] == row_of.index(found.row_start[pair])
        near = max(0, found.window_start[pair] - 64), min(len(row_of), found.window_end[pair] + 64) - 1
        assert (found.near_start[pair], found.near_end[pair] - 1) == (row_of[near[0]], row_of[near[1]])
        assert found.near_token[pair] == row_of.index(found.near_start[pair])
        assert touched[pair] == naive.touched(side.items[item], tokens)
        left = naive.runs_of(set(range(len(tokens))) - touched[pair])
        rest = ["\n".join(documents[number][low:high]) for low, high in left]
        assert item not in index.scan(*bytes_of(rest), 1).item.tolist()


@pytest.mark.parametrize("starts", [[], [0], [1, 2], [0, 1], [0, 2, 1, 2], [0, 1, 1, 2]])
def test_documents_are_all_rows_in_order(starts: list[int]) -> None:
    with pytest.raises(ValueError, match="expected ascending rows from 0 to 2"):
        index_of(["a b c d e"]).scan(*bytes_of(["a", "b"]), 1, np.array(starts, np.int64))
