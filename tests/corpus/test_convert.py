"""Old pickled payloads: what numpy wrote comes out as parquet, and what names a function does not run."""

import collections
import io
import os
import pickle
import struct

import numpy as np
import pyarrow.parquet as pq
import pytest

from lvmfast.corpus import load_split
from lvmfast.corpus.convert import convert_payload
from lvmfast.corpus.unpickle import load_plain
from lvmfast.errors import DataError
from tests.support.raw_arrays import save_raw

TEXTS = ["one", "zwei é", "𝄞"]
VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)


def tuples(vectors=VECTORS):
    return {
        f"{i}": (text, {"article_index": i, "chunk_index": i + 10}, vector)
        for i, (text, vector) in enumerate(zip(TEXTS, vectors, strict=True))
    }


def dicts(vectors=VECTORS):
    return {
        i: {"text": text, "article_id": np.int64(i), "chunk_id": np.int32(i + 10), "embedding": vector}
        for i, (text, vector) in enumerate(zip(TEXTS, vectors, strict=True))
    }


def save(path, payload, protocol=None):
    if protocol is None:
        np.save(path, payload, allow_pickle=True)
        return path
    array = np.empty((), dtype=object)
    array[()] = payload
    return save_raw(path, pickle.dumps(array, protocol=protocol))


def plain(data):
    return load_plain(io.BytesIO(data), len(data), "x")


@pytest.mark.parametrize("protocol", [None, 0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "shape", [tuples, dicts, lambda: list(dicts().values()), lambda: collections.OrderedDict(dicts())]
)
def test_old_payloads_become_parquet(tmp_path, protocol, shape):
    source = save(tmp_path / "old.npy", shape(), protocol)
    assert convert_payload(source, tmp_path / "new.parquet").rows == 3
    table = pq.read_table(tmp_path / "new.parquet")
    assert table.to_pydict() == {
        "doc_id": [0, 1, 2],
        "chunk_id": [10, 11, 12],
        "text": TEXTS,
        "vector": VECTORS.tolist(),
    }
    assert sorted(os.listdir(tmp_path)) == ["new.parquet", "old.npy"]
    split = load_split({"truth_keys": np.array([[2, 12]])}, payload=tmp_path / "new.parquet")
    assert split.coverage.rate == 1.0


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8", object])
def test_vectors_of_every_kind(tmp_path, dtype):
    vectors = [np.asarray(vector, dtype=dtype) for vector in VECTORS]
    vectors[1] = vectors[1].tolist()
    convert_payload(save(tmp_path / "old.npy", dicts(vectors)), tmp_path / "new.parquet")
    assert pq.read_table(tmp_path / "new.parquet")["vector"].to_pylist() == VECTORS.tolist()
    convert_payload(save(tmp_path / "old.npy", dicts([None, *vectors[1:]])), tmp_path / "new.parquet")
    assert pq.read_table(tmp_path / "new.parquet")["vector"].to_pylist() == [None, *VECTORS.tolist()[1:]]
    convert_payload(save(tmp_path / "old.npy", dicts([None] * 3)), tmp_path / "new.parquet")
    assert pq.read_table(tmp_path / "new.parquet").column_names == ["doc_id", "chunk_id", "text"]


def test_string_ids_and_arrays_of_dicts(tmp_path):
    entries = np.array([{"doc_id": "a", "chunk_id": "b", "text": "t"}], dtype=object)
    convert_payload(save(tmp_path / "old.npy", entries), tmp_path / "new.parquet")
    assert pq.read_table(tmp_path / "new.parquet").to_pylist() == [
        {"doc_id": "a", "chunk_id": "b", "text": "t"}
    ]


@pytest.mark.parametrize(
    ("module", "attribute"),
    [("numpy.core.multiarray", "numpy.core"), ("numpy._core.multiarray", "numpy._core")],
)
def test_pickles_of_both_numpy_generations(tmp_path, module, attribute):
    data = pickle.dumps(np.array([np.arange(3.0), None], dtype=object), protocol=2)
    for other in ("numpy.core", "numpy._core"):
        data = data.replace(f"c{other}.multiarray\n".encode(), f"c{module}\n".encode())
    assert attribute.encode() in data
    value = plain(data)
    assert value[0].tolist() == [0.0, 1.0, 2.0]
    assert value[1] is None


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        np.arange(12, dtype=">i2").reshape(3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.array([["a", "bé"], ["", "z"]]),
        np.array([b"x", b"yy"]),
        np.zeros((0, 3), np.float16),
        np.array(True),
        np.asfortranarray(np.array([[1, "a", None], [[2], {"k": 3}, (4,)]], dtype=object)),
        [np.float32(1.5), np.int8(-3), np.str_("é"), np.bool_(True)],
        {"set": {1, 2}, "frozen": frozenset("ab"), "bytes": b"\0\xff", "none": b"", "deep": [({},)]},
    ],
)
def test_what_is_plain_comes_back(value, protocol):
    back = plain(pickle.dumps(value, protocol=protocol))
    if isinstance(value, np.ndarray):
        assert (back.dtype, back.shape) == (value.dtype, value.shape)
        assert np.array_equal(back, value)
    else:
        assert back == value


