"""The Python API: what it takes, what it gives, and that it keeps quiet."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys

import blake3
import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.corpus.budget import Budget
from tests.support import data


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    return data.leaky(tmp_path_factory.mktemp("leaky"))


def scan(files, **options) -> lvmfast.LeakReport:
    return lvmfast.leakscan(
        files["train.npz"],
        files["eval.npz"],
        train_payload=files["train_payload"],
        eval_payload=files["eval_payload"],
        **options,
    )


def counts(report: lvmfast.LeakReport) -> dict:
    return {
        level: {k: v for k, v in found.items() if k != "reason"}
        for level, found in report.summary["levels"].items()
    }


def test_a_report_is_a_frozen_value_that_says_whether_it_passed(files, tmp_path, capfd):
    report = scan(files)
    assert not report.passed
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.findings = None
    with pytest.raises(lvmfast.LeakError, match=r"^LEAK: doc=20/60 chunk=20/60.*\d$"):
        report.raise_if_leaky()
    assert report.levels["text"].pairs == 20
    report.save(tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "matches.parquet").equals(report.matches)
    assert pq.read_table(tmp_path / "out" / "matched_rows.parquet").equals(report.matched_rows)
    saved = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert saved.pop("tables") == {
        name: blake3.blake3((tmp_path / "out" / name).read_bytes()).hexdigest()
        for name in ("items.parquet", "matched_rows.parquet", "matches.parquet", "overlaps.parquet")
    }
    assert saved == report.summary
    scan(files, allow=dict.fromkeys(report.levels, 1.0)).raise_if_leaky()
    assert capfd.readouterr() == ("", "")


@pytest.mark.heavy
def test_arrays_tables_and_datasets_give_what_files_give(files):
    import datasets

    with np.load(files["train.npz"]) as train, np.load(files["eval.npz"]) as eval_:
        arrays = [dict(train), dict(eval_)]
    expected = counts(lvmfast.leakscan(files["train.npz"], files["eval.npz"]))
    assert counts(lvmfast.leakscan(*arrays)) == expected
    tables = []
    for split in arrays:
        _, length, dim = split["contexts"].shape
        vectors = pa.FixedSizeListArray.from_arrays(split["contexts"].reshape(-1), dim)
        tables.append(
            pa.table(
                {
                    "doc_id": split["truth_keys"][:, 0],
                    "chunk_id": split["truth_keys"][:, 1],
                    "vector": list(split["targets"]),
                    "contexts": pa.FixedSizeListArray.from_arrays(vectors, length),
                }
            )
        )
    assert counts(lvmfast.leakscan(*tables)) == expected
    hugging = [datasets.Dataset(table) for table in tables]
    assert counts(lvmfast.leakscan(*hugging)) == expected


def test_string_and_integer_ids_are_the_same_ids():
    train = {"doc_id": np.array([1, 2, 3]), "chunk_id": ["0", "0", "x"]}
    eval_ = {"doc_id": ["2", "02", "3"], "chunk_id": np.array([0, 0, 0])}
    report = lvmfast.leakscan(train, eval_)
    assert report.levels["doc"].sides["eval"].matched_rows.tolist() == [0, 2]
    assert report.levels["chunk"].sides["eval"].matched_rows.tolist() == [0]
    assert report.matches["train_doc_id"].to_pylist() == ["2", "3", "2"]


def test_null_ids_and_texts_are_unchecked_not_equal():
    train = pa.table({"doc_id": [None, "a"], "text": [None, "a text long enough to check"]})
    report = lvmfast.leakscan(train, train)
    for level, reason in (("doc", "null_id"), ("text", "no_text")):
        assert dict(report.levels[level].sides["train"].unchecked) == {reason: 1}
        assert report.levels[level].pairs == 1


def test_a_file_without_a_column_is_counted_as_unchecked(tmp_path):
    rng = np.random.default_rng(0)
    with_text = pa.table({"doc_id": [1], "text": ["a text long enough to check"]})
    pq.write_table(with_text, tmp_path / "a.parquet")
    np.savez(tmp_path / "b.npz", **data.sequences(rng, 3, first_doc=7))
    report = lvmfast.leakscan([tmp_path / "a.parquet", tmp_path / "b.npz"], with_text)
    assert dict(report.levels["text"].sides["train"].unchecked) == {"missing_column": 3}
    assert [f.checked for f in report.levels["text"].sides["train"].files] == [1, 0]
    assert report.levels["doc"].sides["train"].checked == 4


def test_max_df_sets_boilerplate_apart():
    boilerplate, leaked = "this page is part of the manual", "one sentence that only two documents hold"
    train = {"doc_id": [1, 2, 3, 4], "text": [boilerplate, boilerplate, boilerplate, leaked]}
    eval_ = {"doc_id": [5, 6, 6], "text": [boilerplate, leaked, boilerplate]}
    whole = lvmfast.leakscan(train, eval_, levels=["text"])
    assert whole.levels["text"].pairs == 7
    # Boilerplate stands in documents 1, 2, 3, 5 and 6: more than 4, not more than 5.
    apart = lvmfast.leakscan(train, eval_, levels=["text"], max_df=4)
    assert apart.levels["text"].pairs == 1
    assert dict(apart.levels["text"].sides["eval"].unchecked) == {"boilerplate": 2}
    assert lvmfast.leakscan(train, eval_, levels=["text"], max_df=5).levels["text"].pairs == 7
    with pytest.raises(lvmfast.DataError, match="doc_id"):
        lvmfast.leakscan(train, {"text": [leaked]}, levels=["text"], max_df=4)


def test_a_million_equal_rows_cost_a_line():
    one = np.ones((1_000_000, 2), np.float32)
    report = lvmfast.leakscan({"vector": one}, {"vector": one[:500_000]})
    assert report.levels["vector"].pairs == 500_000_000_000
    assert report.matches.num_rows == 1
    assert report.matched_rows.num_rows == 1_500_000
    assert lvmfast.leakscan({"vector": one}).levels["vector"].pairs == 999_999 * 500_000


def test_a_forked_process_scans_with_threads_of_its_own():
    # A data loader's worker is a fork: the parent's pool is there, its threads are not.
    script = """
