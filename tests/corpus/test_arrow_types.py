"""Every Arrow type in every role, in every container, through every command: right, or refused by its name.

docs/formats.md says the same in words. The other side is plain: Python's strings, numpy's float32.
"""

from __future__ import annotations

import datetime
import re

import numpy as np
import pyarrow as pa
import pytest

from lvmfast import fingerprint, leakscan
from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.support.arrow_columns import IDS, LEAVES, TEXTS, VECTORS, lists, tensors
from tests.support.arrow_files import (
    CONTAINERS,
    DIM,
    LENGTH,
    ROWS,
    SHARED,
    kept_as,
    texts,
    to_parquet,
    vectors,
)

IN_EVERY_CONTAINER = pytest.mark.parametrize("container", CONTAINERS)


def matched(report, level):
    found = report.summary["levels"][level]
    assert found["eval_rows_checked"] == ROWS
    return found["eval_rows_matched"]


def both_ways(train, eval, folder, level, **options):
    """Rows of `eval` that match, by a scan and by a scan of a fingerprint."""
    found = matched(leakscan(train, eval, levels=[level], **options), level)
    if level != "context":
        print_ = fingerprint(train, folder / "train.lvfp", **options)
        report = leakscan(print_, eval, levels=[level], **options)
        assert report.summary["levels"][level]["eval_rows_matched"] == found
    return found


@IN_EVERY_CONTAINER
@pytest.mark.parametrize("name", IDS)
def test_ids(tmp_path, container, name):
    make, printed = IDS[name]
    train = kept_as(container, pa.table({"doc_id": make(range(ROWS))}), tmp_path)
    others = range(ROWS - SHARED, 2 * ROWS - SHARED)
    assert both_ways(train, {"doc_id": [printed(n) for n in others]}, tmp_path, "doc") == SHARED
    assert matched(leakscan(train, pa.table({"doc_id": make(others)}), levels=["doc"]), "doc") == SHARED


@IN_EVERY_CONTAINER
@pytest.mark.parametrize("name", TEXTS)
def test_texts(tmp_path, container, name):
    train = kept_as(container, pa.table({"text": TEXTS[name](texts(0, ROWS))}), tmp_path)
    others = texts(ROWS - SHARED, 2 * ROWS - SHARED)
    assert both_ways(train, {"text": others}, tmp_path, "text", normalize="none") == SHARED


@pytest.mark.parametrize(
    ("container", "leaf"),
    [*((container, "float32") for container in CONTAINERS), *(("table", leaf) for leaf in LEAVES)],
)
@pytest.mark.parametrize("name", VECTORS)
def test_vectors(tmp_path, container, name, leaf):
    values = vectors(ROWS, leaf)
    if name == "lists of runs":
        values[:, 1::2] = values[:, ::2]
    train = kept_as(container, pa.table({"vector": VECTORS[name](values)}), tmp_path)
    others = np.concatenate([values[:SHARED], vectors(ROWS - SHARED, leaf, seed=1)]).astype(np.float32)
    assert both_ways(train, {"vector": others}, tmp_path, "vector") == SHARED


@IN_EVERY_CONTAINER
@pytest.mark.parametrize("name", VECTORS)
def test_windows(tmp_path, container, name):
    leaf = "int8" if container == "stream" else "float32"
    values = vectors(ROWS, leaf, (LENGTH, DIM))
    if name == "lists of runs":
        values[..., 1::2] = values[..., ::2]
    plain = pa.array(list(np.ones((ROWS, DIM), np.float32)), pa.list_(pa.float32()))
    table = pa.table({"vector": plain, "context": VECTORS[name](values)})
    train = kept_as(container, table, tmp_path)
    # The last vector of a window is the target of an eval row.
    targets = np.concatenate([values[:SHARED, -1], vectors(ROWS - SHARED, leaf, seed=1)])
    alone = vectors(ROWS, "float32", (LENGTH, DIM), seed=2)
    others = {"vector": targets.astype(np.float32), "context": alone}
    assert both_ways(train, others, tmp_path, "context") == SHARED


def values_of(type_):
    return {
        pa.float64(): [1.0, 2.0], pa.float16(): np.array([1, 2], np.float16), pa.bool_(): [True, False],
        pa.date32(): [datetime.date(2020, 1, n) for n in (1, 2)],
        pa.time64("us"): [datetime.time(n) for n in (1, 2)],
        pa.timestamp("ns"): [datetime.datetime(2020, 1, n) for n in (1, 2)], pa.duration("s"): [1, 2],
        pa.decimal128(9, 2): [1, 2], pa.month_day_nano_interval(): [(1, 1, 1), (2, 2, 2)],
        pa.int64(): [1, 2], pa.string(): ["a", "b"],
    }[type_]  # fmt: skip


