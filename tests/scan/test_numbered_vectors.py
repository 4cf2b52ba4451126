"""Vectors that windows name by number: read once, and compared as their copies are, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.corpus import load_split
from lvmfast.corpus.npy import StoredArray
from lvmfast.corpus.selection import select_rows
from lvmfast.corpus.vector_column import VectorColumn, narrowed
from lvmfast.leaks import options as scan_options
from lvmfast.leaks.cells import shared_out
from lvmfast.leaks.common_scan import CommonScan
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import silent
from lvmfast.splits.components import relate_documents
from lvmfast.splits.documents import read_documents
from lvmfast.splits.hold_out import hold_out
from tests.support import oracle
from tests.support.colliding import DIM, LENGTH, MIN_CHARS, VECTORS, check, evidence_of
from tests.support.divided import THRESHOLD, naive_components
from tests.support.large import in_blocks

LEVELS = ("doc", "chunk", "vector", "context", "oracle")


@st.composite
def numbered(draw, largest: int = 7):
    """A file in the chunk-matrix layout, in which everything collides and windows name what they like."""
    chunks = draw(st.integers(1, 9))
    values = draw(st.lists(VECTORS, min_size=chunks, max_size=chunks))
    keys = draw(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 1)), min_size=chunks, max_size=chunks))
    window = st.lists(st.integers(0, chunks - 1), min_size=LENGTH + 1, max_size=LENGTH + 1)
    windows = draw(st.lists(window, min_size=1, max_size=largest))
    return {
        "chunk_vectors": np.array(values, np.float32).reshape(-1, DIM),
        "chunk_keys": np.array(keys, np.int64).reshape(-1, 2),
        "windows": np.array(windows, np.int32),
    }


def copied(arrays: dict) -> dict:
    vectors, windows = arrays["chunk_vectors"], arrays["windows"]
    keys = arrays["chunk_keys"][windows[:, -1]]
    return {"truth_keys": keys, "targets": vectors[windows[:, -1]], "contexts": vectors[windows[:, :-1]]}


def as_rows(arrays: dict) -> dict:
    copies = copied(arrays)
    return {
        "doc_id": copies["truth_keys"][:, 0].tolist(),
        "chunk_id": copies["truth_keys"][:, 1].tolist(),
        "text": [None] * len(copies["targets"]),
        "vector": copies["targets"],
        "context": copies["contexts"],
    }


def written(folder, name: str, arrays: dict) -> tuple[str, str]:
    """The paths of the chunk matrix, and of the copies."""
    np.savez(folder / f"{name}.npz", **arrays)
    np.savez(folder / f"{name}_copied.npz", **copied(arrays))
    return str(folder / f"{name}.npz"), str(folder / f"{name}_copied.npz")


@pytest.mark.parametrize("block_bytes", [1, 200, 64 << 20])
@settings(max_examples=25, deadline=None)
@given(train=numbered(), eval_=numbered(), threshold=st.sampled_from([-1.0, 0.5, 0.97, 1.0]))
def test_a_scan_finds_what_loops_and_copies_find(
    tmp_path_factory, monkeypatch_module, block_bytes, train, eval_, threshold
):
    monkeypatch_module.setattr(scan_options, "BLOCK_BYTES", block_bytes)
    folder = tmp_path_factory.mktemp("scan")
    (a, a_copied), (b, b_copied) = written(folder, "train", train), written(folder, "eval", eval_)
    rows = {"train": as_rows(train), "eval": as_rows(eval_)}
    given_options = {"threshold": threshold, "min_chars": MIN_CHARS}
    report = lvmfast.leakscan(a, b, **given_options)
    expected = oracle.scan(rows["train"], rows["eval"], threshold, MIN_CHARS)
    expected = {level: found for level, found in expected.items() if level in LEVELS}
    check(report, expected, {side: len(of["doc_id"]) for side, of in rows.items()})
    for level, want in expected.items():
        if report.levels[level].status != "not_checkable":
            got = evidence_of(report, level)
            assert len(got) == len(set(got))
            assert set(got) == want.evidence, level
    names = ["train_file", "eval_file"]
    for left, right in ((a_copied, b_copied), (a, b_copied), (a_copied, b)):
        other = lvmfast.leakscan(left, right, **given_options)
        assert other.matches.drop_columns(names).equals(report.matches.drop_columns(names))
        assert other.matched_rows.drop_columns(["file"]).equals(report.matched_rows.drop_columns(["file"]))
        for level in LEVELS:
            assert other.summary["levels"][level] == report.summary["levels"][level]


@settings(max_examples=30, deadline=None)
@given(
    train=numbered(12),
    eval_=numbered(12),
    threshold=st.sampled_from([-1.0, 0.5, 0.97]),
    groups_per_block=st.integers(1, 9),
    nearest=st.booleans(),
)
def test_blocks_and_nearest_rows_are_those_of_copies(
    tmp_path_factory, train, eval_, threshold, groups_per_block, nearest
):
    folder = tmp_path_factory.mktemp("blocks")
    paths = written(folder, "train", train), written(folder, "eval", eval_)
    options = ScanOptions(threshold=threshold, nearest=nearest)
    for indexed in ("eval",) if nearest else ("eval", "train"):
        numbered_, copies = (
            in_blocks({"train": load_split(a), "eval": load_split(b)}, indexed, options, groups_per_block)
            for a, b in zip(*paths, strict=True)
        )
        for level, found in numbered_.items():
            other = copies[level]
            assert (found.pairs, found.match_count) == (other.pairs, other.match_count)
            for side, tally in found.sides.items():
                mine, theirs = tally.count(), other.sides[side].count()
                assert mine.matched_rows.tolist() == theirs.matched_rows.tolist()
                assert mine.best.tolist() == theirs.best.tolist()
                assert mine.unchecked == theirs.unchecked
            for name in ("train_row", "train_position", "eval_row", "eval_position", "score"):
                assert getattr(found.matches, name).tolist() == getattr(other.matches, name).tolist()
            if found.nearest is not None:
                assert found.nearest.cosine.tolist() == other.nearest.cosine.tolist()
                assert found.nearest.train_row.tolist() == other.nearest.train_row.tolist()


@pytest.mark.parametrize("block_bytes", [1, 100, 64 << 20])
@settings(max_examples=40, deadline=None)
@given(arrays=numbered(largest=12))
def test_what_belongs_together_is_what_loops_and_copies_say(
    tmp_path_factory, monkeypatch_module, block_bytes, arrays
):
    monkeypatch_module.setattr(scan_options, "BLOCK_BYTES", block_bytes)
    monkeypatch_module.setattr("lvmfast.leaks.duplicates.BLOCKS_PER_PASS", 1)
    options = ScanOptions(threshold=THRESHOLD, min_chars=MIN_CHARS)
    rows, found = as_rows(arrays), []
    rows["doc_id"] = [str(name) for name in rows["doc_id"]]
    for path in written(tmp_path_factory.mktemp("relate"), "all", arrays):
        split = load_split(path)
        documents = read_documents(split, options, silent)
        related = relate_documents(split, documents.of_row, len(documents.rows), options, silent)
        found.append((related.components.roots()[documents.of_row].tolist(), related.with_answer.tolist()))
    assert found[0] == found[1]
    root, with_answer = found[0]
    groups = [{row for row, name in enumerate(root) if name == one} for one in set(root)]
    assert sorted(map(sorted, groups)) == sorted(map(sorted, naive_components(rows)))
    assert with_answer == sorted(oracle.oracle(rows, THRESHOLD).matched["eval"])


def documents(rng, count: int = 60, per_document: int = 18, dim: int = 8) -> dict:
    """Documents of which some share a chunk, nearly a chunk, or hold an answer."""
    keys = np.stack(np.divmod(np.arange(count * per_document), per_document), 1)
    vectors = rng.standard_normal((len(keys), dim)).astype(np.float32)
    for one, other in rng.integers(0, len(keys), (6, 2)):
        vectors[one] = vectors[other] * 2 + rng.choice([0, 1e-4])
    starts = np.arange(count)[:, None] * per_document + np.arange(per_document - 3)
    windows = (starts.reshape(-1)[:, None] + np.arange(4)).astype(np.int32)
    windows[40, 1] = windows[40, -1]
    windows[500, 0] = 3  # a chunk of another document
    return {"chunk_vectors": vectors, "chunk_keys": keys, "windows": windows}


@pytest.mark.parametrize("seed", [0, 1])
def test_training_holds_out_what_split_holds_out(tmp_path, seed):
    paths = written(tmp_path, "all", documents(np.random.default_rng(seed)))
    sides = []
    for place, path in enumerate(paths):
        out = tmp_path / f"split{place}"
        given_options = {"eval_docs": 12, "min_chunks_per_doc": 1, "seed": seed}
        assert lvmfast.split(path, out=out, **given_options).passed
        held_by_split = {
            name
            for batch in load_split(out / "eval.npz").batches(("doc_id",))
            for name in batch.doc_id.to_pylist()
        }
        held_out = hold_out(load_split(path), 12, seed, ScanOptions(), silent)
        held = {int(name) for name, out in zip(held_out.documents.ids, held_out.held, strict=True) if out}
        assert held == held_by_split
        assert held_out.division.joined > 0
        sides.append((held_out.rows.tolist(), held_out.division.joined, held_out.division.with_answer))
    assert sides[0] == sides[1]
    assert sides[0][2] > 0


def test_each_vector_is_read_once_a_batch(tmp_path, monkeypatch):
    arrays = documents(np.random.default_rng(0))
    arrays["windows"][500] = arrays["windows"][501]  # else a slab from one document to the other is read
    path, _ = written(tmp_path, "all", arrays)
    read = []

    def counted(self, file, memory, start, stop, real=StoredArray._read):
        if len(self.shape) == 2 and self.dtype == np.float32:
            read.append(stop - start)
        return real(self, file, memory, start, stop)

    monkeypatch.setattr(StoredArray, "_read", counted)
    batches = list(load_split(path).batches(("vector", "context"), 100))
    assert len(read) == len(batches) == 9
    assert sum(read) <= 60 * 18 + 9 * 2 * 18  # a document may be in two batches
    assert all(batch.targets.values is batch.windows.values for batch in batches)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 20))
def test_a_column_is_its_array(seed, count, rows):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((count, 3)).astype(np.float32)
    numbers = rng.integers(0, count, (rows, 2))
    column, array = VectorColumn(values, numbers.shape, numbers), values[numbers]
    low, high = sorted(rng.integers(0, rows + 1, 2).tolist())
    some = rng.integers(0, rows, 5) if rows else np.empty(0, np.int64)
    for one in (column, VectorColumn.of(array)):
        for taken, expected in (
            (one, array),
            (one[low:high], array[low:high]),
            (one[some], array[some]),
            (one[some][:2], array[some][:2]),
        ):
            assert len(taken) == len(expected)
            assert taken.shape == expected.shape[:2]
            np.testing.assert_array_equal(taken.array, expected)
            vectors, places = taken.distinct()
            spread = vectors if places is None else vectors[places]
            np.testing.assert_array_equal(spread, expected.reshape(-1, 3))
    vectors, places = narrowed(values, numbers[:, 0])
    firsts = [int(np.flatnonzero(places == place)[0]) for place in range(len(vectors))]
    assert firsts == sorted(firsts)
    assert len(vectors) == len(set(numbers[:, 0].tolist()))


@settings(max_examples=50, deadline=None)
@given(
    hits=st.lists(st.integers(0, 4), max_size=12).map(sorted),
    places=st.lists(st.integers(0, 4), max_size=12),
)
def test_every_cell_has_the_hits_of_its_vector(hits, places):
    cell, source = shared_out(np.array(hits, np.int64), np.array(places, np.int64), 5)
    expected = [(c, h) for c, place in enumerate(places) for h, row in enumerate(hits) if row == place]
    assert list(zip(cell.tolist(), source.tolist(), strict=True)) == expected


@pytest.mark.parametrize("layout", [0, 1])
def test_each_distinct_vector_of_a_batch_is_compared_once(tmp_path, monkeypatch, layout):
    paths = written(tmp_path, "all", documents(np.random.default_rng(0)))
    split = load_split(paths[layout])
    held = np.arange(split.rows) < 150
    scanned = []

    def counted(self, vectors, real=CommonScan._found):
        scanned.append(vectors)
        return real(self, vectors)

    monkeypatch.setattr(CommonScan, "_found", counted)
    report = lvmfast.leakscan(select_rows(split, ~held), select_rows(split, held))
    assert report.levels["context"].pairs > 0
    (vectors,) = scanned
    assert len(np.unique(vectors.view("V32"))) == len(vectors) <= 50 * 18 + 2