import os, lvmfast
expected = lvmfast.hash_texts(["one text"]).tolist()
child = os.fork()
if child == 0:
    os._exit(0 if lvmfast.hash_texts(["one text"]).tolist() == expected else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "0"


POOLS = """
import multiprocessing, os, sys, threading, time
import numpy as np
import lvmfast
rows = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32)
rows[1500:1600] = rows[:100]

def answer():
    report = lvmfast.leakscan({"vector": rows[:2000]}, {"vector": rows[1500:]}, threshold=0.5)
    return report.levels["vector"].pairs, float((rows @ rows.T).trace())

def busy():
    # What holds the pools of others: BLAS, and torch where it is asked for.
    a = rows @ rows.T
    if "torch" in sys.argv:
        import torch
        tensor = torch.from_numpy(rows)
        return bool(torch.allclose(tensor @ tensor.T, torch.from_numpy(a), atol=1e-2))
    return True

def in_child(queue):
    # No product of torch here: its threads do not survive a fork, and it would wait for them for ever.
    queue.put(answer())
"""


@pytest.mark.parametrize("others", ["blas", pytest.param("torch", marks=pytest.mark.heavy)])
def test_pools_of_others_in_the_same_process_are_no_matter(others):
    # Scans beside products of BLAS and torch, from several threads at once, and in forks of such a process.
    if others == "torch":
        pytest.importorskip("torch")
    script = (
        POOLS
        + """
assert busy()
expected = answer()
threads = [threading.Thread(target=busy) for _ in range(2)]
answers = []
threads += [threading.Thread(target=lambda: answers.append(answer())) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert answers == [expected] * 3, answers
# A thread is joined before torch's memory manager has let go of it, which holds a lock meanwhile:
# in a process forked just then no thread could ever end.
tasks = [f"/proc/self/task/{thread.native_id}" for thread in threads]
while any(map(os.path.exists, tasks)): time.sleep(0.01)
context = multiprocessing.get_context("fork")
queue = context.Queue()
children = [context.Process(target=in_child, args=(queue,)) for _ in range(2)]
for child in children: child.start()
for child in children: assert queue.get(timeout=60) == expected
for child in children: child.join()
assert answer() == expected
print("same")
"""
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, others],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout == "same\n", done.stderr


def test_rethreshold_goes_up_alone(files):
    report = scan(files, threshold=0.5)
    assert report.rethreshold(0.9).summary["options"]["threshold"] == 0.9
    for wrong in (0.4, 1.1, float("nan")):
        with pytest.raises(lvmfast.DataError, match="rethreshold"):
            report.rethreshold(wrong)
    cut = scan(files, threshold=0.3, max_pairs=5)
    with pytest.raises(lvmfast.DataError, match="cut at 5"):
        cut.rethreshold(0.5)


def test_memory_is_refused_with_the_figure(files):
    with pytest.raises(lvmfast.DataError, match=r"needs about \d+\.\d\d GiB, over the 0\.10 GiB"):
        scan(files, memory_limit=100 << 20)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text()))