def wrapped(type_):
    plain = pa.array(values_of(type_), type_)
    yield plain
    if type_ != pa.month_day_nano_interval():
        yield plain.dictionary_encode()
        yield pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), plain)
    yield pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), plain)
    yield pa.StructArray.from_arrays([plain], ["x"])
    yield pa.MapArray.from_arrays(pa.array([0, 1, 2], pa.int32()), pa.array(["k", "l"]), plain)


NO_IDS = [
    *(a for t in (pa.float64(), pa.float16(), pa.bool_(), pa.date32(), pa.time64("us"), pa.timestamp("ns"),
                  pa.duration("s"), pa.decimal128(9, 2), pa.month_day_nano_interval()) for a in wrapped(t)),
    *list(wrapped(pa.int64()))[3:],
    pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, 1], pa.int8())),
    tensors(np.ones((2, 3), np.float32)),
    pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]),
]  # fmt: skip
NO_TEXTS = [
    *NO_IDS,
    pa.array([1, 2]),
    pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, b"1" * 16], pa.binary(16))),
]
NO_VECTORS = [
    *(pa.array([[1], [2]], pa.list_(leaf)) for leaf in (pa.int32(), pa.int64(), pa.uint32(), pa.uint64())),
    pa.array([[True], [False]]),
    pa.array([["a"], ["b"]]),
    pa.array([b"1234", b"5678"]),
    pa.array([b"1234", b"5678"], pa.binary(4)),
    pa.array([1.0, 2.0]),
    pa.array([[[1.0]], [[2.0]]]),
    tensors(np.ones((2, 1, 3), np.float32)),
    pa.array([[], []], pa.list_(pa.float32(), 0)),
    pa.array([{"x": 1.0}, {"x": 2.0}]),
    lists("list", lambda leaf: pa.ExtensionArray.from_storage(pa.bool8(), leaf))(np.ones((2, 3), np.int8)),
]


def refusals():
    for column, others, level, arrays in (
        ("doc_id", {"doc_id": ["a", "b"]}, "doc", NO_IDS),
        ("text", {"text": ["a" * 30, "b" * 30]}, "text", NO_TEXTS),
        ("vector", {"vector": np.ones((2, 1), np.float32)}, "vector", NO_VECTORS),
    ):
        for array in arrays:
            yield pytest.param(column, others, level, array, id=f"{column} {array.type}")


@pytest.mark.parametrize(("column", "others", "level", "array"), list(refusals()))
def test_what_cannot_be_read_is_refused_by_its_name_where_it_is_needed(
    tmp_path, column, others, level, array
):
    chunks = pa.array([1, 2])
    train = pa.table({column: array, "chunk_id": chunks})
    eval = {**others, "chunk_id": [1, 2]}
    said = rf"<table>: {column}: expected .*, got .*"
    for levels in (None, [level]):
        with pytest.raises(DataError, match=said):
            leakscan(train, eval, levels=levels)
    with pytest.raises(DataError, match=said):
        leakscan(train, eval, columns={column: column}, levels=["chunk"])
    with pytest.raises(DataError, match=said):
        fingerprint(train, tmp_path / "x.lvfp")


@pytest.mark.parametrize(("column", "others", "level", "array"), list(refusals()))
def test_what_no_level_needs_is_not_refused(column, others, level, array):
    if column == "text":
        train, eval, asked = {"doc_id": pa.array(["a", "b"])}, {"doc_id": ["b", "c"]}, "doc"
    else:
        train, eval, asked = {"text": pa.array(texts(0, 2))}, {"text": texts(1, 3)}, "text"
    train = pa.table({column: array, **train})
    report = leakscan(train, {**eval, **others}, levels=[asked])
    assert report.summary["levels"][asked]["eval_rows_matched"] == 1
    assert any(f"not read as {column}" in note for note in report.summary["inputs"]["train"]["notes"])
    # By default the level runs where both sides have the column: it must not be dropped without a word.
    report = leakscan(train, eval)
    assert report.summary["levels"][asked]["eval_rows_matched"] == 1
    with pytest.raises(DataError, match=rf"{column}: expected .*; to scan without it: --levels {asked}"):
        leakscan(train, {**eval, **others})


@pytest.mark.parametrize("name", [name for name in IDS if "runs" not in name and "dictionary" not in name])
def test_nulls_among_ids(name):
    make, printed = IDS[name]
    array = make(range(3)).take(pa.array([0, None, 2])) if "view" not in name else None
    if array is None:
        array = pa.array([make(range(3))[0].as_py(), None, make(range(3))[2].as_py()], make(range(3)).type)
    found = leakscan(pa.table({"doc_id": array}), {"doc_id": [printed(2), printed(1)]}, levels=["doc"])
    level = found.summary["levels"]["doc"]
    assert (level["eval_rows_matched"], level["train_rows_unchecked"]) == (1, 1)