def test_lists_that_hold_themselves_come_back():
    value = [np.arange(2)]
    value.append(value)
    back = plain(pickle.dumps(value))
    assert back[1] is back
    assert back[0].tolist() == [0, 1]


class Call:
    """Pickles as the call `function(*args)`."""

    def __init__(self, function, *args):
        self.reduced = (function, args)

    def __reduce__(self):
        return self.reduced


def hostile(mark):
    touch = f"touch {mark}"
    code = f"open({str(mark)!r}, 'w').close()"
    return {
        "system": Call(os.system, touch),
        "exec": Call(exec, code),
        "eval": Call(eval, code),
        "open": Call(open, str(mark), "w"),
        "getattr": Call(getattr, "", "join"),
        "import": Call(__import__, "os"),
        "npload": Call(np.load, str(mark)),
        "memmap": Call(np.memmap, str(mark), "f4", "w+", 0, (4,)),
        "fromfile": Call(np.fromfile, str(mark)),
        "partial": Call(__import__("functools").partial, os.system),
        "pickle": Call(pickle.loads, pickle.dumps(Call(os.system, touch))),
        "testing": Call(np.testing.assert_equal, 1, 1),
        "runstring": (b"cnumpy.testing._private.utils\nrunstring\n(V" + code.encode() + b"\n}tR."),
        "dotted": (b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__class__\x93."),
        "subclass": Call(np.matrix, [[1]]),
        "record": np.zeros(2, dtype=[("x", "f4")]),
        "datetime": np.zeros(2, dtype="M8[s]"),
        "codec": (b"c_codecs\nencode\n(V" + code.encode() + b"\nVrot13\ntR."),
        "extension": (b"\x80\x02\x82\x01."),
        "persistent": (b"Pid\n."),
    }


@pytest.mark.parametrize("name", hostile("x"))
@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    "nest", [lambda x: x, lambda x: {1: ("t", {"a": [x]}, None)}, lambda x: np.array([None, [x]], object)]
)
def test_hostile_pickles_are_refused_and_never_run(tmp_path, name, protocol, nest):
    mark = tmp_path / "touched"
    gadget = hostile(mark)[name]
    if isinstance(gadget, bytes):
        path = save_raw(tmp_path / "old.npy", gadget)
    else:
        path = save(tmp_path / "old.npy", nest(gadget), protocol)
    with pytest.raises(DataError) as caught:
        convert_payload(path, tmp_path / "new.parquet")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert os.listdir(tmp_path) == ["old.npy"]
    with pytest.raises(DataError, match="lvmfast convert"):
        load_split(path)
    assert not mark.exists()


def test_the_plants_would_work(tmp_path):
    mark = tmp_path / "touched"
    pickle.loads(pickle.dumps(hostile(mark)["exec"]))
    assert mark.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"cnumpy\nndarray\n(tR.",
        b"cnumpy\nndarray\n.",
        b"cnumpy\ndtype\n(Vf4\ntR.",
        b"cnumpy\ndtype\n(VO,O\ntR.",
        b"cnumpy\ndtype\n}V__call__\nNsb.",
        b"cnumpy\ndtype\n(N}V_function\nNstb.",
        b"c__builtin__\nbytes\n(I99999999999\ntR.",
        b"c__builtin__\nbytearray\n(I99999999999\ntR.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I99999999999\ntVb\ntR.",
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(VO8\ntRV\ntR.",
        b"\x80\x02cnumpy\nndarray\n)\x81.",
        b"c_codecs\nencode\n(Vx\nVhex\ntR.",
        b"(" * 100_000,
        b"]" * 100_000 + b"a" * 99_999 + b".",
        b"garbage",
        b"",
    ],
)
def test_pickles_that_abuse_what_is_admitted_are_refused(tmp_path, data):
    with pytest.raises(DataError) as caught:
        convert_payload(save_raw(tmp_path / "old.npy", data), tmp_path / "new.parquet")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["old.npy"]


