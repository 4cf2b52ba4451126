"""Object arrays in `.npy` and `.npz`: refused with the advice to convert them, and then converted."""

import pickle
import struct
import sys
import tracemalloc
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest

from lvmfast.corpus import load_split
from lvmfast.corpus.convert import convert_payload
from lvmfast.errors import DataError
from tests.support.corpus_reading import read
from tests.support.peaks import MIB, ran
from tests.support.raw_arrays import save_raw

ROWS = 30
TEXTS = [f"a sentence about subject number {row}" for row in range(ROWS)]
VECTORS = np.random.default_rng(0).normal(size=(ROWS, 8)).astype(np.float32)
WINDOWS = np.random.default_rng(1).normal(size=(ROWS, 3, 8)).astype(np.float32)


def objects(values):
    array = np.empty(len(values), object)
    array[:] = list(values)
    return array


def converted(path):
    result = convert_payload(path, path.parent / "new.parquet")
    return result, read(path.parent / "new.parquet")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_texts_and_ids_among_plain_members(tmp_path, save):
    ids = objects([None, *range(1, ROWS)])
    arrays = {"doc_id": ids, "chunk_id": np.arange(ROWS), "text": objects([*TEXTS[:-1], None])}
    plain = {"embedding": VECTORS.astype(">f4"), "contexts": WINDOWS.astype(np.float16), "note": np.eye(3)}
    save(tmp_path / "old.npz", **arrays, **plain)
    with pytest.raises(DataError, match=r"doc_id: .*`lvmfast convert old\.npz NEW\.parquet`"):
        load_split(tmp_path / "old.npz")
    result, got = converted(tmp_path / "old.npz")
    assert result == (ROWS, ("note: expected 30 rows, got (3, 3)",))
    assert got["doc_id"] == ids.tolist()
    assert got["chunk_id"] == list(range(ROWS))
    assert got["text"] == arrays["text"].tolist()
    assert np.array_equal(got["vector"], VECTORS)
    assert np.array_equal(got["context"], WINDOWS.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    ("column", "array", "right"),
    [
        ("text", objects(TEXTS), TEXTS),
        ("text", objects([float("nan"), *TEXTS[1:]]), [None, *TEXTS[1:]]),
        ("doc_id", objects(["a", *range(1, ROWS)]), ["a", *map(str, range(1, ROWS))]),
        ("doc_id", objects([np.int64(3)] * ROWS), [3] * ROWS),
        ("vector", objects(VECTORS), VECTORS),
        ("vector", VECTORS.astype(object), VECTORS),
        ("vector", objects(VECTORS.tolist()), VECTORS),
        ("context", objects(WINDOWS), WINDOWS),
        ("context", WINDOWS.astype(object), WINDOWS),
        ("context", np.stack([objects(window) for window in WINDOWS]), WINDOWS),
    ],
)
def test_every_shape_that_is_advised_to_be_converted_is(tmp_path, column, array, right):
    np.savez(tmp_path / "old.npz", **{column: array}, provenance="{}")
    with pytest.raises(DataError, match="lvmfast convert"):
        load_split(tmp_path / "old.npz")
    _, got = converted(tmp_path / "old.npz")
    assert np.array_equal(got[column], right)


@pytest.mark.parametrize(
    ("column", "array"),
    [
        ("text", np.array([["a"], ["b"]], object)),
        ("text", np.array("a", object)),
        ("vector", np.zeros((2, 2, 2), object)),
        ("text", np.zeros(2, [("text", object)])),
    ],
)
def test_what_cannot_be_converted_is_not_advised_to_be(tmp_path, column, array):
    np.savez(tmp_path / "old.npz", **{column: array})
    with pytest.raises(DataError) as caught:
        load_split(tmp_path / "old.npz")
    assert "lvmfast convert" not in str(caught.value)
    with pytest.raises(DataError, match=r"old\.npz"):
        convert_payload(tmp_path / "old.npz", tmp_path / "new.parquet")


