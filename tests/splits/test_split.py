"""`split` against a naive division, and its promises: clean at every level, whole documents, stable."""

from __future__ import annotations

import hashlib
import json
import time
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from lvmfast.leaks import duplicates, memory
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import silent
from lvmfast.splits import components
from lvmfast.splits.components import Components, relate_documents
from lvmfast.splits.divide import Shares
from lvmfast.splits.documents import read_documents
from tests.support import data, oracle
from tests.support.colliding import MIN_CHARS
from tests.support.corpus_reading import read
from tests.support.divided import THRESHOLD, as_table, dataset, documents, naive_components


@settings(max_examples=60, deadline=None)
@given(edges=st.lists(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19))), max_size=5))
def test_components_are_those_of_a_search(edges):
    found = Components(20)
    neighbours = defaultdict(set)
    for some in edges:
        left, right = np.array(some, np.int64).reshape(-1, 2).T
        found.join(left, right)
        for a, b in some:
            neighbours[a].add(b)
            neighbours[b].add(a)
    for node, root in enumerate(found.roots().tolist()):
        seen, front = {node}, [node]
        while front:
            for other in neighbours[front.pop()] - seen:
                seen.add(other)
                front.append(other)
        assert root == min(seen)


@pytest.mark.parametrize("edges", ["chain", "reversed chain", "star", "random"])
def test_a_million_edges_take_a_second(monkeypatch, edges):
    n = 1_000_000
    monkeypatch.setattr(components, "EDGES_AT_ONCE", 300_000)
    order = {
        "chain": np.arange(n),
        "reversed chain": np.arange(n)[::-1],
        "star": np.arange(n),
        "random": np.random.default_rng(0).permutation(n),
    }[edges]
    left, right = (order[1:], np.full(n - 1, order[0])) if edges == "star" else (order[:-1], order[1:])
    found = Components(n)
    start = time.perf_counter()
    for at in range(0, n, 100_000):
        found.join(left[at : at + 100_000], right[at : at + 100_000])
    assert not found.roots().any()
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize("block_bytes", [1, 100, 64 << 20])
@settings(max_examples=40, deadline=None)
@given(rows=documents())
def test_what_belongs_together_is_what_a_search_finds(monkeypatch_module, block_bytes, rows):
    monkeypatch_module.setattr("lvmfast.leaks.options.BLOCK_BYTES", block_bytes)
    monkeypatch_module.setattr(duplicates, "BLOCKS_PER_PASS", 1)
    assume(any(rows["doc_id"]))
    split = load_split(as_table(rows))
    options = ScanOptions(threshold=THRESHOLD, min_chars=MIN_CHARS)
    found = read_documents(split, options, silent)
    for row, name in enumerate(rows["doc_id"]):
        if name is not None:
            assert found.ids[found.of_row[row]] == name
    related_documents = relate_documents(split, found.of_row, len(found.rows), options, silent)
    root = related_documents.components.roots()[found.of_row]
    groups = defaultdict(set)
    for row, name in enumerate(root.tolist()):
        groups[name].add(row)
    assert sorted(map(sorted, groups.values())) == sorted(map(sorted, naive_components(rows)))
    expected = oracle.oracle(rows, THRESHOLD).matched["eval"]
    assert related_documents.with_answer.tolist() == sorted(expected)


def place_and_rank(name: str, seed: int) -> tuple[float, int]:
    digest = hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53, int.from_bytes(digest[8:], "big")


def naive_sides(rows: dict, fraction: float, least: int, seed: int) -> list[str]:
    """The side of every row, by fraction, from the words of the promise alone."""
    n = len(rows["doc_id"])
    count = defaultdict(int)
    for name in rows["doc_id"]:
        count[name] += 1
    answers = oracle.oracle(rows, THRESHOLD).matched["eval"]
    side = ["train"] * n
    for group in naive_components(rows):
        names = {rows["doc_id"][row] for row in group}
        barred = None in names or any(count[name] < least for name in names) or group & answers
        if barred or len(group) > fraction * n or len(group) > 0.5 * n:
            continue
        speaker = min(names, key=lambda name: place_and_rank(name, seed)[1])
        if place_and_rank(speaker, seed)[0] < fraction:
            for row in group:
                side[row] = "eval"
    return side


