"""Splits in memory: dicts of arrays, tensors and lists. (pyarrow and HF objects: test_corpus_tables.)"""

import ml_dtypes
import numpy as np
import pytest

from lvmfast.corpus import load_split
from lvmfast.errors import DataError
from tests.support.corpus_reading import read, read_all

RNG = np.random.default_rng(0)


class Tensor:
    """What the reader uses of a torch tensor; numpy() fails where torch's does."""

    def __init__(self, values, dtype, device="cuda", grad=True):
        self.values, self.dtype, self.shape = values, f"torch.{dtype}", values.shape
        self.device, self.grad = device, grad

    def _with(self, **changes):
        state = {
            "dtype": self.dtype.removeprefix("torch."),
            "device": self.device,
            "grad": self.grad,
            **changes,
        }
        return Tensor(state.pop("values", self.values), **state)

    def __getitem__(self, rows):
        return self._with(values=self.values[rows])

    def detach(self):
        return self._with(grad=False)

    def float(self):
        return self._with(values=self.values.astype(np.float32), dtype="float32")

    def cpu(self):
        assert len(self.values) <= 7, "moved in blocks"
        return self._with(device="cpu")

    def numpy(self):
        if self.grad or self.device != "cpu" or self.dtype == "torch.bfloat16":
            raise RuntimeError("Can't call numpy() on this tensor")
        return self.values


@pytest.mark.parametrize("rows", [1, 7, 8192])
def test_dicts_of_arrays(rows):
    vectors, windows = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2, 3)).astype(ml_dtypes.bfloat16)
    split = load_split({"truth_keys": RNG.integers(0, 9, (20, 2)), "targets": vectors, "sequences": windows})
    assert [file.name for file in split.files] == ["<arrays>"]
    assert split.files[0].path is None
    assert split.nbytes == 20 * 2 * 8 + vectors.nbytes + windows.nbytes
    assert split.notes == ("<arrays>: targets: float64 rounded to float32",)
    got = read_all(split, rows)
    assert np.array_equal(got["vector"], vectors.astype(np.float32))
    assert np.array_equal(got["context"], windows.astype(np.float32))


def test_aligned_float32_is_not_copied():
    vectors = RNG.normal(size=(20, 4)).astype(np.float32)
    (batch,) = load_split({"vector": vectors}).batches(("vector",))
    assert np.shares_memory(batch.vector, vectors)


def test_lists_of_text_and_ids():
    got = read(
        {
            "doc_id": ["a", None, "7"],
            "chunk_id": [1, 2, 3],
            "text": ["x", None, "é"],
            "vector": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
            "unrelated": object(),
        },
        2,
    )
    assert got["doc_id"] == ["a", None, "7"]
    assert got["chunk_id"] == [1, 2, 3]
    assert got["text"] == ["x", None, "é"]
    assert got["vector"].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_mixed_ids_and_object_arrays():
    assert read({"doc_id": [1, "1", None, 2**70]})["doc_id"] == ["1", "1", None, str(2**70)]
    assert read({"doc_id": np.array([1, "b", None], dtype=object)})["doc_id"] == ["1", "b", None]
    assert read({"doc_id": np.array(["a", "b"])})["doc_id"] == ["a", "b"]


def test_a_bare_array_is_the_vectors():
    vectors = RNG.normal(size=(5, 4)).astype(np.float32)
    assert np.array_equal(read(vectors)["vector"], vectors)


def test_an_open_npz_is_a_dict_of_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", targets=np.eye(3, dtype=np.float32), other=np.array([{}], dtype=object))
    with np.load(tmp_path / "a.npz") as archive:
        assert np.array_equal(read(archive)["vector"], np.eye(3))
    np.savez(tmp_path / "b.npz", targets=np.array([{}], dtype=object))
    with np.load(tmp_path / "b.npz") as archive, pytest.raises(DataError, match="<arrays>: targets: "):
        read(archive)


def test_provenance_of_a_dict():
    arrays = {"vector": np.eye(2, dtype=np.float32)}
    assert load_split({**arrays, "provenance": {"norm": "l2"}}).provenance == {"<arrays>": {"norm": "l2"}}
    assert load_split({**arrays, "provenance": '{"norm": "l2"}'}).provenance == {"<arrays>": {"norm": "l2"}}
    assert load_split({**arrays, "provenance": "none"}).provenance == {}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_tensors_move_in_blocks_without_their_gradients(dtype):
    values = RNG.normal(size=(20, 3)).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    ids = np.arange(40).reshape(20, 2)
    got = read({"vector": Tensor(values, dtype), "truth_keys": Tensor(ids, "int64")}, 7)
    assert np.array_equal(got["vector"], values.astype(np.float32))
    assert got["chunk_id"] == ids[:, 1].tolist()
    assert np.array_equal(read(Tensor(values, dtype), 7)["vector"], values.astype(np.float32))


@pytest.mark.heavy
def test_torch_itself():
    torch = pytest.importorskip("torch")
    values = torch.randn(20, 3, requires_grad=True)
    assert np.array_equal(read({"vector": values}, 7)["vector"], values.detach().numpy())
    narrow = values.to(torch.bfloat16)
    assert np.array_equal(read({"vector": narrow}, 7)["vector"], narrow.detach().float().numpy())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"vector": [[1.0], [1.0, 2.0]]}, "<arrays>: vector: "),
        ({"doc_id": [1.5, 2.5]}, r"<arrays>: doc_id: expected .* ids.*got \(2,\) float64"),
        ({"doc_id": ["a", 1.5]}, "<arrays>: doc_id: row 1: expected an integer or string id, got float"),
        ({"doc_id": [True, "a"]}, "<arrays>: doc_id: row 0: expected an integer or string id, got bool"),
        ({"text": ["a", 3]}, "<arrays>: text: row 1: expected text, got int"),
        ({"vector": 3.0}, r"<arrays>: vector: expected \(n, d\) float, got \(\) float64"),
        ({"vector": np.eye(3), "text": ["a"]}, "<arrays>: vector: expected 1 rows as in text, got 3"),
        ({"vector": Tensor(np.eye(2), "complex128")}, r"<arrays>: vector: expected \(n, d\) float"),
        ({"vector": Tensor(np.eye(2), "quint8")}, r"<arrays>: vector: .*quint8"),
        ({"other": [1]}, "<arrays>: no field is a known column; there is other"),
        (7, r"expected paths, a dict of arrays, a table, rows, .* got int"),
        ([], r"expected paths, a dict of arrays, a table, rows, .* got nothing"),
        (None, "got NoneType"),
    ],
)
def test_what_does_not_fit_is_refused(source, message):
    with pytest.raises(DataError, match=message) as caught:
        read(source, 7)
    assert "\n" not in str(caught.value)


def test_a_boolean_among_ids_is_no_one():
    with pytest.raises(DataError, match="row 1: expected an integer or string id, got bool"):
        read({"doc_id": [2, True, 3]})
