"""The rule of `threshold` where the answer is known: fits, intervals, and what it is robust against."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvmfast.calibration.edits import EDITS, NEAR, SAME, edited
from lvmfast.calibration.suggest import BUDGET, suggest, wilson
from lvmfast.errors import DataError

TEXTS = [f"Which {word} lies, if any, near the {word} of {n} rivers?" for n, word in enumerate("abcde" * 8)]


def gumbel(share, middle=0.4, scale=0.05):
    return middle - scale * math.log(-math.log(share))


def largest(rows):
    """Cosines whose Fisher transforms are exactly distributed as maxima are."""
    return np.tanh([gumbel((i + 0.5) / rows) for i in range(rows)])


def test_a_paraphrase_begins_where_the_fit_leaves_one_in_a_thousand():
    found = suggest(largest(5000), {})
    for near, budget in BUDGET.items():
        exact = np.tanh(gumbel(1 - budget))
        assert exact - 0.001 <= found[near].threshold <= exact + 0.002
    assert found["paraphrase"].above == 5
    assert found["paraphrase"].per_million[0] == pytest.approx(1000, rel=0.3)


def test_the_fit_is_that_of_the_largest_of_many():
    """Nearest cosines of random directions: the share above is what was asked for, by a count."""
    draw = np.random.default_rng(0)
    train = draw.standard_normal((300, 16))
    train /= np.linalg.norm(train, axis=1, keepdims=True)
    eval = draw.standard_normal((60_000, 16))
    eval /= np.linalg.norm(eval, axis=1, keepdims=True)
    nearest = np.concatenate([(eval[i : i + 2000] @ train.T).max(axis=1) for i in range(0, 60_000, 2000)])
    few = suggest(nearest[:2000], {})["paraphrase"]
    assert np.mean(nearest >= few.threshold) <= BUDGET["paraphrase"]


@given(st.integers(0, 60))
def test_planted_paraphrases_do_not_raise_it(planted):
    clean = suggest(largest(400), {})["paraphrase"]
    mixed = suggest(np.concatenate([largest(400), np.full(planted, 0.93)]), {})["paraphrase"]
    assert clean.threshold <= mixed.threshold <= clean.threshold + 0.1 < 0.93
    assert mixed.above == clean.above + planted


def test_same_is_where_edited_texts_are_found_or_above_what_is_unrelated():
    low = {"case": np.linspace(0.96, 1.0, 1001), "punctuation": np.linspace(0.96, 1.0, 1001)}
    found = suggest(largest(400), {**low, "word": np.linspace(0.5, 1.0, 100)})
    assert found["same"].threshold == pytest.approx(0.96)
    assert found["same"].separate
    assert found["same"].found["word"] == pytest.approx(np.mean(np.linspace(0.5, 1.0, 100) >= 0.96))
    assert not found["paraphrase"].separate
    mixed = suggest(largest(400), {"case": np.linspace(0.2, 1.0, 1001)})["same"]
    assert mixed.threshold > np.tanh(gumbel(1 - BUDGET["same"])) - 2e-3
    assert not mixed.separate


@given(st.integers(1, 3000), st.floats(0, 1))
def test_the_interval_is_that_of_wilson(rows, share):
    """Its ends are the rates whose normal test of the count is on the edge."""
    hits = round(share * rows)
    low, high = wilson(hits, rows)
    assert 0 <= low <= hits / rows <= high <= 1
    for end, edge in ((low, hits > 0), (high, hits < rows)):
        if edge:
            deviation = abs(hits / rows - end) / np.sqrt(end * (1 - end) / rows)
            assert deviation == pytest.approx(NormalDist().inv_cdf(0.975), rel=1e-6)


def test_few_rows_are_told_and_too_few_refused():
    found = suggest(largest(40), {})["paraphrase"]
    assert found.above == 0
    assert found.per_million[0] == 0
    assert 80_000 < found.per_million[2] < 100_000
    with pytest.raises(DataError, match="5 evaluation rows match at no level of texts: at least 20"):
        suggest(largest(5), {})


def test_edits_keep_the_words_that_they_are_to_keep():
    def words(text):
        return "".join(c if c.isalnum() else " " for c in text.lower()).split()

    for edit in SAME:
        pairs = edited(TEXTS, edit, seed=3)
        assert len(pairs) >= len(TEXTS) / 2
        assert all(words(text) == words(copy) for text, copy in pairs)
    assert all(copy.endswith(text) and copy != text for text, copy in edited(TEXTS, "prefix", seed=3))
    for text, copy in edited(TEXTS, "word", seed=3):
        assert sum(a != b for a, b in zip(words(text), words(copy), strict=True)) == 1


@given(st.lists(st.text(max_size=30), max_size=8), st.sampled_from(sorted(EDITS)), st.integers(0, 5))
def test_edits_are_a_function_of_text_and_seed(texts, edit, seed):
    random.seed(1)
    first = edited(texts, edit, seed)
    random.seed(2)
    assert edited(texts, edit, seed) == first
    assert all(text in texts and copy != text for text, copy in first)
    assert set(EDITS) == {*SAME, *NEAR}