@settings(max_examples=60, deadline=None)
@given(
    rows=documents(),
    fraction=st.sampled_from([0.3, 0.5, 0.9]),
    least=st.sampled_from([1, 2]),
    seed=st.integers(0, 3),
)
def test_sides_are_those_of_a_naive_division_and_nothing_leaks(tmp_path_factory, rows, fraction, least, seed):
    folder = tmp_path_factory.mktemp("split")
    pq.write_table(as_table(rows), folder / "all.parquet")
    expected = naive_sides(rows, fraction, least, seed)
    given_options = {
        "eval_fraction": fraction,
        "min_chunks_per_doc": least,
        "seed": seed,
        "threshold": THRESHOLD,
        "min_chars": MIN_CHARS,
    }
    if len(set(expected)) == 1 or not any(rows["doc_id"]):
        with pytest.raises(DataError):
            lvmfast.split(folder / "all.parquet", out=folder / "out", **given_options)
        assert sorted(path.name for path in folder.iterdir()) == ["all.parquet"]
        return
    try:
        result = lvmfast.split(folder / "all.parquet", out=folder / "out", **given_options)
    except DataError as error:
        assert "no level can be checked" in str(error)  # noqa: PT017
        return
    assert result.passed
    whole = as_table(rows)
    sides = {}
    for side in ("train", "eval"):
        got = pq.read_table(folder / "out" / f"{side}.parquet")
        mask = pa.array([to == side for to in expected])
        assert repr(got.to_pylist()) == repr(whole.filter(mask).to_pylist())
        where = [row for row, to in enumerate(expected) if to == side]
        sides[side] = {name: [values[row] for row in where] for name, values in rows.items()}
    for level, found in oracle.scan(sides["train"], sides["eval"], THRESHOLD, MIN_CHARS).items():
        assert found.pairs == 0, level


def sides_of(folder, names=("train", "eval")) -> dict[int, str]:
    """document -> side."""
    return {
        int(doc): side
        for side in names
        for doc in np.unique(np.load(folder / f"{side}.npz")["truth_keys"][:, 0])
    }


