"""Nearest neighbours against brute force in numpy float64, and what a scan makes of them."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.leaks import options
from lvmfast.leaks.results import NearestRows
from lvmfast.report.nearest import distribution
from tests.support.command import run
from tests.support.cosine import DIMS, Rows, beside, brute_force, documented_dot, sides
from tests.support.places import SCHEMA


def slow_nearest(train: Rows, eval: Rows) -> tuple[list[float], list[int]]:
    """Highest cosine and its first train row by eval row, over all pairs."""
    pairs = brute_force(train, eval, -1.0)
    cosine, row = [float("nan")] * len(eval), [-1] * len(eval)
    for (i, j), score in sorted(pairs.items()):
        if row[j] < 0 or score > cosine[j]:
            cosine[j], row[j] = score, i
    return cosine, row


def check(found: lvmfast.Nearest, train: Rows, eval: Rows) -> None:
    cosine, row = slow_nearest(train, eval)
    np.testing.assert_array_equal(found.cosine, cosine)  # NaN equals NaN here
    assert found.train_row.tolist() == row


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.sampled_from(DIMS),
    threshold=st.sampled_from([1.0, 0.9, 0.0, -1.0]),
)
def test_nearest_is_brute_force(seed: int, dim: int, threshold: float) -> None:
    train, eval = sides(seed, dim, threshold)
    check(lvmfast.nearest(train, eval, threads=2), train, eval)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 30), max_size=5))
def test_blocks_do_not_show(seed: int, cuts: list[int]) -> None:
    train, eval = sides(seed, 65, 0.9)
    train = np.concatenate([train, train])  # ties: the first of equal rows is the nearest
    blocks = np.split(train, sorted(cuts))
    check(lvmfast.nearest(iter(blocks), (eval[i : i + 3] for i in range(0, len(eval), 3))), train, eval)
    pairs = lvmfast.near_duplicates(train, eval, 0.9)
    for found in (
        lvmfast.near_duplicates(iter(blocks), eval, 0.9),
        lvmfast.near_duplicates(train, iter([eval]), 0.9),
        lvmfast.near_duplicates(iter(blocks), iter([eval]), 0.9),
    ):
        assert found.pair_count == pairs.pair_count
        for a, b in zip(found.expand(), pairs.expand(), strict=True):
            np.testing.assert_array_equal(a, b)


def clustered(rng: np.random.Generator, n: int, m: int, dim: int) -> tuple[Rows, Rows]:
    spectrum = (1.0 + np.arange(dim)) ** -0.7
    centres = rng.standard_normal((200, dim))
    train, eval = (
        ((0.5 * rng.standard_normal((k, dim)) + centres[rng.integers(200, size=k)]) * spectrum)
        for k in (n, m)
    )
    return train.astype(np.float32), eval.astype(np.float32)


@pytest.mark.parametrize("order", ["drawn", "ascending"])
def test_a_search_large_enough_for_the_sieve_is_brute_force(order: str) -> None:
    rng = np.random.default_rng(5)
    n, m, dim = 24_000, 2_000, 256
    train, eval = clustered(rng, n, m, dim)
    for i in range(0, m, 5):
        eval[i] = beside(rng, train[rng.integers(n)], float(rng.uniform(0.5, 1.0)))
    train[20_000] = train[5_000]
    eval[1] = 2 * train[20_000]
    if order == "ascending":  # towards one eval row: each train row is nearer than all before it
        train = train[np.argsort(train @ eval[0] / np.linalg.norm(train, axis=1))]
    found = lvmfast.nearest((train[i : i + 9_000] for i in range(0, n, 9_000)), eval)
    units = [side / np.linalg.norm(side.astype(np.float64), axis=1, keepdims=True) for side in (train, eval)]
    products = units[0] @ units[1].T
    for j in range(m):
        close = np.flatnonzero(products[:, j] >= products[:, j].max() - 1e-9)
        x, y = train[close], eval[j : j + 1]
        squares = [documented_dot(row[None], row[None])[0, 0] for row in (*x, y[0])]
        scores = np.minimum(1.0, documented_dot(x, y)[:, 0] / np.sqrt(np.array(squares[:-1]) * squares[-1]))
        assert found.cosine[j] == scores.max()
        assert found.train_row[j] == close[np.argmax(scores)]


def test_nearest_takes_any_float_in_any_layout(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    train, eval = (rng.integers(-3, 4, (n, 4)).astype(np.float32) for n in (300, 50))
    np.save(tmp_path / "train.npy", train)
    mapped = np.load(tmp_path / "train.npy", mmap_mode="r")
    strided = np.repeat(train, 2, axis=0)[::2]
    for other in (mapped, strided, np.asfortranarray(train), train.astype(np.float64), train.tolist()):
        check(lvmfast.nearest(other, eval), train, eval)


def test_sides_without_rows_have_no_nearest() -> None:
    none, rows = np.empty((0, 3), np.float32), np.ones((2, 3), np.float32)
    assert np.isnan(lvmfast.nearest(none, rows).cosine).all()
    assert lvmfast.nearest(none, rows).train_row.tolist() == [-1, -1]
    assert len(lvmfast.nearest(rows, none).cosine) == 0
    assert lvmfast.nearest(np.zeros((2, 3)), rows).train_row.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (np.ones((2, 4)), "train has 4 dimensions, eval 3"),
        (np.ones((2, 3), int), "train: .*float"),
        (iter([]), "train: .*iterator gave none"),
        (iter([np.ones(3)]), "train: block 0: .*float"),
        (iter([np.ones((2, 3)), np.ones((2, 4))]), "train: block 1: expected d = 3, got 4"),
        (iter([np.ones((2, 3)), "x"]), "train: block 1: .*str"),
    ],
)
def test_what_are_no_vectors_is_refused(train: object, words: str) -> None:
    with pytest.raises(lvmfast.DataError, match=words):
        lvmfast.nearest(train, np.ones((2, 3)))


def test_an_iterator_is_not_compared_with_itself() -> None:
    with pytest.raises(lvmfast.DataError, match="two passes"):
        lvmfast.near_duplicates(iter([np.ones((2, 3))]), threshold=0.9)


def test_rows_are_not_added_to_an_index_that_blocks_have_gone_by() -> None:
    index = lvmfast._core.NearIndex(2, 0.9, 1)
    index.add(np.ones((1, 2), np.float32))
    index.seek(np.ones((1, 2), np.float32), 0)
    index.add(np.eye(2, dtype=np.float32))
    with pytest.raises(ValueError, match="added"):
        index.seek(np.ones((1, 2), np.float32), 1)


@pytest.mark.parametrize("smaller", ["train", "eval"])
@pytest.mark.parametrize("block_bytes", [300, 64 << 20])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.sampled_from([0.995, 0.5, -1.0]))
def test_a_scan_names_the_nearest_row(monkeypatch_module, smaller, block_bytes, seed, threshold) -> None:
    monkeypatch_module.setattr(options, "BLOCK_BYTES", block_bytes)
    train, eval = sides(seed, 5, 0.9, *((20, 45) if smaller == "train" else (45, 20)))
    report = lvmfast.leakscan({"vector": train}, {"vector": eval}, threshold=threshold, nearest=True)
    cosine, row = slow_nearest(train, eval)
    known = [j for j in range(len(eval)) if row[j] >= 0]
    assert report.nearest is not None
    assert report.nearest.to_pylist() == [
        {
            "eval_file": "<arrays>",
            "eval_row": j,
            "cosine": cosine[j],
            "train_file": "<arrays>",
            "train_row": row[j],
        }
        for j in known
    ]
    matched = report.levels["vector"].sides["eval"].matched_rows.tolist()
    assert matched == [j for j in known if cosine[j] >= threshold]
    jsonschema.validate(report.summary, SCHEMA)
    found = report.summary["levels"]["vector"]["nearest"]
    assert found["rows"] == len(known) == sum(found["histogram"]["counts"])
    ascending = sorted(cosine[j] for j in known)
    assert found["quantiles"]["min"] == ascending[0]
    assert found["quantiles"]["p50"] == ascending[(len(ascending) + 1) // 2 - 1]
    assert found["quantiles"]["max"] == ascending[-1]


def test_rows_are_named_by_file(tmp_path: Path) -> None:
    rows = np.eye(4, dtype=np.float32)
    for name, part in (
        ("a", rows[:1]),
        ("b", rows[1:3]),
        ("e", rows[[2, 0]]),
        ("f", rows[3:] + rows[:1] * 2),
    ):
        np.save(tmp_path / f"{name}.npy", part)
    paths = {name: str(tmp_path / f"{name}.npy") for name in "abef"}
    report = lvmfast.leakscan([paths["a"], paths["b"]], [paths["e"], paths["f"]], nearest=True)
    assert report.nearest is not None
    found = [tuple(row.values()) for row in report.nearest.to_pylist()]
    assert found == [
        (paths["e"], 0, 1.0, paths["b"], 1),
        (paths["e"], 1, 1.0, paths["a"], 0),
        (paths["f"], 0, 2 / np.sqrt(5), paths["a"], 0),
    ]


def test_bins_hold_their_lower_edge_and_the_last_one_holds_1() -> None:
    edges = np.array([(k - 200) / 200 for k in range(401)])
    cosines = np.concatenate([edges, np.nextafter(edges[1:], -2)])
    found = distribution(NearestRows(np.arange(801), cosines, np.zeros(801, np.int64)))
    # Each bin has its lower edge and the last number below the next one; the last bin has 1.0 too.
    assert found["histogram"]["counts"] == [2] * 399 + [3]
    assert (found["histogram"]["first_edge"], found["histogram"]["bin_width"]) == (-1.0, 0.005)
    assert found["quantiles"]["min"] == -1.0
    assert found["quantiles"]["max"] == 1.0


def test_nearest_of_what_has_none_is_refused() -> None:
    rows = {"vector": np.eye(3, dtype=np.float32), "text": ["a text that is long enough"] * 3}
    with pytest.raises(lvmfast.DataError, match=r"nearest: .*no evaluation set"):
        lvmfast.leakscan(rows, nearest=True)
    with pytest.raises(lvmfast.DataError, match=r"nearest: .*left out"):
        lvmfast.leakscan(rows, rows, levels=["text"], nearest=True)
    with pytest.raises(lvmfast.DataError, match=r"nearest: .*eval has no vector"):
        lvmfast.leakscan(rows, {"text": rows["text"]}, nearest=True)


def test_the_command_writes_the_table_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    train, eval = sides(3, 65, 0.9, 300, 60)
    np.save(tmp_path / "train.npy", train)
    np.save(tmp_path / "eval.npy", eval)
    paths = ["--train", str(tmp_path / "train.npy"), "--eval", str(tmp_path / "eval.npy")]
    tables = []
    for place, more in enumerate((["--threads", "1"], ["--threads", "2", "--memory-limit", "800MiB"])):
        out = tmp_path / f"out{place}"
        result = run("leakscan", *paths, "--nearest", "--out", str(out), *more)
        assert "median cosine" in result.stdout
        assert "nearest.parquet" in result.stdout
        tables.append((out / "nearest.parquet").read_bytes())
    assert tables[0] == tables[1]
    assert pq.read_table(out / "nearest.parquet").num_rows == 57
    result = run("leakscan", *paths, "--out", str(out))
    assert not (
        out / "nearest.parquet"
    ).exists()  # an earlier scan's table must not stand beside this summary
    assert "nearest" not in json.loads((out / "summary.json").read_text())["levels"]["vector"]
    assert run("leakscan", *paths[:2], "--nearest").returncode == 2
