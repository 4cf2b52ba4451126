"""`.npz` and `.npy` against `numpy.load`: both layouts, every dtype, order and compression."""

import json
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.support.corpus_reading import read, read_all

RNG = np.random.default_rng(0)
BOTH = pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])


def sequences(rows=100, d=5, length=2):
    return {
        "truth_keys": RNG.integers(-9, 9, (rows, 3)).astype(np.int32),
        "targets": RNG.normal(size=(rows, d)).astype(np.float32),
        "contexts": RNG.normal(size=(rows, length, d)).astype(np.float16),
    }


@BOTH
@pytest.mark.parametrize("rows", [1, 7, 8192])
def test_the_sequence_layout_reads_as_numpy_does(tmp_path, save, rows):
    save(tmp_path / "a.npz", **sequences())
    split = load_split(tmp_path / "a.npz")
    assert (split.rows, split.estimated_rows(), split.dim, split.context_length) == (100, 100, 5, 2)
    assert split.columns == {"doc_id", "chunk_id", "vector", "context"}
    naive = np.load(tmp_path / "a.npz")
    got = read_all(split, rows)
    assert np.array_equal(got["vector"], naive["targets"])
    assert np.array_equal(got["context"], naive["contexts"].astype(np.float32))
    assert got["doc_id"] == naive["truth_keys"][:, 0].tolist()
    assert got["chunk_id"] == naive["truth_keys"][:, 1].tolist()
    assert got["text"] is None


@BOTH
@pytest.mark.parametrize("names", [("target_vectors", "context_sequences"), ("targets", "sequences")])
def test_the_other_names_of_the_sequence_layout(tmp_path, save, names):
    data = sequences()
    save(tmp_path / "a.npz", **{names[0]: data["targets"], names[1]: data["contexts"]})
    got = read(tmp_path / "a.npz")
    assert np.array_equal(got["vector"], data["targets"])
    assert np.array_equal(got["context"], data["contexts"].astype(np.float32))


@BOTH
def test_the_plain_layout_with_string_ids_and_text(tmp_path, save):
    save(
        tmp_path / "a.npz",
        article_id=np.array(["a", "bé", ""]),
        chunk_index=np.array([b"7", "ß".encode(), b"9"]),
        text=np.array(["one", "zwei 𝄞", ""]),
        embeddings=np.eye(3),
    )
    split = load_split(tmp_path / "a.npz")
    assert split.notes == (f"{tmp_path}/a.npz: embeddings: float64 rounded to float32",)
    got = read_all(split)
    assert got["doc_id"] == ["a", "bé", ""]
    assert got["chunk_id"] == ["7", "ß", "9"]
    assert got["text"] == ["one", "zwei 𝄞", ""]
    assert np.array_equal(got["vector"], np.eye(3))


@BOTH
@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "bfloat16"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("rows", [7, 8192])
def test_every_float_type_and_order(tmp_path, save, dtype, order, rows):
    kind = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    values = np.asarray(RNG.normal(size=(50, 4)).astype(kind), order=order)
    windows = np.asarray(RNG.normal(size=(50, 3, 4)).astype(kind), order=order)
    save(tmp_path / "a.npz", vector=values, context=windows)
    split = load_split(tmp_path / "a.npz")
    got = read_all(split, rows)
    assert np.array_equal(got["vector"], values.astype(np.float32))
    assert np.array_equal(got["context"], windows.astype(np.float32))
    assert any("read as bfloat16" in note for note in split.notes) == (dtype == "bfloat16")


@BOTH
@pytest.mark.parametrize("dtype", ["i1", "<i2", ">i4", "<i8", "u1", "<u2", ">u4"])
def test_every_integer_id(tmp_path, save, dtype):
    info = np.iinfo(dtype)
    ids = np.array([info.min, info.max, 3], dtype=dtype)
    save(tmp_path / "a.npz", doc_id=ids)
    assert read(tmp_path / "a.npz")["doc_id"] == ids.tolist()


