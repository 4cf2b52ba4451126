"""Audits, domains, density and reranker on planted data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvmfast.errors import DataError
from lvmfast.evals.audits import (
    acceptance_region,
    key_shift_audit,
    oracle_check,
    random_query_check,
    separation_check,
)
from lvmfast.evals.density import density, final_ranks, rerank_by_density
from lvmfast.evals.domains import Gating, assign_domains, fit_domains, gated_ranks
from lvmfast.evals.queries import integer_keys
from lvmfast.evals.ranks import truth_ranks
from lvmfast.evals.request import TopK
from lvmfast.evals.rerank import (
    _gradients,
    _loss,
    feature_names,
    fit_reranker,
    list_features,
    load_reranker,
    save_reranker,
)
from lvmfast.evals.search import open_pool, top_k


@pytest.fixture(scope="module")
def articles():
    """12 articles of 20 chunks each; vectors of an article are alike."""
    rng = np.random.default_rng(0)
    keys = np.stack([np.repeat(np.arange(12), 20), np.tile(np.arange(20), 12)], axis=1)
    centres = rng.standard_normal((12, 16))
    vectors = (centres[keys[:, 0]] + rng.standard_normal((240, 16))).astype(np.float32)
    return keys, vectors


def test_true_keys_pass_the_audits_and_keys_off_by_one_do_not(articles):
    pairs, vectors = articles
    keys = integer_keys(pairs)
    asked = np.flatnonzero((pairs[:, 1] > 0) & (pairs[:, 1] < 19))
    pool = open_pool(vectors)
    found = key_shift_audit(vectors[asked], keys[asked], pool, vectors, keys)
    assert found.passed
    assert found.found["R@1"] == {"-1": 0.0, "0": 100.0, "+1": 0.0}
    assert oracle_check(vectors[asked], pool, vectors, asked).passed
    for off in (-1, 1):
        shifted = integer_keys(pairs[asked] + np.array([0, off]))
        found = key_shift_audit(vectors[asked], shifted, pool, vectors, keys)
        assert not found.passed
        assert found.found["best"] == f"{-off:+d}"
        assert f"off by {-off:+d}" in found.sentence
        oracle = oracle_check(vectors[asked], pool, vectors, asked + off)
        assert not oracle.passed
        assert oracle.found["R@1"] == 0.0


def test_an_equal_row_under_another_key_is_no_failure(articles):
    _, vectors = articles
    twice = vectors.copy()
    twice[0] = twice[100]
    assert oracle_check(twice[100:101], open_pool(twice), twice, np.array([100])).passed


@given(st.integers(1, 60), st.floats(0.01, 0.99), st.sampled_from([0.9, 0.999]))
def test_the_acceptance_region_is_that_of_the_binomial_test(trials, chance, level):
    from math import comb

    mass = [comb(trials, i) * chance**i * (1 - chance) ** (trials - i) for i in range(trials + 1)]
    low, high = acceptance_region(trials, chance, level)
    tail = (1 - level) / 2
    assert sum(mass[:low]) <= tail + 1e-9
    assert sum(mass[high + 1 :]) <= tail + 1e-9
    assert sum(mass[: low + 1]) >= tail - 1e-9
    assert sum(mass[high:]) >= tail - 1e-9


def test_random_queries_are_chance_and_a_search_that_cheats_is_not(articles, monkeypatch):
    _, vectors = articles
    exclude = [[i] for i in range(100)]
    assert all(random_query_check(vectors, seed=seed).passed for seed in range(5))
    assert random_query_check(vectors, exclude=exclude, k=20).passed
    from lvmfast.evals import audits

    monkeypatch.setattr(audits, "truth_ranks", lambda q, *rest, **more: np.ones(len(q), np.int64))
    assert not random_query_check(vectors).passed


def test_separation_is_the_auc_of_pairs(articles):
    keys, vectors = articles
    rng = np.random.default_rng(1)
    rows = rng.permutation(240)[:80]
    predicted = vectors[rows] + rng.standard_normal((80, 16)).astype(np.float32)
    found = separation_check(predicted, vectors[rows], keys[rows, 0])

    def cosine(x, y):
        return float(x @ y / np.sqrt((x @ x) * (y @ y)))

    positive = [cosine(predicted[i], vectors[rows[i]]) for i in range(80)]
    negative = [
        [cosine(predicted[i], vectors[rows[j]]) for j in range(80) if keys[rows[i], 0] != keys[rows[j], 0]]
        for i in range(80)
    ]
    every = [value for values in negative for value in values]
    assert found.found["auc"] == pytest.approx(np.mean([[p > n for n in every] for p in positive]), abs=1e-6)
    assert found.passed
    assert not separation_check(-predicted, vectors[rows], keys[rows, 0]).passed


def test_density_is_the_mean_of_the_ten_nearest(articles):
    _, vectors = articles
    wide = vectors / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    similar = wide @ wide.T
    np.fill_diagonal(similar, -2)
    expected = np.sort(similar, axis=1)[:, -10:].mean(axis=1)
    np.testing.assert_allclose(density(vectors), expected, atol=1e-9)


def test_candidates_are_put_in_order_by_density():
    found = TopK(np.array([[0.9, 0.8, 0.7]]), np.array([[4, 2, 9]]))
    densities = np.zeros(10)
    densities[4], densities[2] = 0.6, 0.2
    ordered = rerank_by_density(found, densities, 0.5)
    assert ordered.rows.tolist() == [[2, 9, 4]]
    assert final_ranks(ordered, np.array([4]), np.array([1])).tolist() == [3]
    assert final_ranks(ordered, np.array([9]), np.array([3])).tolist() == [2]  # ties with row 2
    assert final_ranks(ordered, np.array([5]), np.array([2])).tolist() == [4]


def test_gradients_of_the_listwise_loss_are_those_of_differences():
    rng = np.random.default_rng(2)
    features, goal = rng.standard_normal((6, 9, 11)), rng.integers(9, size=6)
    hidden, output = rng.standard_normal((12, 16)), rng.standard_normal(17)
    for weights, gradient in zip((hidden, output), _gradients(features, goal, hidden, output), strict=True):
        for place in rng.integers(weights.size, size=10):
            before = weights.flat[place]
            weights.flat[place] = before + 1e-5
            above = _loss(features, goal, hidden, output)
            weights.flat[place] = before - 1e-5
            below = _loss(features, goal, hidden, output)
            weights.flat[place] = before
            assert gradient.flat[place] == pytest.approx((above - below) / 2e-5, abs=1e-6)


def planted(seed):
    """Windows whose truth is near the first vector of the window, not the last one."""
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal((200, 12)).astype(np.float32)
    truth = rng.integers(200, size=160)
    contexts = rng.standard_normal((160, 5, 12)).astype(np.float32)
    contexts[:, 0] = pool[truth] + 0.5 * rng.standard_normal((160, 12))
    contexts[:, -1] += 0.3 * pool[truth]
    found = top_k(np.ascontiguousarray(contexts[:, -1]), pool, 60)
    return pool, contexts, truth, found, density(pool)


def test_the_reranker_learns_what_tells_the_truth_and_is_kept_in_a_file(tmp_path):
    pool, contexts, truth, found, densities = planted(0)
    reranker = fit_reranker(
        list_features(found, contexts, pool, densities), found.rows, truth, np.arange(160) // 8, length=5
    )
    assert reranker.parameters == 209
    assert len(feature_names(5)) == 11
    save_reranker(tmp_path / "rerank.safetensors", reranker)
    again = load_reranker(tmp_path / "rerank.safetensors")
    pool, contexts, truth, found, densities = planted(1)
    retrieved = truth_ranks(np.ascontiguousarray(contexts[:, -1]), pool, truth)
    ordered = again.rerank(found, contexts, pool, densities)
    same = reranker.rerank(found, contexts, pool, densities)
    assert np.array_equal(ordered.rows, same.rows)
    assert all(set(a) == set(b) for a, b in zip(ordered.rows, found.rows, strict=True))
    ranks = final_ranks(ordered, truth, retrieved)
    there = (found.rows == truth[:, None]).any(axis=1)
    assert np.mean(ranks[there] == 1) > 0.8 > 0.3 > np.mean(retrieved[there] == 1)
    assert (ranks[~there] == np.maximum(retrieved[~there], 61)).all()
    with pytest.raises(DataError, match="expected windows of 5 vectors, got 4"):
        again.rerank(found, contexts[:, :4], pool, densities)
    with pytest.raises(DataError, match="expected 60 candidates, got 50"):
        again.rerank(TopK(found.scores[:, :50], found.rows[:, :50]), contexts, pool, densities)


@pytest.mark.parametrize("damage", ["truncated", "other", "empty", "header"])
def test_a_damaged_reranker_is_refused(tmp_path, damage):
    pool, contexts, truth, found, densities = planted(0)
    reranker = fit_reranker(
        list_features(found, contexts, pool, densities), found.rows, truth, np.arange(160) // 8, length=5
    )
    path = tmp_path / "rerank.safetensors"
    save_reranker(path, reranker)
    data = path.read_bytes()
    if damage == "header":
        from safetensors.numpy import save

        path.write_bytes(save({"mean": np.zeros(3)}, {"lvmfast": json.dumps({"kind": "checkpoint"})}))
    else:
        path.write_bytes({"truncated": data[:-50], "other": b"{}" * 40, "empty": b""}[damage])
    with pytest.raises(DataError, match=r"rerank\.safetensors: expected a reranker"):
        load_reranker(path)


def test_gated_ranks_are_those_of_the_domain_alone(articles):
    _, vectors = articles
    rng = np.random.default_rng(3)
    truth = rng.integers(240, size=50)
    asked = vectors[truth] + rng.standard_normal((50, 16)).astype(np.float32)
    exclude = rng.integers(-1, 240, size=(50, 4))
    exclude[exclude == truth[:, None]] = -1
    centroids = fit_domains(vectors, 4)
    gating = Gating(assign_domains(asked, centroids), assign_domains(vectors, centroids), "prediction")
    found = gated_ranks(asked, vectors, truth, gating, exclude=exclude)
    scores = (asked / np.linalg.norm(asked, axis=1, keepdims=True)).astype(np.float64) @ (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    ).T
    for i in range(50):
        there = [j for j in range(240) if gating.of_row[j] == gating.of_query[i] and j not in exclude[i]]
        if truth[i] in there:
            assert found[i] == sum(scores[i, j] >= scores[i, truth[i]] for j in there)
        else:
            assert found[i] == 241
    assert (found == 241).any()
    by_truth = Gating(gating.of_row[truth], gating.of_row, "truth")
    assert (gated_ranks(asked, vectors, truth, by_truth, exclude=exclude) <= 240).all()
    assert by_truth.oracle
    assert not gating.oracle
    with pytest.raises(DataError, match="domains: expected 1 to 240"):
        fit_domains(vectors, 241)
