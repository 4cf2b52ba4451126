"""Ranks, metrics and intervals against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast.errors import DataError
from lvmfast.evals.bootstrap import cluster_interval, paired_interval
from lvmfast.evals.metrics import (
    METRICS,
    document_metrics,
    hit_counts,
    macro_metrics,
    query_values,
    retrieval_metrics,
)
from lvmfast.evals.ranks import truth_ranks

rankings = st.lists(st.integers(1, 80), min_size=1, max_size=60)


def naive_ranks(queries, pool, truth, exclude=None):
    def score(x, y):
        x, y = x.astype(np.float64), y.astype(np.float64)
        return float(np.clip(x @ y / math.sqrt((x @ x) * (y @ y)), -1, 1))

    ranks = []
    for i, query in enumerate(queries):
        gone = set() if exclude is None else set(exclude[i])
        there = [
            j for j in range(len(pool)) if j not in gone and np.isfinite(pool[j]).all() and pool[j].any()
        ]
        if not query.any():
            ranks.append(len(there))
            continue
        goal = score(query, pool[truth[i]])
        # Rows that equal the truth tie with it; others are far enough from it for any order of summation.
        ranks.append(
            sum(np.array_equal(pool[j], pool[truth[i]]) or score(query, pool[j]) > goal for j in there)
        )
    return ranks


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 60), st.sampled_from([1, 2, 7, 33, 100]))
def test_ranks_are_those_of_brute_force(seed, queries, rows, dim):
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal((rows, dim)).astype(np.float32)
    pool[rng.integers(rows, size=rows // 2)] = pool[rng.integers(rows, size=rows // 2)]  # duplicates
    if dim > 1:
        asked = rng.standard_normal((queries, dim)).astype(np.float32)
    else:
        asked = rng.choice([-1.0, 1.0], size=(queries, 1)).astype(np.float32)
        pool = rng.choice([-1.0, 1.0], size=(rows, 1)).astype(np.float32)
    if rows > 4:
        pool[1], pool[2, 0] = 0, np.nan
    asked[0] = 0
    usable = np.flatnonzero(np.isfinite(pool).all(axis=1) & pool.any(axis=1))
    truth = rng.choice(usable, size=queries)
    exclude = rng.integers(-1, rows, size=(queries, 3))
    exclude[exclude == truth[:, None]] = -1
    expected = naive_ranks(asked, pool, truth, exclude)
    assert truth_ranks(asked, pool, truth, exclude=exclude).tolist() == expected
    assert (
        truth_ranks(asked, pool, truth, exclude=[[j for j in row if j >= 0] for row in exclude]).tolist()
        == expected
    )


def test_ties_count_against_the_model():
    pool = np.array([[1, 0], [2, 0], [0, 1], [3, 0]], np.float32)
    assert truth_ranks(np.array([[5, 0]], np.float32), pool, np.array([1])).tolist() == [3]
    assert truth_ranks(np.zeros((1, 2), np.float32), pool, np.array([1])).tolist() == [4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"queries": np.full((2, 3), np.nan, np.float32)},
            r"queries: 2 of 2 are not finite; the first is row 0, which is NaN",
        ),
        ({"queries": np.ones((2, 4), np.float32)}, "queries: expected 3 components as in the pool, got 4"),
        (
            {"queries": np.ones(3, np.float32)},
            r"queries: expected \(n, d\) floats, n and d at least 1, got \(3,\)",
        ),
        ({"truth": np.array([0, 9])}, "truth: row 9 of query 1 is not in the pool of 4 rows"),
        ({"truth": np.array([0, 3])}, "truth: row 3 of query 1 is zero: nothing retrieves it"),
        ({"truth": np.array([0])}, r"truth: expected \(2,\) integers"),
        ({"exclude": [[1], [1]]}, "truth: row 1 of query 1 is among those it excludes"),
        ({"exclude": [[7], []]}, "exclude: row 7 of query 0 is not in the pool of 4 rows"),
        ({"exclude": [[1]]}, "exclude: expected the rows of 2 queries, got those of 1"),
    ],
)
def test_bad_input_is_named(change, message):
    pool = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    given_ = {"queries": np.ones((2, 3), np.float32), "truth": np.array([0, 1]), "exclude": None} | change
    with pytest.raises(DataError, match=message):
        truth_ranks(given_["queries"], pool, given_["truth"], exclude=given_["exclude"])


@given(rankings)
def test_metrics_by_hand(ranks):
    found = retrieval_metrics(
        np.array(ranks), retrieved=np.array(ranks) * 2, cosines=np.full(len(ranks), 0.25)
    )
    n = len(ranks)
    for k in (1, 5, 10, 20):
        assert found[f"R@{k}"] == pytest.approx(100 * sum(r <= k for r in ranks) / n)
    for k in (20, 50):
        assert found[f"Contain@{k}"] == pytest.approx(100 * sum(2 * r <= k for r in ranks) / n)
    assert found["MRR"] == pytest.approx(sum(1 / r for r in ranks) / n)
    assert found["nDCG@10"] == pytest.approx(sum(1 / math.log2(1 + r) for r in ranks if r <= 10) / n)
    assert found["mean_cosine"] == pytest.approx(0.25)
    assert (
        found["Eff@5"] == pytest.approx(found["R@5"] / found["Contain@50"], nan_ok=True)
        if found["Contain@50"]
        else math.isnan(found["Eff@5"])
    )
    assert tuple(found) == METRICS
    counts = hit_counts(np.array(ranks))
    assert counts["R@5"] == sum(r <= 5 for r in ranks)
    assert set(counts) == {m for m in METRICS if m.startswith(("R@", "Contain@"))}


def test_macro_gives_every_document_the_same_weight():
    values = query_values(np.array([1, 1, 1, 9]))
    documents = np.array(["a", "a", "a", "b"])
    assert macro_metrics(values, documents)["R@1"] == 50.0
    by_document = document_metrics(values, documents)
    assert by_document["a"]["R@1"] == 100.0
    assert by_document["b"]["MRR"] == pytest.approx(1 / 9)


def test_no_ranks_and_ranks_of_zero_are_refused():
    with pytest.raises(DataError, match="at least one query"):
        retrieval_metrics(np.array([], np.int64))
    with pytest.raises(DataError, match="expected ranks from 1, got 0"):
        retrieval_metrics(np.array([1, 0]))


def naive_interval(values, clusters, resamples, seed, over=None):
    """The same draws, with every query of every drawn article written out."""
    rng = np.random.default_rng(seed)
    names = sorted(set(clusters))
    means = []
    for counts in rng.multinomial(len(names), [1 / len(names)] * len(names), size=resamples):
        drawn = [
            i
            for name, c in zip(names, counts, strict=True)
            for _ in range(c)
            for i in range(len(values))
            if clusters[i] == name
        ]
        below = 1.0 if over is None else np.mean([over[i] for i in drawn])
        means.append(np.mean([values[i] for i in drawn]) / below)
    return np.quantile(means, [0.025, 0.975])


def test_interval_equals_resampling_written_out():
    rng = np.random.default_rng(1)
    clusters = rng.integers(6, size=40).tolist()
    values, over = rng.random(40), rng.random(40) + 1
    assert cluster_interval(values, clusters, resamples=200, seed=4) == pytest.approx(
        naive_interval(values, clusters, 200, 4)
    )
    assert cluster_interval(values, clusters, over=over, resamples=200, seed=4) == pytest.approx(
        naive_interval(values, clusters, 200, 4, over)
    )
    assert paired_interval(values, over, clusters, resamples=200, seed=4) == pytest.approx(
        naive_interval(values - over, clusters, 200, 4)
    )


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        centres = rng.standard_normal(40)
        clusters = np.repeat(np.arange(40), 10)
        low, high = cluster_interval(
            centres[clusters] + rng.standard_normal(400), clusters, resamples=400, seed=trial
        )
        covered += low <= 0 <= high
    assert 172 <= covered <= 199  # an interval over queries alone would cover about half


def test_interval_needs_two_clusters_and_the_seed_decides():
    values = np.arange(6.0)
    assert all(math.isnan(end) for end in cluster_interval(values, ["a"] * 6))
    one, two, other = (cluster_interval(values, [0, 0, 1, 1, 2, 2], seed=s) for s in (0, 0, 1))
    assert one == two
    with pytest.raises(DataError, match="expected one for each of 6"):
        cluster_interval(values, [0, 1])
    assert other != pytest.approx((0, 0))