@pytest.mark.parametrize(
    ("values", "column"),
    [
        (objects(TEXTS), "text"),
        (TEXTS, "text"),
        (objects(VECTORS), "vector"),
        (VECTORS.astype(object), "vector"),
    ],
)
def test_one_column_in_an_npy(tmp_path, values, column):
    array = np.empty((), object)
    array[()] = values
    np.save(tmp_path / "old.npy", values if isinstance(values, np.ndarray) else array, allow_pickle=True)
    with pytest.raises(DataError, match=r"`lvmfast convert old\.npy NEW\.parquet`"):
        load_split(tmp_path / "old.npy")
    _, got = converted(tmp_path / "old.npy")
    assert np.array_equal(got[column], TEXTS if column == "text" else VECTORS)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"text": objects([1, "a"])}, "text: row 0: expected text, got int"),
        ({"doc_id": objects([1.5, 2])}, "doc_id: row 0: expected an integer or string id, got float"),
        ({"vector": objects([[1, 2], [3]])}, r"vector: row 1: expected 2 values, got 1"),
        ({"vector": objects([[[[1]]], [3]])}, r"vector: row 0: expected \(d,\) floats, got lists nested"),
        ({"text": objects("ab"), "doc_id": np.arange(3)}, r"doc_id: expected 2 rows, got \(3,\)"),
        ({"text": np.array(["a"])}, "expected pickled values, got none of them"),
    ],
)
def test_members_that_do_not_fit_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "old.npz", **arrays)
    with pytest.raises(DataError, match=rf"old\.npz: {message}"):
        convert_payload(tmp_path / "old.npz", tmp_path / "new.parquet")
    assert not (tmp_path / "new.parquet").exists()


def test_members_that_nobody_knows_are_kept_or_said_to_be_left_out(tmp_path):
    np.savez(
        tmp_path / "old.npz",
        text=objects(TEXTS),
        label=objects(range(ROWS)),
        extra=objects([{"a": 1}] * ROWS),
        score=np.linspace(0, 1, ROWS),
    )
    result = convert_payload(tmp_path / "old.npz", tmp_path / "new.parquet")
    assert result.left_out == ("extra: expected texts, ids, vectors or windows, got dict",)
    table = pq.read_table(tmp_path / "new.parquet")
    assert table["label"].to_pylist() == list(range(ROWS))
    assert table["score"].to_pylist() == np.linspace(0, 1, ROWS).tolist()


def shared(depth, kind):
    """A value of a few bytes a level that is 2 ** depth values when it is written out."""
    value = kind([1.0])
    for _ in range(depth):
        value = kind([value, value])
    return value


LONG = struct.pack("<I", 0x0FFF_FFFF)
BOMBS = {
    "memo": b"\x80\x02Nr" + LONG + b"0N.",
    "bytes": b"\x80\x03B" + b"\xff\xff\xff\xff" + b"x.",
    "bytes8": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 33) + b"x.",
    "text8": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 33) + b"x.",
    "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 31) + b"x.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 33) + b"N.",
    "copies": b"\x80\x04c_codecs\nencode\nq\x00(X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20)
    + b"q\x01\x8c\x06latin1q\x02tR" + b"h\x00h\x01h\x02\x86R" * 2000 + b"(t.",
    "lists": b"\x80\x04c__builtin__\nlist\nq\x00(X" + struct.pack("<I", 1 << 16) + b"x" * (1 << 16)
    + b"q\x01tR" + b"h\x00h\x01\x85R" * 2000 + b"(t.",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_few_bytes_allocate_little(tmp_path, name):
    path = save_raw(tmp_path / "old.npy", BOMBS[name])
    tracemalloc.start()
    with pytest.raises(DataError):
        convert_payload(path, tmp_path / "new.parquet")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * MIB + 128 * len(BOMBS[name])


@pytest.mark.parametrize("kind", [tuple, list])
def test_values_that_stand_in_many_places_are_looked_at_once(tmp_path, kind):
    save_raw(tmp_path / "old.npy", pickle.dumps(objects([shared(60, kind)])), (1,))
    with pytest.raises(DataError, match="nested deeper"):
        convert_payload(tmp_path / "old.npy", tmp_path / "new.parquet")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_one_long_text_in_every_row_is_written_by_parts(tmp_path):
    text = "x" * MIB
    np.savez(tmp_path / "old.npz", text=objects([text] * 200))
    done = ran(tmp_path, "convert", "old.npz", "new.parquet")
    assert (done.code, done.out) == (0, "new.parquet: 200 rows\n"), done.err
    assert done.peak < 260 * MIB
    assert pq.read_metadata(tmp_path / "new.parquet").num_rows == 200


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("shape", ["(30L, 8L)", "(30L, 8)", "(30, 8)"])
def test_headers_of_python_2(tmp_path, version, shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = text + b" " * (-(13 + len(text)) % 16) + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY" + bytes(version) + size + header + VECTORS.tobytes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(read(path)["vector"], np.load(path))