@BOTH
def test_unsigned_ids_beyond_int64_are_decimal_text(tmp_path, save):
    save(tmp_path / "a.npz", doc_id=np.array([0, 2**63 - 1, 2**64 - 1], dtype=np.uint64))
    assert read(tmp_path / "a.npz")["doc_id"] == ["0", str(2**63 - 1), str(2**64 - 1)]


def test_float64_beyond_float32_becomes_infinite(tmp_path):
    np.savez(tmp_path / "a.npz", vector=np.array([[1e300, -1e300, 1.0]]))
    assert read(tmp_path / "a.npz")["vector"].tolist() == [[np.inf, -np.inf, 1.0]]


@BOTH
@pytest.mark.parametrize("stated", [{"embedder_id": "e", "norm": "l2"}, {}])
@pytest.mark.parametrize("kind", [np.str_, np.bytes_])
def test_provenance_is_read_from_its_json(tmp_path, save, stated, kind):
    save(tmp_path / "a.npz", vector=np.eye(2), provenance=np.array(json.dumps(stated), dtype=kind))
    assert load_split(tmp_path / "a.npz").provenance == {str(tmp_path / "a.npz"): stated}


@pytest.mark.parametrize("value", ["{", "[1]", np.arange(3), np.array(["a", "b"])])
def test_provenance_that_states_nothing_is_noted(tmp_path, value):
    np.savez(tmp_path / "a.npz", vector=np.eye(2, dtype=np.float32), provenance=value)
    split = load_split(tmp_path / "a.npz")
    assert split.provenance == {}
    assert "provenance" in split.notes[0]


def test_provenance_that_is_a_pickle_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", vector=np.eye(2), provenance=np.array({"norm": 1}, dtype=object))
    with pytest.raises(DataError, match=r"a\.npz: provenance: expected a JSON string, got an object array"):
        load_split(tmp_path / "a.npz")


@BOTH
def test_arrays_that_are_no_column_are_left_alone(tmp_path, save):
    save(tmp_path / "a.npz", vector=np.eye(2), meta=np.array([{}], dtype=object), other=np.zeros((5, 5)))
    assert load_split(tmp_path / "a.npz").columns == {"vector"}


