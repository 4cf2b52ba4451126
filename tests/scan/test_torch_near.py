"""The torch path against the core, bit for bit: on the CPU's tensors everywhere, on a GPU where one is."""

import json
import os
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast import _core
from lvmfast.leaks import torch_near
from tests.support.cosine import beside, sides

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.heavy

CPU = torch.device("cpu")
THRESHOLDS = [1.0, 0.995, 0.98, 0.9, 0.5, 0.0, -0.5, -1.0]
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, on_gpu])]


def clustered(seed, dim, threshold, n=120, m=80):
    """Rows around a few centres, so that many pairs are near the threshold, with equal and bad ones."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((3, dim)).astype(np.float32)
    aim = float(np.clip(threshold, 0.05, 0.9999))
    train, eval = (
        np.stack([beside(rng, centres[rng.integers(3)], np.sqrt(aim)) for _ in range(k)]) for k in (n, m)
    )
    train[::7], eval[::5] = train[1], train[2]
    train[4], eval[6, 0] = 0, np.nan
    return train, eval


def same_as_the_core(train, eval, threshold, device=CPU, blocks=(1 << 30,)):
    dim = eval.shape[1]
    theirs, ours = _core.NearIndex(dim, threshold, 2), torch_near.TorchNearIndex(dim, threshold, 2, device)
    for start in range(0, len(eval), 37):
        part = eval[start : start + 37]
        np.testing.assert_array_equal(ours.add(part), theirs.add(part))
    np.testing.assert_array_equal(ours.group_of_row, theirs.group_of_row)
    hits = 0
    for block in blocks:
        for start in range(0, len(train), block):
            part = train[start : start + block]
            for every_key in (True, False):
                expected, found = theirs.scan(part, every_key), ours.scan(part, every_key)
                for a, b in zip(expected, found, strict=True):
                    assert (a.dtype, a.shape) == (b.dtype, b.shape)
                    assert a.tobytes() == b.tobytes()
            hits += len(expected[0])
    return hits


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("make", [sides, clustered])
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.sampled_from([1, 2, 3, 63, 65, 384, 768]),
    threshold=st.sampled_from(THRESHOLDS),
    block=st.integers(1, 200),
)
def test_every_bit_is_that_of_the_core(make, device, seed, dim, threshold, block):
    train, eval = make(seed, dim, threshold)
    same_as_the_core(train, eval, threshold, torch.device(device), (block,))


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    tile=st.integers(1, 90),
    products=st.integers(40, 2_000),
    survivors=st.integers(20, 600),
    threshold=st.sampled_from([0.98, 0.5, -1.0]),
)
def test_the_cut_into_tiles_does_not_show(seed, tile, products, survivors, threshold):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_near, "TILE_ROWS", tile)
        patch.setattr(torch_near, "MOST_SURVIVORS", survivors)
        patch.setattr(torch_near, "NORMALIZED_VALUES", 100)
        patch.setattr(torch_near, "most_products", lambda device: products)
        same_as_the_core(*clustered(seed, 17, threshold), threshold)


def truncated_sums(left, right, width=4):
    """Products as the oldest tensor cores add them, after Fasi, Higham, Mikaitis and Pranesh (2021).

    `width` products and the running sum are aligned to the largest of them, cut to 24 bits without a guard
    bit, added, and the sum is cut to 24 bits.
    """
    x, y = (side.double().numpy() for side in (left, right))
    total = np.zeros((len(x), len(y)))
    for start in range(0, x.shape[1], width):
        terms = x[:, None, start : start + width] * y[None, :, start : start + width]
        terms = np.concatenate([total[:, :, None], terms], axis=2)
        exponent = np.frexp(np.abs(terms).max(axis=2))[1]
        quantum = np.ldexp(1.0, exponent - 24)[:, :, None]
        total = (np.trunc(terms / quantum) * quantum).sum(axis=2)
        quantum = np.ldexp(1.0, np.frexp(total)[1] - 24)
        total = np.trunc(total / quantum) * quantum
    return torch.from_numpy(total.astype(np.float32))


@pytest.mark.parametrize("dim", [5, 768, 4096])
def test_sums_that_truncate_stay_within_the_bound(dim):
    rng = np.random.default_rng(dim)
    # Equal signs, where truncation only ever shrinks the sum.
    rows = [torch.from_numpy(rng.random((20, dim), np.float32) ** k).bfloat16() for k in (1, 3)]
    exact = rows[0].double() @ rows[1].double().T
    lengths = torch.outer(*(side.double().norm(dim=1) for side in rows))
    error = ((truncated_sums(*rows).double() - exact).abs() / lengths).max()
    assert 0 < error <= 8 * (dim + 8) * 2.0**-24


@pytest.mark.parametrize("threshold", [0.995, 0.9])
def test_no_pair_is_lost_to_sums_that_truncate(threshold, monkeypatch):
    rng = np.random.default_rng(3)
    eval = rng.random((60, 768), np.float32)
    gaps = rng.choice([-1, 1], 90) * 10.0 ** rng.uniform(-9, -4, 90)
    train = np.stack([beside(rng, eval[i % 60], threshold + gap) for i, gap in enumerate(gaps)])
    monkeypatch.setattr(torch_near, "product", truncated_sums)
    assert same_as_the_core(train, eval, threshold) > 20


def test_pairs_far_below_the_threshold_are_not_scored(monkeypatch):
    rng = np.random.default_rng(0)
    index = torch_near.TorchNearIndex(64, 0.9, 1, CPU)
    index.add(rng.standard_normal((500, 64)).astype(np.float32))
    monkeypatch.setattr(torch_near, "_places", lambda passed: pytest.fail(f"{int(passed.sum())} survive"))
    row, *_ = index.scan(rng.standard_normal((500, 64)).astype(np.float32))
    assert len(row) == 0


def test_a_device_that_runs_out_gets_smaller_blocks(monkeypatch):
    real, asked = torch_near.product, []

    def scarce(left, right):
        asked.append(len(left))
        if len(left) * len(right) > 900:
            raise torch.OutOfMemoryError("no room")
        return real(left, right)

    monkeypatch.setattr(torch_near, "product", scarce)
    assert same_as_the_core(*clustered(1, 8, 0.9), 0.9)
    assert max(asked) > 50 > min(asked)

    def none(left, right):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(torch_near, "product", none)
    index = torch_near.TorchNearIndex(8, 0.9, 1, CPU)
    index.add(np.eye(8, dtype=np.float32))
    with pytest.raises(lvmfast.DataError, match=r"device cpu: no room to compare with 8 vectors of 8"):
        index.scan(np.eye(8, dtype=np.float32))


def test_torchs_own_setting_comes_back():
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_bf16_reduced_precision_reduction
    same_as_the_core(*sides(0, 8, 0.9), 0.9)
    assert matmul.allow_bf16_reduced_precision_reduction == before


def test_rows_too_wide_for_the_bound_are_refused():
    with pytest.raises(lvmfast.DataError, match="at most 262136 components, got 262137"):
        torch_near.TorchNearIndex(262_137, 0.9, 1, CPU)


@pytest.fixture
def tensors_for_a_gpu(monkeypatch):
    """The device cuda, played by the CPU's tensors."""
    monkeypatch.setattr(torch_near, "open_device", lambda name: CPU)
    monkeypatch.setattr(torch_near, "describe_device", lambda device: "cuda:0 (tensors)")