def test_arrays_of_more_than_their_bytes_are_refused(tmp_path):
    whole = pickle.dumps({"v": np.arange(1000, dtype=np.float64)}, protocol=4)
    lied = whole.replace(b"M" + struct.pack("<H", 1000), b"M" + struct.pack("<H", 65000), 1)
    assert lied != whole
    with pytest.raises(DataError, match=r"old\.npy: broken pickle: 8000 bytes for \(65000,\) float64"):
        convert_payload(save_raw(tmp_path / "old.npy", lied), tmp_path / "new.parquet")


def test_truncated_pickles_are_refused(tmp_path):
    whole = save(tmp_path / "old.npy", dicts()).read_bytes()
    for size in range(0, len(whole) - 1, 11):
        (tmp_path / "old.npy").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"old\.npy"):
            convert_payload(tmp_path / "old.npy", tmp_path / "new.parquet")
    assert os.listdir(tmp_path) == ["old.npy"]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({}, "the payload is empty"),
        ({3}, "expected a dict or a list of entries, got set"),
        ({"a": "text"}, "entry 'a': expected (text, ids, vector) or a dict, got str"),
        ({"a": ("t", {"chunk_index": 1})}, "entry 'a': no doc_id; there is chunk_index"),
        ({"a": {"doc_id": 1, "chunk_id": 1}}, "entry 'a': no text; there is chunk_id, doc_id"),
        (
            [{"doc_id": 1, "article_id": 1, "chunk_id": 1, "text": "t"}],
            "entry 0: doc_id: both doc_id and article_id",
        ),
        (
            [{"doc_id": 1.5, "chunk_id": 1, "text": "t"}],
            "doc_id: row 0: expected an integer or string id, got float",
        ),
        ([{"doc_id": 1, "chunk_id": 1, "text": 5}], "text: row 0: expected text, got int"),
        ([{"doc_id": 1, "chunk_id": 1, "text": "\ud800"}], "text: row 0: "),
        (dicts([[1], [2, 3], [4]]), "entry 1: vector: expected 1 values, got 2"),
        (dicts([[[1]], [2], [4]]), "entry 0: vector: expected (d,) floats, got (1, 1)"),
        (dicts([["x"], [2], [4]]), "entry 0: vector: expected floats, got list"),
    ],
)
def test_payloads_of_another_shape_are_refused(tmp_path, payload, message):
    path = save(tmp_path / "old.npy", payload)
    with pytest.raises(DataError) as caught:
        convert_payload(path, tmp_path / "new.parquet")
    assert message in str(caught.value)
    assert os.listdir(tmp_path) == ["old.npy"]


def test_files_that_are_no_pickles_are_refused(tmp_path):
    np.save(tmp_path / "old.npy", np.eye(2))
    with pytest.raises(DataError, match=r"old\.npy: expected pickled values, got \(2, 2\) float64"):
        convert_payload(tmp_path / "old.npy", tmp_path / "new.parquet")
    with pytest.raises(DataError, match=r"gone\.npy: No such file"):
        convert_payload(tmp_path / "gone.npy", tmp_path / "new.parquet")
    save(tmp_path / "old.npy", dicts())
    with pytest.raises(DataError, match=r"nowhere/new\.parquet: No such file"):
        convert_payload(tmp_path / "old.npy", tmp_path / "nowhere" / "new.parquet")


def test_a_failed_write_leaves_the_old_target(tmp_path, monkeypatch):
    (tmp_path / "new.parquet").write_text("older")
    save(tmp_path / "old.npy", dicts())

    def full(writer, table, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(DataError, match=r"new\.parquet: No space left on device"):
        convert_payload(tmp_path / "old.npy", tmp_path / "new.parquet")
    assert (tmp_path / "new.parquet").read_text() == "older"
    assert sorted(os.listdir(tmp_path)) == ["new.parquet", "old.npy"]