@BOTH
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"targets": np.array([[1], [2, 3]], dtype=object)}, r"targets: expected .*got \(2,\) object: a"),
        ({"targets": np.eye(3, dtype=np.int64)}, r"targets: expected \(n, d\) float, got \(3, 3\) int64"),
        ({"targets": np.zeros(3)}, r"targets: expected \(n, d\) float, got \(3,\) float64"),
        ({"targets": np.zeros((3, 0))}, r"targets: expected \(n, d\) float, got \(3, 0\)"),
        ({"targets": np.zeros(())}, r"targets: expected \(n, d\) float, got \(\) float64"),
        ({"targets": np.zeros((2, 2), dtype=np.complex64)}, r"targets: expected \(n, d\) float"),
        ({"targets": np.zeros(2, dtype=[("x", "f4")])}, r"targets: expected \(n, d\) float"),
        ({"contexts": np.eye(3)}, r"contexts: expected \(n, length, d\) float, got \(3, 3\) float64"),
        ({"doc_id": np.zeros(3)}, r"doc_id: expected \(n,\) integer or string ids.*got \(3,\) float64"),
        ({"doc_id": np.zeros(3, dtype=bool)}, r"doc_id: expected .* ids.*got \(3,\) bool"),
        ({"truth_keys": np.zeros((3, 1), dtype=int)}, r"truth_keys: expected .*got \(3, 1\) int64"),
        ({"text": np.arange(3)}, r"text: expected \(n,\) text, got \(3,\) int64"),
        ({"text": np.array(["a", None], dtype=object)}, r"text: .*never opened here; `lvmfast convert a.npz"),
        ({"truth_keys": np.zeros((3, 2), int), "targets": np.eye(4)}, r"targets: expected 3 rows as in"),
        ({"targets": np.eye(4), "contexts": np.zeros((4, 2, 3))}, r"contexts: expected d = 4 .*got"),
        ({"targets": np.eye(4), "vector": np.eye(4)}, r"vector: both vector and targets could be it"),
        ({"truth_keys": np.zeros((3, 2), int), "doc_id": np.arange(3)}, "doc_id: both doc_id and truth_k"),
        ({"weights": np.eye(4)}, r"no field is a known column; there is weights"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(tmp_path, save, arrays, message):
    save(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=f"a.npz: {message}") as caught:
        load_split(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf8_name_their_row(tmp_path):
    np.savez(tmp_path / "a.npz", doc_id=np.array([b"a", b"\xff"]))
    with pytest.raises(DataError, match=r"a\.npz: doc_id: row 1: .*utf-8"):
        read(tmp_path / "a.npz")


def test_lone_surrogates_name_their_row(tmp_path):
    np.savez(tmp_path / "a.npz", text=np.array(["a", "b", "\ud800"]))
    with pytest.raises(DataError, match=r"a\.npz: text: row 2: .*surrogates"):
        read(tmp_path / "a.npz", rows=2)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_stream_too(tmp_path, method):
    np.save(tmp_path / "v.npy", np.eye(9, dtype=np.float32))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.write(tmp_path / "v.npy", "vector.npy")
    assert np.array_equal(read(tmp_path / "a.npz", 2)["vector"], np.eye(9))


def test_an_archive_behind_other_bytes_is_mapped_at_the_right_place(tmp_path):
    np.savez(tmp_path / "a.npz", vector=np.eye(5, dtype=np.float32))
    (tmp_path / "b.npz").write_bytes(b"#!/bin/sh\nexit\n" + (tmp_path / "a.npz").read_bytes())
    assert np.array_equal(read(tmp_path / "b.npz")["vector"], np.eye(5))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        st.tuples(st.integers(0, 30), st.integers(1, 6)),
        elements=st.floats(-1e4, 1e4, width=16),
    ),
    rows=st.integers(1, 40),
    compressed=st.booleans(),
    fortran=st.booleans(),
)
def test_any_shape_in_any_batch_size(tmp_path, values, rows, compressed, fortran):
    path = tmp_path / "a.npz"
    save = np.savez_compressed if compressed else np.savez
    save(
        path,
        targets=np.asarray(values, order="F" if fortran else "C"),
        truth_keys=np.zeros((len(values), 2), int),
    )
    split = load_split(path)
    assert split.rows == len(values)
    if len(values):
        assert np.array_equal(read_all(split, rows)["vector"], values.astype(np.float32))
    else:
        assert list(split.batches(("vector",), rows)) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ids=st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5).map("d{}".format),
        min_size=1,
        max_size=20,
    )
    | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=20),
    compressed=st.booleans(),
)
def test_any_ids_survive(tmp_path, ids, compressed):
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", doc_id=np.array(ids))
    assert read(tmp_path / "a.npz", 3)["doc_id"] == ids


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("rows", [1, 7, 8192])
def test_npy_is_the_vectors(tmp_path, order, rows):
    values = np.asarray(RNG.normal(size=(40, 6)).astype(np.float32), order=order)
    np.save(tmp_path / "v.npy", values)
    assert np.array_equal(read(tmp_path / "v.npy", rows)["vector"], values)
    assert np.array_equal(read(tmp_path / "v.npy", rows, columns={"vector": "whatever"})["vector"], values)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.array({"a": 1}, dtype=object),
            r"v.npy: expected \(n, d\) float, got \(\) object: .*`lvmfast convert v.npy",
        ),
        (np.arange(5), r"v.npy: vector: expected \(n, d\) float, got \(5,\) int64"),
    ],
)
def test_npy_that_is_no_vectors_is_refused(tmp_path, value, message):
    np.save(tmp_path / "v.npy", value)
    with pytest.raises(DataError, match=message):
        load_split(tmp_path / "v.npy")
