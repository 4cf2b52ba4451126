"""Parquet, Arrow IPC and HF folders against pyarrow's own whole reading."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.support.corpus_reading import read, read_all

RNG = np.random.default_rng(0)


def write_parquet(table, path, **options):
    pq.write_table(table, path, row_group_size=16, **options)


def write_file(table, path):
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=16)


def write_stream(table, path):
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=16)


def write_lz4(table, path):
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=16)


WRITERS = pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_parquet, "a.parquet"),
        (write_file, "a.arrow"),
        (write_stream, "a.arrow"),
        (write_lz4, "a.feather"),
    ],
    ids=["parquet", "file", "stream", "lz4"],
)


def nested(values, kind):
    """(n, ..., d) floats as lists of `kind`."""
    array = pa.array(values.reshape(-1))
    for size in reversed(values.shape[1:]):
        if kind == "fixed":
            array = pa.FixedSizeListArray.from_arrays(array, size)
        else:
            offsets = np.arange(0, len(array) + 1, size)
            lists = pa.LargeListArray if kind == "large" else pa.ListArray
            array = lists.from_arrays(pa.array(offsets, pa.int64() if kind == "large" else pa.int32()), array)
    return array


def example(kind="fixed", dtype=np.float32, rows=50):
    vectors = RNG.normal(size=(rows, 4)).astype(dtype)
    windows = RNG.normal(size=(rows, 3, 4)).astype(dtype)
    table = pa.table(
        {
            "doc_id": pa.array(range(rows), pa.int16()),
            "chunk_id": [f"c{i}" for i in range(rows)],
            "text": [None if i % 7 == 0 else f"text é {i}" for i in range(rows)],
            "other": [{"x": i} for i in range(rows)],
            "vector": nested(vectors, kind),
            "contexts": nested(windows, kind),
        }
    )
    return table, vectors.astype(np.float32), windows.astype(np.float32)


@WRITERS
@pytest.mark.parametrize("kind", ["fixed", "list", "large"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("rows", [1, 7, 8192])
def test_tables_read_as_pyarrow_does(tmp_path, write, name, kind, dtype, rows):
    table, vectors, windows = example(kind, dtype)
    path = str(tmp_path / name)
    write(table, path)
    split = load_split(path)
    assert (split.rows, split.dim, split.context_length) == (50, 4, 3)
    assert len(split.notes) == (2 if dtype is np.float64 else 0)
    got = read_all(split, rows)
    for column in ("doc_id", "chunk_id", "text"):
        assert got[column] == table[column].to_pylist()
    assert np.array_equal(got["vector"], vectors)
    assert np.array_equal(got["context"], windows)


@WRITERS
def test_null_vectors_become_nan_rows(tmp_path, write, name):
    for type_ in (pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.float64())):
        path = str(tmp_path / name)
        write(pa.table({"vector": pa.array([None, [1, 2], None, [3, None], [5, 6]], type_)}), path)
        for rows in (1, 2, 8192):
            got = read(path, rows)["vector"]
            nan = np.nan
            assert np.array_equal(got, [[nan, nan], [1, 2], [nan, nan], [3, nan], [5, 6]], equal_nan=True)


def test_null_windows_and_null_vectors_in_windows_become_nan(tmp_path):
    windows = pa.array([[[1, 2], None], None, [[3, 4], [5, None]]], pa.list_(pa.list_(pa.float32())))
    write_parquet(pa.table({"context": windows}), tmp_path / "a.parquet")
    nan = np.nan
    want = [[[1, 2], [nan, nan]], [[nan, nan], [nan, nan]], [[3, 4], [5, nan]]]
    assert np.array_equal(read(tmp_path / "a.parquet")["context"], want, equal_nan=True)


@WRITERS
@pytest.mark.parametrize(
    "type_", [pa.int8(), pa.uint16(), pa.int64(), pa.uint64(), pa.string(), pa.large_string()]
)
def test_ids_of_every_type_with_nulls(tmp_path, write, name, type_):
    values = [1, None, 0, 127]
    text = pa.types.is_string(type_) or pa.types.is_large_string(type_)
    table = pa.table({"doc_id": pa.array([v if v is None or not text else str(v) for v in values], type_)})
    write(table, str(tmp_path / name))
    as_text = text or type_ == pa.uint64()
    want = [None if v is None else str(v) if as_text else v for v in values]
    assert read(str(tmp_path / name))["doc_id"] == want


@WRITERS
def test_dictionaries_and_bytes_are_text(tmp_path, write, name):
    table = pa.table(
        {
            "doc_id": pa.array(["x", None, "x", "y"]).dictionary_encode(),
            "chunk_id": pa.array([1, 2, None, 1]).dictionary_encode(),
            "text": pa.array([b"a", None, "ß".encode(), b""]),
        }
    )
    write(table, str(tmp_path / name))
    got = read(str(tmp_path / name), 3)
    assert got["doc_id"] == ["x", None, "x", "y"]
    assert got["chunk_id"] == [1, 2, None, 1]
    assert got["text"] == ["a", None, "ß", ""]


@WRITERS
def test_only_the_columns_asked_for_are_read(tmp_path, write, name):
    table, _, _ = example()
    write(table, str(tmp_path / name))
    split = load_split(tmp_path / name)
    for batch in split.batches(("chunk_id",), 7):
        assert batch.chunk_id is not None
        assert (batch.doc_id, batch.text, batch.vector, batch.context) == (None,) * 4
    assert sum(batch.rows for batch in split.batches((), 7)) == 50


@WRITERS
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"doc_id": [1.0, 2.0]}, "doc_id: expected integer or string ids, got double"),
        ({"doc_id": [True]}, "doc_id: expected integer or string ids, got bool"),
        ({"text": [1, 2]}, "text: expected text, got int64"),
        ({"vector": [1.0, 2.0]}, "vector: expected a list of floats, got double"),
        ({"vector": [[1, 2]]}, "vector: expected a list of floats, got list<"),
        ({"vector": [[[1.0]]]}, "vector: expected a list of floats, got list<"),
        (
            {"vector": pa.array([[]], pa.list_(pa.float32()))},
            "vector: expected a list of floats, got an empty list",
        ),
        ({"contexts": [[1.0]]}, "contexts: expected a list of lists of floats"),
        ({"vector": [[1.0, 2.0], [3.0]]}, "vector: row 1: expected 2 values, got 1"),
        (
            {"vector": [[1.0]], "contexts": [[[1.0, 2.0]]]},
            "contexts: expected windows of vectors of 1 values",
        ),
        (
            {"contexts": [[[1.0, 2.0]], [[1.0]]]},
            "contexts: row 1: expected 2 values, got 1",
        ),
        (
            {"doc_id": [1], "article_id": [1]},
            "doc_id: both doc_id and article_id could be it; map one of them",
        ),
        ({"title": ["a"]}, "no field is a known column; there is title; map one of them"),
        ({"text": pa.array([b"ok", b"\xff"])}, "text: row 1: not UTF-8"),
    ],
)
def test_fields_that_do_not_fit_are_refused(tmp_path, write, name, fields, message):
    write(pa.table(fields), str(tmp_path / name))
    with pytest.raises(DataError) as caught:
        read(str(tmp_path / name))
    assert f"{tmp_path / name}: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_row_of_an_unequal_length_is_the_row_of_the_file(tmp_path):
    vectors = [[1.0, 2.0]] * 40
    vectors[33] = [1.0]
    vectors[5] = None
    write_parquet(pa.table({"vector": vectors}), tmp_path / "a.parquet")
    for rows in (1, 7, 8192):
        with pytest.raises(DataError, match=r"a\.parquet: vector: row 33: expected 2 values, got 1"):
            list(load_split(tmp_path / "a.parquet").batches(("vector",), rows))


def test_text_that_is_named_context_is_no_window(tmp_path):
    write_parquet(pa.table({"context": ["a passage"], "text": ["a question"]}), tmp_path / "a.parquet")
    split = load_split(tmp_path / "a.parquet")
    assert split.columns == {"text"}
    assert split.notes == (f"{tmp_path}/a.parquet: context: string, not read as context windows",)
    assert read(tmp_path / "a.parquet", columns={"text": "context"})["text"] == ["a passage"]


def test_a_vector_column_of_nulls_alone_is_left_out(tmp_path):
    table = pa.table({"text": ["a", "b"], "vector": pa.array([None, None], pa.list_(pa.float32()))})
    write_parquet(table, tmp_path / "a.parquet")
    split = load_split(tmp_path / "a.parquet")
    assert split.columns == {"text"}
    assert "vector: no row has a value" in split.notes[0]


@WRITERS
def test_no_rows_are_no_batches(tmp_path, write, name):
    write(example()[0].slice(0, 0), str(tmp_path / name))
    split = load_split(tmp_path / name)
    assert split.rows == 0
    assert list(split.batches(("vector",))) == []


@WRITERS
def test_truncated_and_corrupt_files_are_refused(tmp_path, write, name):
    table, _, _ = example()
    write(table, str(tmp_path / name))
    whole = (tmp_path / name).read_bytes()
    broken = tmp_path / f"b{os.path.splitext(name)[1]}"
    for size in (0, 3, 100, len(whole) // 2, len(whole) - 20):
        broken.write_bytes(whole[:size])
        if name == "a.arrow" and size == len(whole) - 20:
            continue  # a stream may end without its end mark
        with pytest.raises(DataError) as caught:
            read(broken)
        assert str(broken) in str(caught.value)
        assert "\n" not in str(caught.value)
    broken.write_bytes(b"not a table at all " * 100)
    with pytest.raises(DataError):
        read(broken)


def test_string_fields_of_bad_bytes_name_their_row(tmp_path):
    bad = pa.array([b"fine"] * 20 + [b"\xff"]).view(pa.string())
    write_parquet(pa.table({"text": bad}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: text: row 20: not UTF-8"):
        read(tmp_path / "a.parquet", 8192)


@pytest.mark.parametrize("write", [write_file, write_stream])
def test_field_names_that_are_not_utf8_are_refused(tmp_path, write):
    write(pa.table({"text": ["a"], "name": [1]}), str(tmp_path / "a.arrow"))
    data = (tmp_path / "a.arrow").read_bytes().replace(b"name", b"na\xffe")
    (tmp_path / "a.arrow").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.arrow: 'utf-8' codec can't decode byte 0xff"):
        load_split(tmp_path / "a.arrow")


def hf_dataset():
    import datasets

    table, vectors, windows = example(kind="list")
    features = datasets.Features(
        {
            "doc_id": datasets.Value("int32"),
            "text": datasets.Value("string"),
            "vector": datasets.Sequence(datasets.Value("float32")),
            "contexts": datasets.Array2D((3, 4), "float32"),
        }
    )
    columns = {name: table[name].to_pylist() for name in features}
    return datasets.Dataset.from_dict(columns, features=features), vectors, windows


@pytest.mark.heavy
@pytest.mark.parametrize("shards", [1, 3])
def test_hf_folders(tmp_path, shards):
    dataset, vectors, windows = hf_dataset()
    dataset.save_to_disk(tmp_path / "hf", num_shards=shards)
    (tmp_path / "hf" / "cache-1234.arrow").write_bytes(b"left over by a map")
    split = load_split(tmp_path / "hf")
    assert len(split.files) == shards
    got = read_all(split, 7)
    assert got["doc_id"] == list(range(50))
    assert got["text"] == dataset["text"][:]
    assert np.array_equal(got["vector"], vectors)
    assert np.array_equal(got["context"], windows)


@pytest.mark.heavy
def test_hf_dataset_dicts_list_their_splits(tmp_path):
    import datasets

    dataset, _, _ = hf_dataset()
    both = datasets.DatasetDict(train=dataset, test=dataset)
    both.save_to_disk(tmp_path / "hf")
    with pytest.raises(DataError, match=r"hf: a DatasetDict; give one of its splits: .*hf/train, .*hf/test"):
        load_split(tmp_path / "hf")
    with pytest.raises(DataError, match=r"a DatasetDict; give one of its splits: .*'train'.*'test'"):
        load_split(both)
    assert load_split(tmp_path / "hf" / "train").rows == 50
    datasets.DatasetDict(train=dataset).save_to_disk(tmp_path / "one")
    assert load_split(tmp_path / "one").rows == 50  # there is no other it could be
    (tmp_path / "one" / "dataset_dict.json").write_text('{"splits": []}')
    with pytest.raises(DataError, match="one: a DatasetDict; it has no splits"):
        load_split(tmp_path / "one")


@pytest.mark.heavy
def test_hf_state_that_names_files_elsewhere_is_refused(tmp_path):
    dataset, _, _ = hf_dataset()
    dataset.save_to_disk(tmp_path / "hf")
    state = tmp_path / "hf" / "state.json"
    state.write_text(state.read_text().replace("data-00000-of-00001.arrow", "../secret.arrow"))
    with pytest.raises(DataError, match=r"state\.json: '\.\./secret\.arrow' is not a file of this folder"):
        load_split(tmp_path / "hf")
    state.write_text("{}")
    with pytest.raises(DataError, match=r"state\.json: expected a list of data files"):
        load_split(tmp_path / "hf")


@pytest.mark.heavy
def test_hf_datasets_in_memory_know_of_selections_and_shuffles():
    dataset, vectors, windows = hf_dataset()
    order = [4, 49, 7, 7, 0, 12]
    split = load_split(dataset.with_format("numpy").select(order))
    got = read_all(split, 4)
    assert split.files[0].name == "<dataset>"
    assert got["doc_id"] == order
    assert np.array_equal(got["vector"], vectors[order])
    assert np.array_equal(got["context"], windows[order])
    assert split.take(np.array([1, 5]), ("doc_id",))["doc_id"].to_pylist() == [49, 12]


@pytest.mark.parametrize("rows", [1, 7, 8192])
def test_pyarrow_tables_in_memory(rows):
    table, vectors, windows = example("large")
    table = pa.concat_tables([table.slice(0, 11), table.slice(11)])
    split = load_split(table)
    got = read_all(split, rows)
    assert split.files[0].name == "<table>"
    assert got["text"] == table["text"].to_pylist()
    assert np.array_equal(got["vector"], vectors)
    assert np.array_equal(got["context"], windows)
    assert read(table.to_batches()[0])["doc_id"] == list(range(11))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    rows=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_wanted_rows_of_a_parquet_file_and_where_its_reading_can_begin(tmp_path, groups, rows, seed):
    numbers = pa.array(range(sum(groups)), pa.int64())
    path = tmp_path / "groups.parquet"
    with pq.ParquetWriter(path, pa.schema({"doc_id": pa.int64()})) as writer:
        for start, size in zip(np.cumsum([0, *groups]), groups, strict=False):
            writer.write_table(pa.table({"doc_id": numbers.slice(start, size)}))
    (file,) = load_split(path).files
    assert file.starts.tolist() == np.cumsum([0, *groups])[:-1].tolist()
    wanted = np.flatnonzero(np.random.default_rng(seed).random(sum(groups)) < 0.1)
    came = [
        (batch.file_row + place, value)
        for batch in file.batches(("doc_id",), rows, wanted)
        for place, value in enumerate(batch.doc_id.to_pylist())
    ]
    assert all(row == value for row, value in came)
    assert set(wanted.tolist()) <= {row for row, _ in came}
    group_of_wanted = np.searchsorted(file.starts, wanted, "right")
    for group in np.unique(group_of_wanted):  # behind its last wanted row, only what came along with that
        last = wanted[group_of_wanted == group].max()
        behind = [row for row, _ in came if np.searchsorted(file.starts, row, "right") == group]
        assert max(behind) - last < rows


@pytest.mark.parametrize("name", ["Text", " text", "TEXT "])
def test_a_field_that_is_almost_a_column_is_never_passed_over_in_silence(tmp_path, name):
    text = "a sentence that is long enough to count"
    pq.write_table(pa.table({"doc_id": ["a"], name: [text]}), tmp_path / "train.parquet")
    pq.write_table(pa.table({"doc_id": ["b"], "text": [text]}), tmp_path / "eval.parquet")
    sides = [str(tmp_path / f"{side}.parquet") for side in ("train", "eval")]
    with pytest.raises(DataError, match=f"train.parquet: '{name}': names are compared letter by letter"):
        lvmfast.leakscan(*sides)
    assert lvmfast.leakscan(*sides, levels=["doc"]).passed
    np.savez(tmp_path / "train.npz", doc_id=np.array(["a"]), **{name: np.array([text])})
    (tmp_path / "train.jsonl").write_text(json.dumps({"doc_id": "a", name: text}))
    for other in ("train.npz", "train.jsonl"):
        with pytest.raises(DataError, match=f"{other}: '{name}': names are compared letter by letter"):
            lvmfast.leakscan(str(tmp_path / other), sides[1])
