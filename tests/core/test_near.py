"""The cosine scan of the core against brute force in numpy float64."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast import _core
from tests.support.cosine import (
    DIMS,
    USABLE,
    Rows,
    beside,
    brute_force,
    documented_dot,
    sides,
    usability,
)


def scan(train: Rows, eval: Rows, threshold: float, threads: int = 1, block: int = 1 << 30) -> dict:
    """The same through the core, groups expanded to rows; blocks of `block` train rows."""
    index = _core.NearIndex(eval.shape[1], threshold, threads)
    np.testing.assert_array_equal(index.add(eval), usability(eval))
    groups = index.group_of_row
    found = {}
    for start in range(0, len(train), block):
        part = train[start : start + block]
        rows, hit_groups, scores, codes, keys = index.scan(part)
        np.testing.assert_array_equal(codes, usability(part))
        assert keys.shape == (len(part), 2)
        *again, keys_of_hits = index.scan(part, every_key=False)
        for ours, theirs in zip(again, (rows, hit_groups, scores, codes), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        keys[np.setdiff1d(np.arange(len(part)), rows)] = 0
        np.testing.assert_array_equal(keys_of_hits, keys)
        for row, group, score in zip(rows, hit_groups, scores, strict=True):
            for j in np.flatnonzero(groups == group):
                found[start + int(row), int(j)] = float(score)
    return found


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.sampled_from(DIMS),
    threshold=st.sampled_from([1.0, 0.995, 0.98, 0.9, 0.5, 0.0, -1.0]),
)
def test_scan_is_brute_force(seed: int, dim: int, threshold: float) -> None:
    train, eval = sides(seed, dim, threshold)
    assert scan(train, eval, threshold) == brute_force(train, eval, threshold)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), block=st.integers(1, 40), dim=st.sampled_from([3, 65]))
def test_threads_and_block_splits_do_not_show(seed: int, block: int, dim: int) -> None:
    train, eval = sides(seed, dim, 0.9)
    assert scan(train, eval, 0.9, 2, block) == scan(train, eval, 0.9, 1)


@pytest.mark.parametrize("threshold", [0.99, 0.9])
@pytest.mark.parametrize("shape", ["isotropic", "clustered"])
def test_a_scan_large_enough_for_the_sieve_is_brute_force(shape: str, threshold: float) -> None:
    rng = np.random.default_rng(5)
    n, m, dim = 20_000, 2_000, 384
    spectrum = (1.0 + np.arange(dim)) ** (-0.5 if shape == "clustered" else 0.0)
    centres = rng.standard_normal((200, dim)) * (shape == "clustered")
    train, eval = (
        ((rng.standard_normal((k, dim)) + centres[rng.integers(200, size=k)]) * spectrum).astype(np.float32)
        for k in (n, m)
    )
    for i in range(0, m, 5):
        gap = rng.choice([-1, 1]) * 10.0 ** rng.uniform(-7, -4)
        eval[i] = beside(rng, train[rng.integers(n)], threshold + gap) * np.float32(
            10.0 ** rng.uniform(-18, 18)
        )
    units = [side / np.linalg.norm(side.astype(np.float64), axis=1, keepdims=True) for side in (train, eval)]
    index = _core.NearIndex(dim, threshold, 0)
    index.add(eval)
    rows, groups, scores, *_ = index.scan(train)
    found = dict(zip(zip(rows.tolist(), groups.tolist(), strict=True), scores.tolist(), strict=True))
    expected = {}
    for i, j in np.argwhere(units[0] @ units[1].T >= threshold - 1e-9).tolist():
        x, y = train[i : i + 1], eval[j : j + 1]
        score = documented_dot(x, y) / np.sqrt(documented_dot(x, x) * documented_dot(y, y))
        if min(1.0, score[0, 0]) >= threshold:
            expected[i, j] = min(1.0, score[0, 0])
    assert len(expected) > 100
    assert found == expected


def test_one_and_two_threads_give_equal_bytes() -> None:
    train, eval = (np.tile(side, (40, 1)) for side in sides(3, 65, 0.5))
    results = []
    for threads in (1, 2):
        index = _core.NearIndex(65, 0.5, threads)
        index.add(eval)
        results.append([array.tobytes() for array in (*index.scan(train), index.group_of_row)])
    assert results[0] == results[1]


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.sampled_from(DIMS),
    threshold=st.sampled_from([1.0, 0.995, 0.9, 0.0, -1.0]),
)
def test_scan_within_is_brute_force(seed: int, dim: int, threshold: float) -> None:
    rows = np.concatenate(sides(seed, dim, threshold))
    left, right, scores, first_row, codes = _core.scan_within(rows, threshold, 2)
    np.testing.assert_array_equal(codes, usability(rows))
    equal = {(row + 0.0).tobytes(): i for i, row in reversed(list(enumerate(rows)))}
    groups = [
        equal[(row + 0.0).tobytes()] if code == USABLE else -1 for row, code in zip(rows, codes, strict=True)
    ]
    assert first_row.tolist() == groups
    expected = {
        (i, j): score
        for (i, j), score in brute_force(rows, rows, threshold).items()
        if i < j and groups[i] == i and groups[j] == j
    }
    found = list(zip(left.tolist(), right.tolist(), strict=True))
    assert found == sorted(expected)
    assert scores.tolist() == [expected[pair] for pair in found]


def test_one_set_is_joined_by_cells_and_nothing_is_lost() -> None:
    rng = np.random.default_rng(3)
    dim, n = 384, 12_000
    centres = rng.standard_normal((40, dim))
    rows = centres[rng.integers(40, size=n)] + 0.3 * rng.standard_normal((n, dim))
    rows[::100] = rows[1::100] + 1e-4 * rng.standard_normal((120, dim))
    rows = rows.astype(np.float32)
    index = _core.NearIndex(dim, 0.999, 2)
    index.add(rows)
    row, group, score, *_ = index.scan(rows)
    once = row < group
    told: list[int] = []
    found = index.pairs(10_000, told.append)
    assert found is not None
    left, right, scores, cells = found
    assert cells > 0
    assert len(left) >= 120
    for ours, theirs in ((left, row), (right, group), (scores, score)):
        np.testing.assert_array_equal(ours, theirs[once])
    assert told == sorted(told)
    assert told[-1] == n
    assert index.pairs(len(left) - 1, told.append) is None
    with pytest.raises(ZeroDivisionError):  # what a progress display raises ends the work
        index.pairs(10_000, lambda done: 1 // 0)


def test_a_set_of_copies_is_one_group(tmp_path: Path) -> None:
    row = np.random.default_rng(0).standard_normal((1, 64)).astype(np.float32)
    np.save(tmp_path / "rows.npy", np.repeat(row, 200_000, axis=0))
    left, _, _, first_row, _ = _core.scan_within(np.load(tmp_path / "rows.npy", mmap_mode="r"), 0.9, 2)
    assert len(left) == 0
    assert not first_row.any()


def test_repeated_rows_of_a_block_are_all_reported() -> None:
    row = np.random.default_rng(0).standard_normal((1, 65)).astype(np.float32)
    index = _core.NearIndex(65, 0.995, 2)
    index.add(row)
    rows, groups, scores, _, keys = index.scan(np.repeat(row, 100_000, axis=0))
    np.testing.assert_array_equal(rows, np.arange(100_000))
    assert not groups.any()
    assert (scores == 1.0).all()
    assert (keys == keys[0]).all()


@pytest.mark.parametrize("side", ["index", "block"])
def test_an_empty_side_has_no_hits(side: str) -> None:
    rows, none = np.ones((3, 4), np.float32), np.empty((0, 4), np.float32)
    index = _core.NearIndex(4, -1.0, 1)
    assert len(index.add(none if side == "index" else rows)) == (0 if side == "index" else 3)
    found = index.scan(rows if side == "index" else none)
    assert [len(array) for array in found[:3]] == [0, 0, 0]


def test_keys_hold_minus_zero_for_zero_and_nothing_else_for_equal() -> None:
    rows = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0], [1e-45, 1.0]], np.float32)
    keys = [tuple(key) for key in _core.NearIndex(2, 0.5, 1).scan(rows)[4]]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_pairs_are_scored_as_a_scan_scores_them() -> None:
    train, eval = sides(11, 65, 0.5)
    index = _core.NearIndex(65, -1.0, 2)
    index.add(eval)
    row, group, cosine, codes, keys = index.scan(train)
    described = _core.describe_rows(train, 2)
    assert [array.tobytes() for array in described] == [codes.tobytes(), keys.tobytes()]
    order = np.random.default_rng(0).permutation(len(row))
    assert index.score(train, row[order], group[order]).tobytes() == cosine[order].tobytes()
    firsts = np.unique(index.group_of_row, return_index=True)[1][1:]
    np.testing.assert_array_equal(index.vectors(0, index.group_count), eval[np.sort(firsts)])


@pytest.mark.parametrize(
    ("row", "group"), [([3], [0]), ([0], [2]), ([-1], [0]), ([0], [-1]), ([2**62], [0]), ([0, 1], [0])]
)
def test_pairs_of_rows_that_are_not_there_are_refused(row: list[int], group: list[int]) -> None:
    index = _core.NearIndex(2, 0.5, 1)
    index.add(np.eye(2, dtype=np.float32))
    with pytest.raises(ValueError, match="pairs"):
        index.score(np.ones((3, 2), np.float32), np.array(row), np.array(group))
    with pytest.raises(ValueError, match="groups 1 to 3: there are 2"):
        index.vectors(1, 3)


@pytest.mark.parametrize(("dim", "threshold"), [(0, 0.5), (2, 1.5), (2, float("nan"))])
def test_values_out_of_range_are_refused(dim: int, threshold: float) -> None:
    with pytest.raises(ValueError, match=r"threshold|components"):
        _core.NearIndex(dim, threshold, 1)


def test_an_interrupted_scan_stops_within_a_second() -> None:
    code = """if True:
        import _thread, threading, time
        import numpy as np
        from lvmfast import _core
        rows = np.random.default_rng(0).standard_normal((60_000, 256)).astype(np.float32)
        interrupted = []
        def interrupt():
            interrupted.append(time.monotonic())
            _thread.interrupt_main()
        index = _core.NearIndex(256, 0.3, 1)
        index.add(rows)
        threading.Timer(1.5, interrupt).start()
        try:
            index.scan(rows[::-1].copy())
        except KeyboardInterrupt:
            print(time.monotonic() - interrupted[0])
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 1.0


def kernel_in_a_new_process(name: str) -> subprocess.CompletedProcess[str]:
    code = "from lvmfast import _core; print(_core.kernel_name()); _core.NearIndex(2, 0.5, 1)"
    environment = {**os.environ, "LVMFAST_KERNEL": name}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_a_kernel_can_be_forced_and_an_unknown_one_is_refused() -> None:
    assert kernel_in_a_new_process("scalar").stdout.strip() == "scalar"
    refused = kernel_in_a_new_process("abacus")
    assert refused.returncode != 0
    assert "LVMFAST_KERNEL" in refused.stderr
    assert "abacus" in refused.stderr