def test_hash_texts_equals_xxhash_over_pythons_normalisation(texts):
    normalized = [re.sub(r"\s+", " ", t.lower()).strip().encode() for t in texts]
    hashes = lvmfast.hash_texts(texts)
    assert hashes.shape == (len(texts), 2)
    assert [(int(a) << 64) | int(b) for a, b in hashes] == [xxhash.xxh3_128_intdigest(n) for n in normalized]
    assert lvmfast.hash_texts(texts, "xxh64").tolist() == [xxhash.xxh64_intdigest(n) for n in normalized]


def test_hash_texts_takes_arrow_and_refuses_what_is_no_text():
    array = pa.array(["One", "two", "three"])
    assert (lvmfast.hash_texts(array[1:]) == lvmfast.hash_texts(["two", "three"])).all()
    assert (
        lvmfast.hash_texts(pa.chunked_array([array, array]))
        == lvmfast.hash_texts(2 * list(array.to_pylist()))
    ).all()
    for wrong in ("one string", ["a", None], [1], ["\ud800"], pa.array([1.5])):
        with pytest.raises(lvmfast.DataError, match="texts"):
            lvmfast.hash_texts(wrong)
    with pytest.raises(lvmfast.DataError, match="md5"):
        lvmfast.hash_texts(["a"], "md5")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 2)), max_size=30),
    st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 2)), max_size=30),
)
def test_intersect_pairs_equals_the_nested_loop(train, eval_):
    left, right = (np.array(s, np.int64).reshape(-1, 2) for s in (train, eval_))
    rows = lvmfast.intersect_pairs(left, right)
    expected = [(i, j) for i, a in enumerate(train) for j, b in enumerate(eval_) if a == b]
    assert list(zip(*(r.tolist() for r in rows), strict=True)) == expected


def test_intersect_pairs_refuses_what_are_no_keys():
    for wrong in (np.zeros((2, 2)), np.zeros((2, 3), int), np.array([[2**63]] * 2, np.uint64), np.array("a")):
        with pytest.raises(lvmfast.DataError):
            lvmfast.intersect_pairs(np.zeros((2, 2), int), wrong)


def brute_force(x: np.ndarray, y: np.ndarray, threshold: float) -> dict[tuple[int, int], float]:
    x, y = x.astype(np.float64), y.astype(np.float64)
    pairs = {}
    for i, a in enumerate(x):
        for j, b in enumerate(y):
            norms = (a @ a) * (b @ b)
            if np.isfinite(norms) and norms > 0 and a @ b / np.sqrt(norms) >= threshold:
                pairs[i, j] = float(a @ b / np.sqrt(norms))
    return pairs


