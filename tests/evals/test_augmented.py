"""Density as components: what the augmented vectors find is what s = <m, y> - sum_k b_k d_k(y) says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast import DataError
from lvmfast.evals.augmented import augmented_queries, augmented_rows
from lvmfast.evals.density import densities
from lvmfast.evals.ranks import truth_ranks
from lvmfast.evals.search import top_k
from lvmfast.models.registry import ALL

NEIGHBOURS = (1, 2, 3, 5, 10, 30, ALL)


def by_loops(pool: np.ndarray, neighbours) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows (n, d) and densities (n, m) in float64; zeros for rows of zeros."""
    norms = np.linalg.norm(pool.astype(np.float64), axis=1)
    units = np.array([row / norm if norm else row for row, norm in zip(pool, norms, strict=True)])
    found = np.zeros((len(pool), len(neighbours)))
    for i in np.flatnonzero(norms):
        others = sorted((float(units[i] @ units[j]) for j in np.flatnonzero(norms) if j != i), reverse=True)
        for place, k in enumerate(neighbours):
            found[i, place] = np.mean(others if k == ALL else others[:k])
    return units, found


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 70), st.integers(1, 9), st.integers(0, 2))
def test_ranks_and_first_rows_are_those_of_the_formula(seed, n, dim, empty):
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal((n, dim)).astype(np.float32) * rng.uniform(0.1, 9, (n, 1)).astype(np.float32)
    pool[rng.permutation(n)[: min(empty, n - 2)]] = 0
    there = np.flatnonzero(pool.any(axis=1))
    units, expected = by_loops(pool, NEIGHBOURS)
    np.testing.assert_allclose(densities(pool, NEIGHBOURS), expected, atol=3e-7)
    rows = augmented_rows(pool, NEIGHBOURS)
    assert rows.shape == (n, dim + len(NEIGHBOURS) + 1)
    lengths = np.linalg.norm(rows[there].astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, lengths.max(), rtol=3e-7)
    assert not rows[np.setdiff1d(np.arange(n), there)].any(), "a row without a direction stays without one"
    mixed, weights = rng.standard_normal((8, dim)) * 3, rng.standard_normal(len(NEIGHBOURS)) * 2
    queries = augmented_queries(mixed, weights)
    scores = mixed @ units.T - expected @ weights  # (8, n)
    k = len(there)
    found = top_k(queries, rows, k)
    truth = rng.choice(there, len(queries))
    ranks = truth_ranks(queries, rows, truth)
    for query in range(len(queries)):
        own = scores[query, found.rows[query]]
        assert (np.diff(own) < 1e-5).all(), "no row stands before one that scores more"
        goal = scores[query, truth[query]]
        sure = np.count_nonzero(scores[query, there] > goal + 1e-5)
        most = np.count_nonzero(scores[query, there] > goal - 1e-5)
        assert sure < ranks[query] <= most


def test_a_query_without_a_direction_stays_without_one():
    queries = augmented_queries(np.array([[0.0, 0.0], [0.0, 2.0]]), (1.0, 0.5))
    assert queries.tolist() == [[0, 0, 0, 0, 0], [0, 2, -1, -0.5, 0]]


def test_densities_of_one_row_are_refused():
    with pytest.raises(DataError, match="two rows with a direction, got 1"):
        densities(np.array([[1, 0], [0, 0]], np.float32), (ALL,))
