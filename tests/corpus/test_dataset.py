"""`Dataset`: many files as one split, and the second look at some of its rows."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.support.corpus_reading import read_all


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 99, (50, 2))
    vectors = rng.normal(size=(50, 4)).astype(np.float32)
    np.savez(tmp_path / "a.npz", truth_keys=keys, targets=vectors)
    np.savez_compressed(tmp_path / "b.npz", truth_keys=keys, targets=vectors, text=np.array(["é"] * 50))
    table = pa.table({"doc_id": [f"d{i}" for i in range(50)], "text": [f"t{i}" for i in range(50)]})
    pq.write_table(table, tmp_path / "c.parquet", row_group_size=10)
    return [tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "c.parquet"]


def test_files_of_different_columns_are_one_split(files):
    split = load_split(files)
    assert split.columns == {"doc_id", "chunk_id", "text", "vector"}
    assert (split.rows, split.estimated_rows(), split.dim, split.context_length) == (150, 150, 4, None)
    assert split.nbytes == sum(path.stat().st_size for path in files)
    assert load_split(split) is split
    whole = read_all(load_split(files[:2]), 7, ("doc_id", "vector"))
    assert len(whole["vector"]) == 100


@pytest.mark.parametrize("rows", [1, 7, 8192])
def test_batches_never_cross_a_file(files, rows):
    seen = []
    for batch in load_split(files).batches(("doc_id", "text"), rows):
        assert batch.start == 50 * batch.file + batch.file_row
        assert (batch.text is None) == (batch.file == 0)
        seen.extend(range(batch.start, batch.start + batch.rows))
    assert seen == list(range(150))


def test_ids_are_integers_only_if_all_files_have_integers(files):
    rows = np.array([0, 49, 50, 149])
    split = load_split(files)
    table = split.take(rows, ("doc_id", "chunk_id", "text"))
    assert table.schema.types == [pa.int64(), pa.large_string(), pa.int64(), pa.large_string()]
    assert table["row"].to_pylist() == rows.tolist()
    assert table["doc_id"].to_pylist()[3] == "d49"
    assert table["chunk_id"].to_pylist()[3] is None
    assert table["text"].to_pylist() == [None, None, "é", "t49"]
    assert load_split(files[:2]).take(rows[:3], ("doc_id",)).schema.field("doc_id").type == pa.int64()
    empty = split.take(np.array([], np.int64), ("doc_id", "text"))
    assert (empty.num_rows, empty.schema.types) == (0, [pa.int64(), pa.large_string(), pa.large_string()])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.sets(st.integers(0, 149)))
def test_take_is_indexing(files, rows):
    split = load_split(files)
    rows = np.array(sorted(rows), np.int64)
    doc_ids = [id_ for batch in split.batches(("doc_id",)) for id_ in map(str, batch.doc_id.to_pylist())]
    table = split.take(rows, ("doc_id",))
    assert table["doc_id"].to_pylist() == [doc_ids[row] for row in rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(rows=st.sets(st.integers(0, 79), min_size=1))
@pytest.mark.parametrize("read_before", [False, True])
def test_take_from_files_that_do_not_say_how_long_they_are(tmp_path, rows, read_before):
    texts = [f"t{row}" for row in range(80)]
    for place, name in enumerate(("a.jsonl", "b.csv", "c.jsonl", "d.tsv")):
        of_file = texts[20 * place : 20 * place + 20]
        lines = [f'{{"text": "{text}"}}' for text in of_file] if "jsonl" in name else ["text", *of_file]
        (tmp_path / name).write_text("\n".join(lines))
    split = load_split(tmp_path)
    wanted = np.array(sorted(rows), np.int64)
    if read_before:
        assert [text for batch in split.batches(("text",)) for text in batch.text.to_pylist()] == texts
        held = [batch.text[row - batch.start].as_py()
                for batch in split.batches(("text",), 3, wanted)
                for row in wanted if batch.start <= row < batch.start + batch.rows]  # fmt: skip
        assert held == [texts[row] for row in wanted]
    else:
        with pytest.raises(ValueError, match="before the file was read to the end"):
            list(split.batches(("text",), 3, wanted))
    assert split.take(wanted, ("text",))["text"].to_pylist() == [texts[row] for row in wanted]


def test_take_skips_files_and_row_groups(files, monkeypatch):
    split = load_split(files)
    read = []
    for file in split.files:

        def spy(columns, rows, wanted=None, file=file, batches=file.batches):
            for batch in batches(columns, rows, wanted):
                read.append((file.name, batch.file_row, batch.rows))
                yield batch

        monkeypatch.setattr(file, "batches", spy)
    split.take(np.array([125]), ("text",))
    assert read == [(str(files[2]), 20, 10)]


def test_reading_imports_nothing_heavy():
    code = "import sys, lvmfast.corpus; print(*sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(out.split())
    assert loaded.isdisjoint({"torch", "datasets", "ml_dtypes"})


def test_vectors_of_two_lengths_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float32))
    np.save(tmp_path / "b.npy", np.zeros((2, 4), np.float32))
    with pytest.raises(DataError, match=r"b\.npy: expected vectors of 3 values as in .*a\.npy, got 4"):
        load_split([tmp_path / "a.npy", tmp_path / "b.npy"])


def test_windows_of_two_lengths_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", contexts=np.zeros((2, 5, 4), np.float32))
    np.savez(tmp_path / "b.npz", contexts=np.zeros((2, 6, 4), np.float32))
    with pytest.raises(DataError, match=r"b\.npz: expected windows of 5 vectors as in .*a\.npz, got 6"):
        load_split([tmp_path / "a.npz", tmp_path / "b.npz"])


def test_requests_for_other_columns_are_errors(files):
    split = load_split(files)
    with pytest.raises(ValueError, match="unknown columns"):
        next(split.batches(("vectors",)))
    with pytest.raises(ValueError, match="at least 1"):
        next(split.batches(("vector",), 0))
    with pytest.raises(ValueError, match="take: columns"):
        split.take(np.array([0]), ("vector",))


def test_wide_rows_make_smaller_batches(monkeypatch):
    monkeypatch.setattr("lvmfast.corpus.values.BATCH_BYTES", 1000)
    arrays = {"vector": np.zeros((50, 10), np.float32), "context": np.zeros((50, 4, 10), np.float32)}
    assert {batch.rows for batch in load_split(arrays).batches(("vector", "context"))} == {5}
    table = pa.table({"vector": list(np.zeros((50, 10), np.float32))})
    assert {batch.rows for batch in load_split(table).batches(("vector",))} == {25}
