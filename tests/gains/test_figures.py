"""Means, differences and intervals of leaked and clean items, against scipy, tables and simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from lvmfast.calibration.suggest import wilson as score_interval
from lvmfast.gains.figures import (
    LEAST,
    Pair,
    Sampling,
    compare,
    compare_all,
    exact_interval,
    largest_gain,
    proportions_interval,
    resampled_sums,
    sweep_point,
    z_value,
)

QUICK = Sampling(resamples=400)


@pytest.mark.parametrize("trials", [1, 7, 50, 1319, 200_000])
@pytest.mark.parametrize("share", [0.0, 0.003, 0.3, 0.5, 0.97, 1.0])
def test_intervals_of_a_proportion_are_those_of_scipy(trials, share):
    hits = round(share * trials)
    test = binomtest(hits, trials)
    exact, wilson = (test.proportion_ci(method=method) for method in ("exact", "wilson"))
    assert exact_interval(hits, trials) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert score_interval(hits, trials) == pytest.approx((wilson.low, wilson.high), abs=1e-9)


@pytest.mark.parametrize(
    ("first", "second", "interval"),  # Newcombe, Statistics in Medicine 17, 1998, table II, method 10
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
    ],
)
def test_the_interval_of_a_difference_is_the_published_one(first, second, interval):
    assert proportions_interval(first, second) == pytest.approx(interval, abs=1e-4)


def drawn(rng, items, gain, *, documents=None):
    """Scores by a known rule: one in three items leaked, and is right by `gain` more often."""
    clusters = np.arange(items) if documents is None else rng.integers(0, documents, items)
    leaked = (rng.random(clusters.max() + 1) < 1 / 3)[clusters]
    return (rng.random(items) < 0.5 + gain * leaked).astype(float), leaked, clusters


@pytest.mark.parametrize(
    ("gain", "verdict"), [(0.3, "advantage"), (0.0, "none shown")], ids=["a gain of 30 points", "no gain"]
)
@pytest.mark.parametrize("documents", [None, 150], ids=["items", "clusters"])
def test_a_known_gain_is_inside_its_interval_and_none_is_claimed_where_there_is_none(
    gain, verdict, documents
):
    rng = np.random.default_rng(3)
    inside = right = 0
    for repetition in range(100):
        found = compare(*drawn(rng, 400, gain, documents=documents), Sampling(1000, repetition))
        low, high = found["leaked_minus_clean"]["interval"]
        inside += low <= gain <= high
        right += found["verdict"] == verdict
        assert found["over"] == ("items" if documents is None else "clusters")
    assert inside >= 93
    assert right >= 93


def test_scores_that_are_no_proportions_have_intervals_of_a_bootstrap():
    rng = np.random.default_rng(4)
    inside = 0
    for repetition in range(100):
        leaked = rng.random(150) < 0.4
        scores = rng.normal(3, 1, 150) + 2 * leaked
        low, high = compare(scores, leaked, np.arange(150), Sampling(500, repetition))["leaked_minus_clean"][
            "interval"
        ]
        inside += low <= 2 <= high
    assert inside >= 90


def test_the_figures_are_those_of_the_published_tables():
    scores, leaked = np.repeat([1.0, 0.0, 1.0, 0.0], [60, 40, 90, 10]), np.repeat([False, True], 100)
    found = compare(scores, leaked, np.arange(200), QUICK)
    assert [found[name]["mean"] for name in ("all", "clean", "leaked")] == [0.75, 0.6, 0.9]
    assert [found[name]["items"] for name in ("all", "clean", "leaked")] == [200, 100, 100]
    assert found["gain"]["difference"] == pytest.approx(0.15)
    assert found["relative"] == pytest.approx(-0.2)  # clean against all, as a share of all
    assert found["clean"]["interval"] == exact_interval(60, 100)
    between = proportions_interval((90, 100), (60, 100))
    assert found["leaked_minus_clean"]["interval"] == between
    assert found["gain"]["interval"] == pytest.approx([end / 2 for end in between])
    assert found["clean_minus_all"]["interval"] == pytest.approx([-between[1] / 2, -between[0] / 2])
    assert found["verdict"] == "advantage"
    assert compare(1 - scores, leaked, np.arange(200), QUICK)["verdict"] == "disadvantage"


def test_z_is_in_deviations_of_means_of_as_many_items_drawn_from_all():
    rng = np.random.default_rng(5)
    scores, leaked, _ = drawn(rng, 300, 0.2)
    means = [scores[rng.permutation(300)[: leaked.sum()]].mean() for _ in range(4000)]
    expected = (scores[leaked].mean() - np.mean(means)) / np.std(means)
    assert z_value(scores, leaked) == pytest.approx(expected, rel=0.05)
    assert z_value(scores, ~leaked) == pytest.approx(-z_value(scores, leaked))
    assert np.isnan(z_value(np.ones(5), leaked[:5]))


def test_whole_clusters_are_drawn():
    rng = np.random.default_rng(6)
    clusters = np.repeat(np.arange(40), 25)
    values = rng.normal(size=40)[clusters] + rng.normal(size=1000) * 0.1
    group = rng.random(1000) < 0.5
    sums, counts = resampled_sums(values, [group], clusters, Sampling(3000))
    means = (sums / counts)[:, 0]
    plain = []
    for _ in range(3000):
        rows = np.concatenate([np.flatnonzero(clusters == c) for c in rng.integers(0, 40, 40)])
        plain.append(values[rows][group[rows]].mean())
    assert means.std() == pytest.approx(np.std(plain), rel=0.1)
    assert means.mean() == pytest.approx(np.mean(plain), abs=0.02)
    wide, narrow = (
        compare(values, group, numbers, QUICK)["all"]["interval"] for numbers in (clusters, np.arange(1000))
    )
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_pairs_are_compared_by_the_same_samples_as_each_alone():
    rng = np.random.default_rng(8)
    scores, clusters = rng.normal(size=400), rng.integers(0, 90, 400)
    masks = [rng.random(400) < share for share in (0.2, 0.5)]
    together = compare_all(scores, [Pair(mask, ~mask) for mask in masks], clusters, QUICK)
    for found, mask in zip(together, masks, strict=True):
        alone = compare(scores, mask, clusters, QUICK)
        for name in ("all", "clean", "leaked", "gain", "leaked_minus_clean"):
            assert found[name]["interval"] == pytest.approx(alone[name]["interval"])
        assert (found["z"], found["verdict"]) == (alone["z"], alone["verdict"])
    assert {each["over"] for each in together} == {"clusters"}
    some, none = np.arange(400) < 100, np.zeros(400, np.bool_)
    (alone,) = compare_all(scores, [Pair(some, none)], clusters, QUICK)
    assert alone["leaked"]["items"] == alone["all"]["items"] == 100
    assert alone["leaked"]["interval"] == alone["all"]["interval"]
    assert (alone["verdict"], alone["clean"]["items"]) == ("too few", 0)


def test_too_few_clusters_leave_the_interval_over_items():
    scores, leaked = np.tile([0.0, 1.0], 100), np.repeat([False, True], 100)
    one_document = np.where(leaked, 100, np.arange(200))
    found = compare(scores, leaked, one_document, QUICK)
    assert found["over"] == "items"
    assert found["clusters"] == {"all": 101, "clean": 100, "leaked": 1}


@pytest.mark.parametrize("few", [0, 1, LEAST - 1])
def test_too_few_items_are_said(few):
    leaked = np.arange(200) < few
    scores = np.where(leaked, 1.0, 0.0)
    found = compare(scores, leaked, np.arange(200), QUICK)
    assert found["verdict"] == "too few"
    assert compare(scores, ~leaked, np.arange(200), QUICK)["verdict"] == "too few"
    enough = compare(
        np.where(np.arange(200) < LEAST, 1.0, 0.0), np.arange(200) < LEAST, np.arange(200), QUICK
    )
    assert enough["verdict"] == "advantage"


def test_the_sweep_removes_more_as_the_threshold_goes_down():
    rng = np.random.default_rng(7)
    coverage = rng.random(1000)
    scores = (rng.random(1000) < 0.3 + 0.5 * (coverage >= 0.6) + 0.2 * (coverage < 0.2)).astype(float)
    points = [
        sweep_point(threshold, compare(scores, coverage >= threshold, np.arange(1000), QUICK))
        for threshold in (1.0, 0.9, 0.6, 0.2, 0.0)
    ]
    for point in points:
        kept = scores[coverage < point["threshold"]]
        assert point["remaining"]["items"] + point["removed"] == 1000
        assert point["remaining"]["items"] == len(kept)
        assert point["remaining"]["mean"] == (
            pytest.approx(kept.mean()) if len(kept) else pytest.approx(np.nan, nan_ok=True)
        )
    assert [point["verdict"] for point in points[:3]] == ["too few", "advantage", "advantage"]
    assert largest_gain(points) == 0.6
    assert largest_gain(points[:1]) is None
