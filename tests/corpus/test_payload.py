"""The payload join against a dict, and the accidents that keys have."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast.corpus import load_payload, load_split
from lvmfast.corpus.keys import id_keys, pair_keys, text_bytes
from lvmfast.errors import DataError
from tests.support.corpus_reading import read_all

IDS = st.none() | st.integers(-3, 3) | st.sampled_from(["", "0", "-1", "01", "a", "é", "-0", "9" * 30])


def id_array(values):
    """int64 where all are integers, else text: both forms that batches have."""
    if all(value is None or isinstance(value, int) for value in values):
        return pa.array(values, pa.int64())
    return pa.array([None if value is None else str(value) for value in values], pa.large_string())


@given(left=st.lists(IDS, max_size=20), right=st.lists(IDS, max_size=20))
def test_keys_are_equal_where_decimal_text_is(left, right):
    a, a_valid = id_keys(id_array(left))
    b, b_valid = id_keys(id_array(right))
    assert a_valid.tolist() == [value is not None for value in left]
    for i, x in enumerate(left):
        for j, y in enumerate(right):
            if a_valid[i] and b_valid[j]:
                assert (a[i] == b[j]).all() == (str(x) == str(y))


def test_keys_of_slices_and_of_nothing():
    text = pa.array(["x", "y", None, "z"], pa.large_string())
    whole, _ = id_keys(text)
    part, valid = id_keys(text.slice(1, 3))
    assert np.array_equal(part[[0, 2]], whole[[1, 3]])
    assert valid.tolist() == [True, False, True]
    assert id_keys(pa.array([5, None, -1]).slice(1))[0].tolist()[1] == [0, 2**64 - 1]
    for type_ in (pa.int64(), pa.large_string()):
        keys, valid = pair_keys(pa.array([], type_), pa.nulls(0, type_))
        assert (keys.shape, keys.dtype, len(valid)) == ((0, 4), np.uint64, 0)
        assert id_keys(pa.nulls(2, type_))[1].tolist() == [False, False]
    data, offsets = text_bytes(text.slice(1, 1))
    assert bytes(data[offsets[0] : offsets[1]]) == b"y"


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(IDS, IDS), min_size=1, max_size=30),
    payload=st.dictionaries(
        st.tuples(IDS, IDS), st.none() | st.sampled_from(["", "one", "zwei é"]), max_size=30
    ),
    size=st.integers(1, 10),
)
def test_the_join_is_a_dict_lookup(rows, payload, size):
    texts = {}
    for (doc, chunk), text in payload.items():
        if doc is not None and chunk is not None and text is not None:
            texts.setdefault((str(doc), str(chunk)), text)
    # 1 and "1" are one key; keep the payload free of two texts for it, and the split above 1% coverage.
    keys = [*texts, ("yes", "yes")]
    table = pa.table(
        {"doc_id": [k[0] for k in keys], "chunk_id": [k[1] for k in keys], "text": [*texts.values(), "hit"]}
    )
    rows = [*rows, ("yes", "yes")]
    split = pa.table({"doc_id": id_array([r[0] for r in rows]), "chunk_id": id_array([r[1] for r in rows])})
    dataset = load_split(split, payload=table)
    lookup = {**texts, ("yes", "yes"): "hit"}
    want = [lookup.get((str(doc), str(chunk))) if None not in (doc, chunk) else None for doc, chunk in rows]
    assert read_all(dataset, size)["text"] == want
    keyed = [row for row in rows if None not in row]
    assert dataset.coverage.rows == len(keyed)
    assert dataset.coverage.covered == sum(text is not None for text in want)
    picked = np.arange(0, len(rows), 2)
    assert dataset.take(picked, ("text",))["text"].to_pylist() == [want[row] for row in picked]


def write_payload(path, table):
    rows = table.to_pylist()
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".csv":
        path.write_text(
            "doc_id,chunk_id,text\n" + "".join(f"{r['doc_id']},{r['chunk_id']},{r['text']}\n" for r in rows)
        )
    elif path.suffix == ".arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
    else:
        pq.write_table(table, path)
    return path


@pytest.mark.parametrize("name", ["p.parquet", "p.jsonl", "p.csv", "p.arrow"])
def test_payload_files_of_every_format(tmp_path, name):
    n = 20_000
    keys = np.column_stack((np.arange(n) // 10, np.arange(n) % 10))
    order = np.random.default_rng(0).permutation(n)
    table = pa.table(
        {
            "doc_id": keys[order, 0],
            "chunk_id": keys[order, 1],
            "text": [f"text {doc}/{chunk}" for doc, chunk in keys[order]],
        }
    )
    path = write_payload(tmp_path / name, table)
    np.savez(tmp_path / "a.npz", truth_keys=keys)
    split = load_split(tmp_path / "a.npz", payload=path)
    assert split.columns == {"doc_id", "chunk_id", "text"}
    assert (split.coverage.rate, split.coverage.payload) == (1.0, str(path))
    assert split.notes == (f"payload: 100.0% of the rows have a text in {path} ({n} of {n})",)
    assert read_all(split)["text"] == [f"text {doc}/{chunk}" for doc, chunk in keys]
    (batch,) = split.batches(("text",), n)
    assert batch.doc_id is None


def keyed(docs, chunks, texts=None):
    table = pa.table({"doc_id": docs, "chunk_id": chunks})
    return table if texts is None else table.append_column("text", pa.array(texts, pa.string()))


def test_equal_texts_of_one_key_are_one():
    split = load_split(keyed([1], [1]), payload=keyed([1, 1, 1], [1, 1, 1], ["a", None, "a"]))
    assert read_all(split)["text"] == ["a"]
    assert split.notes[1] == "<table>: 1 rows without both ids and a text skipped"


@pytest.mark.parametrize("rows", [2, 20_000])
def test_different_texts_of_one_key_are_refused(rows):
    texts = [f"t{i}" for i in range(rows)]
    payload = keyed([*range(rows), 0], [0] * (rows + 1), [*texts, "other"])
    with pytest.raises(
        DataError, match=rf"<table>: row {rows}: the key \(doc_id 0, chunk_id 0\) has another text"
    ):
        load_payload(payload)


def test_a_payload_of_other_keys_is_refused():
    with pytest.raises(
        DataError, match=r"^<table>: only 0\.0% of the rows have a text in <table> \(0 of 500\)$"
    ):
        load_split(keyed(range(500), [0] * 500), payload=keyed(range(600, 900), [0] * 300, ["t"] * 300))
    split = load_split(keyed(range(500), [0] * 500), payload=keyed(range(495, 900), [0] * 405, ["t"] * 405))
    assert split.coverage.rate == 0.01


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("shift", [1, -1])
def test_chunk_ids_that_are_off_by_one_are_told(shift, as_text):
    docs, chunks = [1] * 400, np.arange(400)
    payload = keyed([1] * 400, chunks + 1000 * shift, ["t"] * 400)
    ids = chunks + 999 * shift
    with pytest.raises(DataError, match="only"):
        load_split(keyed(docs, chunks - 5000), payload=payload)
    split = load_split(keyed(docs, [str(i) for i in ids] if as_text else ids), payload=payload)
    advice = rf"with chunk ids of the split \{'+' if shift > 0 else '-'}1 it would be 100.0%: are they off"
    assert advice.replace("\\", "") in split.notes[0]
    one = keyed([1], [7 + shift], ["t"])
    with pytest.raises(DataError, match=advice.replace("?", r"\?")):
        load_split(keyed([1], ["7"] if as_text else [7]), payload=one)


def test_splits_without_keys_are_refused():
    payload = keyed([1], [1], ["t"])
    with pytest.raises(DataError, match="<arrays>: joining <table> needs doc_id and chunk_id; no chunk_id"):
        load_split({"doc_id": [1]}, payload=payload)
    with pytest.raises(DataError, match="<table>: a payload needs doc_id, chunk_id and text; no text"):
        load_split(keyed([1], [1]), payload=keyed([1], [1]))
    with pytest.raises(DataError, match=r"only 0\.0% of the rows .* \(0 of 0\)"):
        load_split({"doc_id": [None, "a"], "chunk_id": ["b", None]}, payload=payload)
    assert load_split(keyed(pa.array([], pa.int64()), pa.array([], pa.int64())), payload=payload).rows == 0


def test_the_payload_wins_over_text_of_the_split():
    split = load_split(keyed([1, 2], [1, 1], ["own 1", "own 2"]), payload=keyed([1], [1], ["payload 1"]))
    assert read_all(split)["text"] == ["payload 1", "own 2"]
    assert "<table>: text: replaced by the text in <table> where that has the row" in split.notes


def test_one_payload_serves_several_splits(tmp_path):
    payload = load_payload(keyed([1, 2], [1, 1], ["a", "b"]))
    assert len(payload) == 2
    assert read_all(load_split(keyed([2], [1]), payload=payload))["text"] == ["b"]
    assert read_all(load_split(load_split(keyed([1], [1])), payload=payload))["text"] == ["a"]


def test_a_mapping_holds_for_the_split_and_its_payload():
    payload = pa.table({"art": [1], "chunk_id": [1], "body": ["t"]})
    columns = {"doc_id": "art", "text": "body"}
    split = load_split({"truth_keys": np.array([[1, 1]])}, payload=payload, columns=columns)
    assert read_all(split)["text"] == ["t"]
    with pytest.raises(DataError, match="<arrays>, <table>: vector: no field 'v' in any of them"):
        load_split({"truth_keys": np.array([[1, 1]])}, payload=payload, columns={**columns, "vector": "v"})


def test_a_full_disk_is_one_line(monkeypatch):
    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            return None

    monkeypatch.setattr("lvmfast.corpus.payload.tempfile.TemporaryFile", Full)
    with pytest.raises(DataError, match=r"^<table>: spilling to .*: No space left on device$"):
        load_payload(keyed([1], [1], ["t"]))


def test_long_texts_make_smaller_batches(monkeypatch):
    monkeypatch.setattr("lvmfast.corpus.payload.TEXT_BYTES", 100)
    texts = ["x" * size for size in (10, 90, 1, 300, 0, 99, 2, 50, 50)]
    split = load_split(keyed(range(9), [0] * 9), payload=keyed(range(9), [0] * 9, texts))
    assert [batch.rows for batch in split.batches(("text",))] == [2, 1, 1, 2, 2, 1]
    assert read_all(split)["text"] == texts