SMALL = st.lists(st.tuples(*[st.sampled_from([-1.0, 0.0, 1.0, 3.0, float("nan")])] * 3), max_size=12)


@settings(max_examples=60, deadline=None)
@given(SMALL, SMALL, st.sampled_from([-1.0, 0.0, 0.6, 0.9, 1.0]))
def test_near_duplicates_equal_brute_force(train, eval_, threshold):
    x, y = (np.array(s, np.float32).reshape(-1, 3) for s in (train, eval_))
    found = lvmfast.near_duplicates(x, y, threshold)
    expected = brute_force(x, y, threshold)
    expanded = list(zip(*(a.tolist() for a in found.expand()), strict=True))
    assert {(i, j) for i, j, _ in expanded} == set(expected)
    assert len(expanded) == found.pair_count == len(expected)
    for i, j, score in expanded:
        assert score == pytest.approx(expected[i, j], abs=1e-12)
    assert len(found.train_group) == len(x)
    for i, row in enumerate(x):
        equal = [k for k, other in enumerate(x) if np.array_equal(row, other)]
        usable = np.isfinite(row).all() and row.any()
        assert found.train_group[i] == (equal[0] if usable else -1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=60, deadline=None)
@given(SMALL, st.sampled_from([-1.0, 0.0, 0.6, 0.9, 1.0]))
def test_near_duplicates_within_equal_brute_force(dtype, rows, threshold):
    x = np.array(rows, dtype).reshape(-1, 3)
    found = lvmfast.near_duplicates(x, threshold=threshold)
    expected = {pair for pair in brute_force(x, x, threshold) if pair[0] < pair[1]}
    expanded = [(i, j) for i, j, _ in zip(*(a.tolist() for a in found.expand()), strict=True)]
    assert sorted(expanded) == sorted(expected)
    assert found.pair_count == len(expected)


def test_near_duplicates_refuse_what_are_no_vectors():
    good = np.ones((2, 3), np.float32)
    for wrong in (np.ones(3), np.ones((2, 3), int), np.ones((2, 4)), np.ones((2, 0)), [["a"]]):
        with pytest.raises(lvmfast.DataError):
            lvmfast.near_duplicates(good, wrong)
    with pytest.raises(lvmfast.DataError, match="limit of 3"):
        lvmfast.near_duplicates(good, good).expand(limit=3)


def test_near_duplicates_take_any_float_in_any_layout():
    rng = np.random.default_rng(4)
    # Small integers are the same in every float, so that every layout has the same answer.
    rows = rng.integers(-3, 4, (300, 4)).astype(np.float32)
    expected = lvmfast.near_duplicates(rows, threshold=0.9).expand()
    strided = np.repeat(rows, 2, axis=0)[::2]
    for other in (
        rows.astype(np.float64),
        rows.astype(np.float16),
        rows.astype(ml_dtypes.bfloat16),
        np.asfortranarray(rows),
        strided,
        rows.tolist(),
    ):
        found = lvmfast.near_duplicates(other, threshold=0.9).expand()
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.heavy
def test_near_duplicates_take_tensors():
    torch = pytest.importorskip("torch")
    rows = np.random.default_rng(4).integers(-3, 4, (300, 4)).astype(np.float32)
    expected = lvmfast.near_duplicates(rows, threshold=0.9).expand()
    for dtype in (torch.float32, torch.bfloat16):
        found = lvmfast.near_duplicates(torch.from_numpy(rows).to(dtype), threshold=0.9).expand()
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_no_more_files_are_read_at_once_than_there_are_threads(monkeypatch):
    monkeypatch.setattr("lvmfast.api._scanned", lambda *given, **more: Budget().files_at_once)
    assert [lvmfast.leakscan(["a"], threads=threads) for threads in (1, 3)] == [1, 3]
