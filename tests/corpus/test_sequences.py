"""`open_sequences`: every layout gives the rows that the arrays hold, in any order."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvmfast.corpus import load_split
from lvmfast.corpus.selection import select_rows
from lvmfast.corpus.sequences import open_sequences
from lvmfast.errors import DataError
from tests.support import walks
from tests.support.corpus_reading import read_all


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walks")
    layouts = {name: walks.write(folder / f"{name}.npz", name) for name in ("chunks", "seed", "compressed")}
    vectors, keys, windows = walks.walks()
    target, context = vectors[windows[:, -1]], vectors[windows[:, :-1]]
    np.savez(
        folder / "half.npz",
        truth_keys=keys[windows[:, -1]],
        targets=np.asfortranarray(target),
        contexts=context.astype(np.float64),
    )
    flat = pa.FixedSizeListArray.from_arrays(context.reshape(-1), walks.DIM)
    pq.write_table(
        pa.table(
            {
                "doc_id": [f"doc {k}" for k in keys[windows[:, -1], 0]],
                "chunk_id": keys[windows[:, -1], 1],
                "vector": pa.FixedSizeListArray.from_arrays(target.reshape(-1), walks.DIM),
                "context": pa.FixedSizeListArray.from_arrays(flat, walks.LENGTH),
            }
        ),
        folder / "table.parquet",
    )
    return {**layouts, "half": folder / "half.npz", "table": folder / "table.parquet"}


@pytest.mark.parametrize("name", ["chunks", "seed", "compressed", "half", "table"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.integers(0, 167), max_size=20))
def test_any_rows_in_any_order_and_twice(files, name, rows):
    vectors, keys, windows = walks.walks()
    sequences = open_sequences(str(files[name]))
    assert (sequences.n, sequences.length, sequences.dim) == (len(windows), walks.LENGTH, walks.DIM)
    wanted = np.array(rows, np.int64)
    contexts, targets = sequences.contexts(wanted), sequences.targets(wanted)
    assert contexts.dtype == targets.dtype == np.float32
    np.testing.assert_array_equal(contexts, vectors[windows[wanted, :-1]])
    np.testing.assert_array_equal(targets, vectors[windows[wanted, -1]])
    np.testing.assert_array_equal(sequences.doc_ids, keys[windows[:, -1], 0])
    np.testing.assert_array_equal(sequences.keys, keys[windows[:, -1]])
    if name == "chunks":
        np.testing.assert_array_equal(sequences.chunk_vectors, vectors)
        np.testing.assert_array_equal(sequences.windows, windows)
        np.testing.assert_array_equal(sequences.context_keys(wanted), keys[windows[wanted, :-1]])
    else:
        assert sequences.windows is None
        assert sequences.chunk_vectors is None
        assert sequences.context_keys(wanted) is None


def test_two_files_are_one_set(files, tmp_path):
    other = walks.write(tmp_path / "other.npz", seed=1, first_doc=100, documents=3)
    sequences = open_sequences([str(files["chunks"]), str(other)])
    parts = [walks.walks(), walks.walks(seed=1, first_doc=100, documents=3)]
    expected = np.concatenate([v[w[:, -1]] for v, _, w in parts])
    windows = np.concatenate([v[w[:, :-1]] for v, _, w in parts])
    rows = np.array([200, 3, 170, 0, 168, 167])
    np.testing.assert_array_equal(sequences.targets(rows), expected[rows])
    np.testing.assert_array_equal(sequences.contexts(rows), windows[rows])
    np.testing.assert_array_equal(sequences.chunk_vectors[sequences.windows[rows, -1]], expected[rows])
    np.testing.assert_array_equal(sequences.chunk_rows(205, 220), sequences.chunk_vectors[205:220])
    assert sequences.locate(170) == (str(other), 2)
    mixed = open_sequences([str(files["seed"]), str(other)])
    np.testing.assert_array_equal(mixed.targets(rows), expected[rows])
    assert mixed.windows is None


@pytest.mark.parametrize("name", ["chunks", "seed"])
def test_a_file_that_shrinks_is_an_error(files, tmp_path, name):
    path = tmp_path / "shrinking.npz"
    path.write_bytes(files[name].read_bytes())
    sequences = open_sequences(str(path))
    os.truncate(path, 600)
    with pytest.raises(DataError, match="cut short"):
        sequences.contexts(np.array([100]))


def test_what_is_no_sequence_file_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", targets=np.ones((3, 4), np.float32), truth_keys=np.ones((3, 2), int))
    with pytest.raises(DataError, match=r"a\.npz: context: sequences have doc_id, vector, context"):
        open_sequences(str(tmp_path / "a.npz"))
    other = walks.write(tmp_path / "b.npz", encoder="another")
    same = walks.write(tmp_path / "c.npz")
    with pytest.raises(DataError, match="two encoders"):
        open_sequences([str(same), str(other)])


@pytest.mark.parametrize("name", ["chunks", "compressed", "table"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000), share=st.sampled_from([0.02, 0.5, 0.98]), block=st.sampled_from([1, 7, 1000])
)
def test_selected_rows_read_as_a_split_of_their_own(files, name, seed, share, block):
    whole = load_split(str(files[name]))
    keep = np.random.default_rng(seed).random(whole.rows) < share
    keep[seed % whole.rows] = True
    selected = select_rows(whole, keep)
    assert selected.rows == keep.sum()
    vectors, keys, windows = walks.walks()
    got, starts = [], []
    for batch in selected.batches(("doc_id", "chunk_id", "vector", "context"), block):
        starts.append((batch.file_row, batch.start, batch.rows))
        got.append((batch.vector.copy(), batch.context.copy(), batch.chunk_id.to_pylist()))
    np.testing.assert_array_equal(np.concatenate([g[0] for g in got]), vectors[windows[keep, -1]])
    np.testing.assert_array_equal(np.concatenate([g[1] for g in got]), vectors[windows[keep, :-1]])
    assert [chunk for g in got for chunk in g[2]] == keys[windows[keep, -1], 1].tolist()
    ends = np.cumsum([rows for *_, rows in starts])
    assert [s[0] for s in starts] == [s[1] for s in starts] == [0, *ends[:-1]]
    rows = np.unique(np.array([0, selected.rows - 1]))
    assert selected.take(rows, ("chunk_id",))["chunk_id"].to_pylist() == [
        keys[windows[keep, -1], 1][row] for row in rows
    ]


def test_reading_helpers_agree_on_a_selection(files):
    whole = load_split(str(files["seed"]))
    keep = np.arange(whole.rows) % 3 == 0
    assert len(read_all(select_rows(whole, keep), rows=5)["doc_id"]) == keep.sum()


@pytest.mark.parametrize("most", [1, 2, 3, 7, 40])
def test_up_to_so_many_chunks_before_each_target(files, most, tmp_path):
    """From a matrix the chunks of the whole document, from copies no more than the windows."""
    vectors, keys, windows = walks.walks()
    rows = np.array([30, 0, 11, 12, 100, 167])
    other = walks.write(tmp_path / "again.npz", documents=3)  # holds chunks a second time
    for source in (str(files["chunks"]), [str(other), str(files["chunks"])]):
        sequences = open_sequences(source)
        shift = len(sequences) - len(windows)
        found = sequences.before(rows + shift, most)
        for window, row in zip(found, rows.tolist(), strict=True):
            target = int(windows[row, -1])
            expected = vectors[max(target - int(keys[target, 1]), target - most) : target]
            np.testing.assert_array_equal(window[len(window) - len(expected) :], expected)
            assert not window[: len(window) - len(expected)].any()
    copied = open_sequences(str(files["seed"])).before(rows, most)
    np.testing.assert_array_equal(copied, vectors[windows[rows, :-1]][:, -most:])