def test_by_number_and_three_ways(tmp_path):
    np.savez(tmp_path / "all.npz", **dataset(60))
    first = lvmfast.split(tmp_path / "all.npz", out=tmp_path / "a", eval_docs=10, val_docs=5)
    again = lvmfast.split(tmp_path / "all.npz", out=tmp_path / "b", eval_docs=10, val_docs=5)
    other = lvmfast.split(tmp_path / "all.npz", out=tmp_path / "c", eval_docs=10, val_docs=5, seed=1)
    for name in ("train.npz", "eval.npz", "val.npz", "clean.json"):
        same = (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert same or name == "clean.json"
    sides = sides_of(tmp_path / "a", ("train", "eval", "val"))
    assert len(sides) == 60
    assert [list(sides.values()).count(side) for side in ("train", "eval", "val")] == [45, 10, 5]
    assert sides != sides_of(tmp_path / "c", ("train", "eval", "val"))
    pairs = [tuple(scan.sides.values()) for scan in first.scans]
    assert pairs == [("train", "eval"), ("train", "val"), ("eval", "val")]
    assert first.passed
    assert again.certificate["split"] == first.certificate["split"] != other.certificate["split"]


def test_by_fraction_a_side_stays_when_rows_are_added(tmp_path):
    small, more = dataset(80), dataset(40, seed=5, first=80)
    np.savez(tmp_path / "small.npz", **small)
    np.savez(tmp_path / "large.npz", **{name: np.concatenate([more[name], small[name]]) for name in small})
    for name in ("small", "large"):
        lvmfast.split(tmp_path / f"{name}.npz", out=tmp_path / name, eval_fraction=0.2, val_fraction=0.1)
    names = ("train", "eval", "val")
    before, after = (sides_of(tmp_path / name, names) for name in ("small", "large"))
    assert {doc: after[doc] for doc in before} == before
    assert set(before.values()) == set(names)


def test_a_component_too_large_goes_to_training_and_is_named(tmp_path):
    rows = dataset(40)
    rows["targets"][np.arange(5, 25) * 12 + 3] = rows["targets"][3]  # 21 documents share a vector
    np.savez(tmp_path / "all.npz", **rows)
    result = lvmfast.split(tmp_path / "all.npz", out=tmp_path / "out", eval_docs=15)
    sides = sides_of(tmp_path / "out")
    assert {sides[doc] for doc in (0, *range(5, 25))} == {"train"}
    stated = result.certificate["split"]
    assert stated["too_large"] == [{"documents": 21, "rows": 21 * 12, "examples": ["0", "5", "6"]}]
    with pytest.raises(
        DataError, match=r"--eval-docs: 20 documents asked for, 19 can be held out: .*keeps 21 documents in"
    ):
        lvmfast.split(tmp_path / "all.npz", out=tmp_path / "no", eval_docs=20)


def test_one_document_with_most_of_the_rows(tmp_path):
    rows = dataset(60)
    rows["truth_keys"][: 54 * 12, 0] = 7
    np.savez(tmp_path / "all.npz", **rows)
    result = lvmfast.split(tmp_path / "all.npz", out=tmp_path / "out", eval_docs=3)
    assert sides_of(tmp_path / "out")[7] == "train"
    assert result.certificate["split"]["too_large"] == [{"documents": 1, "rows": 648, "examples": ["7"]}]
    rows["truth_keys"][:, 0] = 7
    np.savez(tmp_path / "one.npz", **rows)
    with pytest.raises(
        DataError, match=r"1 document asked for, 0 can be held out: training keeps 1 document in"
    ):
        lvmfast.split(tmp_path / "one.npz", out=tmp_path / "no", eval_docs=1)
    assert not (tmp_path / "no").exists()


def test_small_documents_and_those_that_hold_their_answer_are_trained_on(tmp_path):
    rows = dataset(30)
    rows["truth_keys"][5 * 12 : 5 * 12 + 3, 0] = 99
    rows["contexts"][6 * 12 + 4, 1] = rows["targets"][6 * 12 + 4]
    np.savez(tmp_path / "all.npz", **rows)
    result = lvmfast.split(tmp_path / "all.npz", out=tmp_path / "out", eval_docs=27)
    sides = sides_of(tmp_path / "out")
    assert {doc for doc, side in sides.items() if side == "train"} >= {5, 6, 99}
    assert result.certificate["split"]["documents_with_answer"] == 1
    assert result.certificate["split"]["documents_too_small"] == 2
    assert lvmfast.leakscan(tmp_path / "out/train.npz", tmp_path / "out/eval.npz").passed


def test_many_files_a_payload_and_another_field(tmp_path):
    rows = dataset(40)
    text = [" ".join(f"word{12 * row + place}" for place in range(12)) for row in range(480)]
    text[13 * 12] = text[20 * 12 + 1].upper()
    data.write_payload(tmp_path / "texts.parquet", rows["truth_keys"], text)
    for name, half in (("a", slice(0, 205)), ("b", slice(205, 480))):
        np.savez(tmp_path / f"{name}.npz", **{key: values[half] for key, values in rows.items()})
    result = lvmfast.split(
        [tmp_path / "a.npz", tmp_path / "b.npz"],
        out=tmp_path / "out",
        eval_docs=12,
        payload=str(tmp_path / "texts.parquet"),
    )
    sides = sides_of(tmp_path / "out")
    assert sides[13] == sides[20]
    assert result.certificate["split"]["joined_components"] == 1
    assert result.certificate["scans"][0]["levels"]["text"]["status"] == "clean"
    together = [np.load(tmp_path / "out" / f"{side}.npz")["targets"] for side in ("train", "eval")]
    assert sorted(map(bytes, np.concatenate(together))) == sorted(map(bytes, rows["targets"]))
    lines = [{"topic": f"t{i // 20}", "text": line, "keep": i} for i, line in enumerate(text)]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lvmfast.split(tmp_path / "c.jsonl", out=tmp_path / "topics", by="topic", eval_docs=4)
    held_out = [json.loads(line) for line in (tmp_path / "topics" / "eval.jsonl").read_text().splitlines()]
    assert len({line["topic"] for line in held_out}) == 4
    assert len(held_out) == 80
    assert lvmfast.verify(tmp_path / "topics").verified


def test_a_set_of_a_million_copies_ends_in_seconds(tmp_path):
    rows = 1_000_000
    vectors = np.zeros((rows + 400, 2), np.float16)
    vectors[:rows] = 1
    angle = 2 + 0.2 * (np.arange(400) // 20)  # none near the copies' pi / 4
    vectors[rows:] = np.column_stack([np.cos(angle), np.sin(angle)])
    docs = np.r_[np.arange(rows) // 10, 10**6 + np.arange(400) // 20]
    text = pa.array(["the very same text"]).take(pa.array(np.zeros(rows + 400, np.int64)))
    mine = pa.array([f"text number {i // 20}" for i in range(400)])
    table = pa.table(
        {
            "doc_id": docs,
            "text": pa.concat_arrays([text[:rows], mine]),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float32).ravel()), 2),
        }
    )
    pq.write_table(table, tmp_path / "copies.parquet")
    start = time.perf_counter()
    result = lvmfast.split(tmp_path / "copies.parquet", out=tmp_path / "out", eval_docs=2)
    assert result.certificate["split"]["too_large"][0]["rows"] == rows
    assert time.perf_counter() - start < 60


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "expected one of --eval-docs and --eval-fraction"),
        ({"eval_docs": 3, "eval_fraction": 0.1}, "expected one of --eval-docs and --eval-fraction"),
        ({"eval_docs": 3, "val_fraction": 0.1}, "--val-docs goes with --eval-docs"),
        ({"eval_fraction": 0.3, "val_docs": 3}, "--val-docs goes with --eval-docs"),
        ({"eval_docs": 0}, "--eval-docs: expected at least 1, got 0"),
        ({"eval_fraction": 1.0}, "--eval-fraction: expected a fraction between 0 and 1, got 1.0"),
        ({"eval_fraction": float("nan")}, "--eval-fraction: expected a fraction between 0 and 1, got nan"),
        ({"eval_fraction": 0.6, "val_fraction": 0.4}, "expected less than 1 together"),
        ({"eval_docs": 1, "min_chunks_per_doc": 0}, "--min-chunks-per-doc: expected at least 1, got 0"),
    ],
)
def test_shares_that_make_no_sense(asked, message):
    with pytest.raises(DataError, match=message):
        Shares(**asked)