def check_the_api(tmp_path):
    train, eval = (side * np.float32(3) for side in clustered(8, 48, 0.9, 900, 400))
    for sets in ((train, eval), (eval, train), (train,)):
        on_cpu = lvmfast.near_duplicates(*sets, threshold=0.9)
        found = lvmfast.near_duplicates(*sets, threshold=0.9, device="cuda")
        assert on_cpu.pair_count == found.pair_count > 100
        for name in ("train_row", "eval_row", "cosine", "train_group", "eval_group"):
            assert getattr(on_cpu, name).tobytes() == getattr(found, name).tobytes()
    windows = np.stack([np.roll(eval, k, axis=0) for k in range(3)], axis=1)
    sides_ = {"vector": train[:400], "context": windows}, {"vector": eval, "context": windows[::-1].copy()}
    for splits in (sides_, sides_[:1]):
        reports = [lvmfast.leakscan(*splits, threshold=0.9, device=device) for device in ("cpu", "cuda")]
        for place, report in enumerate(reports):
            report.save(tmp_path / f"{len(splits)}-{place}")
        summaries = [dict(report.summary) for report in reports]
        assert summaries[0]["environment"]["device"] == "cpu"
        assert summaries[1]["environment"]["device"].startswith("cuda:0 (")
        for summary in summaries:
            del summary["timings"], summary["environment"]
        assert json.dumps(summaries[0]) == json.dumps(summaries[1])
        for table in ("matches.parquet", "matched_rows.parquet"):
            first, second = (tmp_path / f"{len(splits)}-{place}" / table for place in (0, 1))
            assert first.read_bytes() == second.read_bytes()


def test_scans_write_the_same_bytes(tmp_path, tensors_for_a_gpu):
    check_the_api(tmp_path)


@pytest.mark.gpu
@on_gpu
def test_scans_write_the_same_bytes_on_a_gpu(tmp_path):
    check_the_api(tmp_path)


def test_the_summary_keeps_to_its_schema(tensors_for_a_gpu, pytestconfig):
    schema = json.loads((pytestconfig.rootpath / "docs" / "summary.schema.json").read_text())
    rows = {"vector": np.eye(3, dtype=np.float32)}
    jsonschema.validate(lvmfast.leakscan(rows, rows, device="cuda:0").summary, schema)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "mps", ""])
def test_a_device_that_is_none_is_refused(device):
    with pytest.raises(lvmfast.DataError, match=r"device: expected cpu, cuda or cuda:N, got"):
        lvmfast.near_duplicates(np.eye(3), device=device)


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_read(tmp_path):
    train = tmp_path / "train.npz"
    np.savez(train, targets=np.eye(3, dtype=np.float32))
    command = [sys.executable, "-m", "lvmfast", "leakscan", "--train", str(train), "--device", "cuda:0"]
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=hidden, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "device cuda:0: torch" in done.stderr
    assert "sees 0 GPUs" in done.stderr


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, r"torch is missing: pip install 'lvmfast\[cuda\]'"),
        ("2.5.1", "expected torch 2.8 or newer, got 2.5.1"),
    ],
)
def test_a_torch_that_will_not_do_is_named(module, message, monkeypatch):
    if module is None:
        monkeypatch.setitem(sys.modules, "torch", None)
    else:
        monkeypatch.setattr(torch, "__version__", module)
    with pytest.raises(lvmfast.DataError, match=message):
        lvmfast.leakscan({"vector": np.eye(3)}, device="cuda")
