"""Exact retrieval against float64 brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast import _core
from lvmfast.errors import DataError
from lvmfast.evals import search
from lvmfast.evals.ranks import truth_ranks
from lvmfast.evals.search import open_pool, top_k


def brute_force(queries, pool, k, exclude):
    """Scores by one float64 product per pair, then a stable sort: equal rows have equal scores."""
    cosines = np.stack(
        [_core.window_cosines(pool, np.repeat(q[None, None], len(pool), 0), 1)[0][:, 0] for q in queries]
    )
    wide, other = pool.astype(np.float64), queries.astype(np.float64)
    with np.errstate(all="ignore"):
        norms = np.sqrt(np.einsum("ij,ij->i", wide, wide) * np.einsum("ij,ij->i", other, other)[:, None])
        plain = np.einsum("qd,nd->qn", other, wide) / norms
    np.testing.assert_allclose(cosines, plain, atol=1e-12)
    rows = []
    for i, query in enumerate(queries):
        gone = {j for j in exclude[i] if j >= 0}
        there = [
            j for j in range(len(pool)) if j not in gone and pool[j].any() and np.isfinite(pool[j]).all()
        ]
        score = (lambda j, i=i: cosines[i, j]) if query.any() else (lambda j: 0.0)
        rows.append([(score(j), j) for j in sorted(there, key=lambda j: (-score(j), j))[:k]])
    return rows


def make(seed, queries, rows, dim):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((4, dim))
    pool = (centres[rng.integers(4, size=rows)] + 0.3 * rng.standard_normal((rows, dim))).astype(np.float32)
    pool[rng.integers(rows, size=rows // 3)] = pool[rng.integers(rows, size=rows // 3)]  # equal rows
    pool *= rng.choice([1, 1, 1, 1e-18, 1e18], size=rows)[:, None].astype(np.float32)
    if rows > 20:
        pool[3], pool[5, 0], pool[6, -1] = 0, np.nan, np.inf
    asked = (centres[rng.integers(4, size=queries)] + rng.standard_normal((queries, dim))).astype(np.float32)
    asked[0] = 0
    asked[-1] = pool[-1]
    exclude = rng.integers(-1, rows, size=(queries, 4))
    return asked, pool, exclude


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 3, 8, 9, 30]),
    st.integers(8, 200),
    st.sampled_from([2, 7, 33, 96, 131, 384]),
    st.integers(1, 40),
    st.sampled_from([64, 4096, 1 << 20]),
)
def test_rows_and_scores_are_those_of_brute_force(seed, queries, rows, dim, k, block):
    asked, pool, exclude = make(seed, queries, rows, dim)
    k = max(1, min(k, rows - 8))
    expected = brute_force(asked, pool, k, exclude)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "BLOCK_BYTES", block * dim)
        patch.setattr(search, "QUERY_BYTES", 40 * dim)
        patch.setattr(search, "FEW", 0 if seed % 2 else 8)
        found = top_k(asked, pool, k, exclude=exclude, threads=1 + seed % 3)
    for i, best in enumerate(expected):
        assert found.rows[i].tolist() == [row for _, row in best]
        assert found.scores[i].tolist() == [score for score, _ in best]


@pytest.mark.parametrize("dim", [96, 200, 768])
def test_the_answer_is_the_same_however_the_work_is_cut(dim, monkeypatch):
    """Enough rows for the sieve, many equal ones, and rows sorted so that thresholds rise late."""
    rng = np.random.default_rng(dim)
    spectrum = (1 + np.arange(dim)) ** -0.7
    pool = (rng.standard_normal((9000, dim)) * spectrum + 0.5 * spectrum).astype(np.float32)
    pool[4000:4500] = pool[:500]
    pool[8000:8040] = pool[17]
    asked = pool[rng.integers(len(pool), size=700)] + (
        0.7 * rng.standard_normal((700, dim)) * spectrum
    ).astype(np.float32)
    pool = pool[np.argsort(pool @ asked[0])]
    exclude = rng.integers(-1, len(pool), size=(700, 5))
    answers = []
    for block, threads in ((64 << 20, 2), (1 << 20, 1), (3 << 20, 3)):
        monkeypatch.setattr(search, "BLOCK_BYTES", block)
        answers.append(top_k(asked, pool, 50, exclude=exclude, threads=threads))
    for other in answers[1:]:
        assert np.array_equal(answers[0].rows, other.rows)
        assert np.array_equal(answers[0].scores, other.scores)
    few = open_pool(pool).top_k(asked[:5], 50, exclude=exclude[:5])
    assert np.array_equal(few.rows, answers[0].rows[:5])
    assert np.array_equal(few.scores, answers[0].scores[:5])
    sample = np.arange(0, 700, 70)
    expected = brute_force(asked[sample], pool, 50, exclude[sample])
    assert answers[0].rows[sample].tolist() == [[row for _, row in best] for best in expected]


def test_a_rank_is_the_place_in_the_search_with_ties_last():
    asked, pool, exclude = make(11, 20, 120, 33)
    usable = np.flatnonzero(np.isfinite(pool).all(axis=1) & pool.any(axis=1))
    truth = np.random.default_rng(0).choice(usable, size=20)
    exclude[exclude == truth[:, None]] = -1
    ranks = truth_ranks(asked, pool, truth, exclude=exclude)
    found = top_k(asked, pool, 100, exclude=exclude)
    for i in range(1, 20):
        place = np.flatnonzero(found.rows[i] == truth[i])
        if len(place):
            ties = np.flatnonzero(found.scores[i] == found.scores[i, place[0]])
            assert ranks[i] == ties[-1] + 1 or ties[-1] == 99
        else:
            assert ranks[i] > 100 or found.scores[i, -1] >= 0


@pytest.mark.parametrize("few", [0, 8])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 5}, "k: expected 1 to 4, the rows of the pool, got 5"),
        ({"k": 0}, "k: expected 1 to 4"),
        ({"k": 4}, "k: query 0 has 3 rows to retrieve from, fewer than k = 4"),
        ({"k": 3, "exclude": [[], [2]]}, "k: query 1 has 2 rows to retrieve from, fewer than k = 3"),
        ({"queries": np.full((2, 3), np.inf, np.float32)}, "queries: 2 of 2 are not finite"),
        ({"queries": np.ones((2, 2), np.float32)}, "queries: expected 3 components"),
        ({"pool": np.ones((0, 3), np.float32)}, "pool: expected"),
        ({"device": "tpu"}, "device: expected cpu, cuda or cuda:N, got 'tpu'"),
    ],
)
def test_bad_input_is_named(change, message, few, monkeypatch):
    monkeypatch.setattr(search, "FEW", few)
    pool = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    asked = {"queries": np.ones((2, 3), np.float32), "pool": pool, "k": 1} | change
    with pytest.raises(DataError, match=message):
        top_k(**asked)


def test_a_memory_map_of_float64_is_searched_in_blocks(tmp_path):
    rng = np.random.default_rng(5)
    pool = rng.standard_normal((500, 24))
    np.save(tmp_path / "pool.npy", pool)
    asked = rng.standard_normal((30, 24)).astype(np.float32)
    found = top_k(asked, np.load(tmp_path / "pool.npy", mmap_mode="r"), 7)
    expected = top_k(asked, pool.astype(np.float32), 7)
    assert np.array_equal(found.rows, expected.rows)
    assert found.left_out == 0