def test_what_cannot_be_split(tmp_path):
    np.save(tmp_path / "v.npy", np.eye(3, dtype=np.float32))
    with pytest.raises(DataError, match=r"v.npy has no doc_id, so each row is a document of its own"):
        lvmfast.split(tmp_path / "v.npy", out=tmp_path / "out", eval_docs=1, min_chunks_per_doc=2)
    with pytest.raises(DataError, match=r"v.npy: no doc_id to split by"):
        lvmfast.split(tmp_path / "v.npy", out=tmp_path / "out", eval_docs=1, by="page")
    with pytest.raises(DataError, match=r"<arrays>: expected a file or an object"):
        lvmfast.split({"doc_id": [1, 2], "text": ["a", "b"]}, out=tmp_path / "out", eval_docs=1)
    pq.write_table(pa.table({"doc_id": pa.nulls(3, pa.int64()), "text": ["a"] * 3}), tmp_path / "n.parquet")
    with pytest.raises(DataError, match=r"n.parquet: doc_id: every id is null"):
        lvmfast.split(tmp_path / "n.parquet", out=tmp_path / "out", eval_docs=1)
    pq.write_table(pa.table({"doc_id": [1], "text": ["a"]}), tmp_path / "p.parquet")
    (tmp_path / "j.jsonl").write_text('{"doc_id": 1, "text": "a"}\n')
    with pytest.raises(DataError, match=r"j.jsonl: jsonl beside the parquet"):
        lvmfast.split([tmp_path / "p.parquet", tmp_path / "j.jsonl"], out=tmp_path / "out", eval_docs=1)
    assert not (tmp_path / "out").exists()
    assert read(tmp_path / "p.parquet")["text"] == ["a"]


def test_a_limit_with_room_for_a_small_pass_is_enough(monkeypatch):
    monkeypatch.setattr(memory, "LEAST_PASS", 50)
    monkeypatch.setattr("lvmfast.leaks.options.BLOCK_BYTES", 1 << 12)
    arrays = dataset(60)
    split, options = load_split(arrays), ScanOptions()
    found = read_documents(split, options, silent)
    rows = len(found.of_row)
    cells = rows * (1 + 3) * components.CELL_BYTES
    least = memory.working_bytes(options) + rows * memory.GROUP_BYTES + cells
    limited = ScanOptions(memory_limit=least + 60 * (4 * 8 + memory.join_bytes(8)))
    assert memory.vectors_per_pass(split, limited, memory.bound(limited), cells) < rows
    roots = [
        relate_documents(split, found.of_row, len(found.rows), given, silent).components.roots().tolist()
        for given in (options, limited)
    ]
    assert roots[0] == roots[1]
    tight = ScanOptions(memory_limit=least)
    with pytest.raises(DataError, match="--memory-limit"):
        relate_documents(split, found.of_row, len(found.rows), tight, silent)