@pytest.mark.parametrize("leaf", ["int8", "float32"])
@pytest.mark.parametrize("kind", ["list", "list_view", "large_list_view", "fixed_size_list", "tensor"])
def test_nulls_among_vectors(kind, leaf):
    values = vectors(4, leaf)
    types = {
        "list": pa.list_, "list_view": pa.list_view, "large_list_view": pa.large_list_view,
        "fixed_size_list": lambda inner: pa.list_(inner, DIM),
        "tensor": lambda inner: pa.list_(inner, DIM),
    }  # fmt: skip
    rows = [values[0].tolist(), None, [None, *values[2, 1:].tolist()], values[3].tolist()]
    array = pa.array(rows, types[kind](pa.from_numpy_dtype(leaf)))
    if kind == "tensor":
        array = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(array.type.value_type, [DIM]), array)
    others = {"vector": values[1:].astype(np.float32)}
    level = leakscan(pa.table({"vector": array}), others, levels=["vector"]).summary["levels"]["vector"]
    assert (level["eval_rows_matched"], level["train_rows_unchecked"]) == (1, 2)


@pytest.mark.parametrize("value", ['{"a": 1}', "7.0", "true", "[1]", "1e3"])
def test_json_that_is_no_id_is_refused_by_row(value):
    ids = pa.ExtensionArray.from_storage(pa.json_(), pa.array(["1", value]))
    with pytest.raises(DataError, match=r"doc_id: row 1: expected an integer or string id, got the JSON"):
        leakscan(pa.table({"doc_id": ids}), {"doc_id": ["1"]}, levels=["doc"])


def test_bytes_that_are_no_text_equal_themselves_in_every_type_and_their_digits(tmp_path):
    values = [b"\xff\x00ab", b"text", b"\x00\x01\x02\x03", b"a\tb\n", "\u00e9x1".encode()]
    printed = ["ff006162", "text", "00010203", "a\tb\n", "\u00e9x1"]
    for type_ in (pa.binary(), pa.binary(4), pa.binary_view(), pa.large_binary()):
        train = pa.table({"doc_id": pa.array(values, type_)})
        assert leakscan(train, {"doc_id": printed}).summary["levels"]["doc"]["eval_rows_matched"] == 5
        note = "doc_id: .*: ids that are no text are read as hexadecimal digits"
        assert re.search(note, str(leakscan(train, train).summary["inputs"]["train"]["notes"]))


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16"])
def test_quantised_vectors_in_arrays(tmp_path, kind):
    values = vectors(ROWS, kind)
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", targets=values)
    (tmp_path / "a.jsonl").write_text("".join(f'{{"vector": {row}}}\n' for row in values.tolist()))
    others = {"vector": values.astype(np.float32)}
    for train in (*(str(tmp_path / f"a.{end}") for end in ("npy", "npz", "jsonl")), {"vector": values}):
        report = leakscan(train, others, threshold=1.0)
        assert matched(report, "vector") == ROWS


def test_files_that_differ_in_dimension_matter_to_vectors_alone(tmp_path):
    text = {"text": texts(0, 2)}
    for name, dim in (("a", 2), ("b", 3)):
        table = pa.table({**text, "vector": pa.array([[1.0] * dim] * 2, pa.list_(pa.float32()))})
        to_parquet(table, tmp_path / f"{name}.parquet")
    eval = {**text, "vector": np.ones((2, 2), np.float32)}
    said = r"b\.parquet: expected vectors of 2 values as in .*a\.parquet, got 3"
    assert leakscan(str(tmp_path), eval, levels=["text"]).summary["levels"]["text"]["eval_rows_matched"] == 2
    for levels in (None, ["vector"]):
        with pytest.raises(DataError, match=said):
            leakscan(str(tmp_path), eval, levels=levels)
    with pytest.raises(DataError, match=said):
        load_split(str(tmp_path))


def test_vectors_of_two_lengths_are_not_looked_at_by_other_levels(tmp_path):
    table = pa.table({"text": texts(0, 2), "vector": pa.array([[1.0, 2.0], [3.0]])})
    eval = {"text": texts(1, 3), "vector": np.ones((2, 2), np.float32)}
    assert leakscan(table, eval, levels=["text"]).summary["levels"]["text"]["eval_rows_matched"] == 1
    with pytest.raises(DataError, match="vector: row 1: expected 2 values, got 1"):
        leakscan(table, eval)
