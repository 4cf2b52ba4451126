"""Scans under a memory limit that the system holds (a control group), where one can be made."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from lvmfast.corpus import load_split
from lvmfast.leaks import cgroup, memory
from lvmfast.leaks.options import ScanOptions
from lvmfast.levels import parse_levels
from lvmfast.scan import estimates
from tests.support.places import ROOT

sys.path.append(str(ROOT / "benches"))
from memory_limit import Finished, run

MIB = 1 << 20
LIMIT = 400 * MIB
LESS = 290 * MIB  #: which the vectors of one side do not fit
ROWS, VECTORS, DIM = 600_000, 60_000, 256

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")


@pytest.fixture(scope="module")
def enforced():
    if not run(["true"], 64 * MIB).enforced:
        pytest.skip("no control group can be made here")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two splits of 600,000 rows, one in ten shared, and two of 60,000 vectors, one in a hundred shared."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(3)
    words = pa.array([f"word{i:04}" for i in range(10_000)])
    for side, first in (("train", 0), ("eval", ROWS - ROWS // 10)):
        numbers = np.arange(first, first + ROWS)
        drawn = [words.take(pa.array((numbers * (7 + k)) % 10_000)) for k in range(18)]
        text = pc.binary_join_element_wise(*drawn, pc.cast(pa.array(numbers), pa.string()), " ")
        rows = {"doc_id": numbers // 7, "chunk_id": numbers % 7, "text": text}
        pq.write_table(pa.table(rows), folder / f"{side}.parquet", row_group_size=50_000)
    values = rng.standard_normal((2 * VECTORS, DIM), dtype=np.float32)
    values[VECTORS : VECTORS + VECTORS // 100] = values[: VECTORS // 100]
    np.save(folder / "train-vectors.npy", values[:VECTORS])
    np.save(folder / "eval-vectors.npy", values[VECTORS:])
    return folder


def scan(folder, out, *options, limit: int | None = LIMIT, train="train.parquet", eval_="eval.parquet"):
    command = [sys.executable, "-m", "lvmfast", "leakscan", "--train", str(folder / train)]
    if eval_ is not None:
        command += ["--eval", str(folder / eval_)]
    command += ["--out", str(out), "--max-pairs", "2000", *options]
    if limit is not None:
        command += ["--memory-limit", str(limit)]
    return run(command, limit if limit is not None else 1 << 40)


def written(out: Path) -> tuple[bytes, bytes, dict]:
    summary = json.loads((out / "summary.json").read_text())
    for volatile in ("timings", "environment", "inputs"):
        del summary[volatile]
    tables = ((out / f"{name}.parquet").read_bytes() for name in ("matches", "matched_rows"))
    return *tables, summary


def succeeded(done: Finished) -> None:
    assert done.code in (0, 1), f"exit {done.code}, peak {done.peak / MIB:.0f} MiB\n{done.stderr}"


@pytest.mark.slow
@pytest.mark.usefixtures("enforced")
@pytest.mark.parametrize(
    ("options", "splits"),
    [
        (["--levels", "text"], {}),
        (["--levels", "doc,chunk"], {}),
        (["--levels", "text"], {"eval_": None}),
        (["--levels", "vector"], {"train": "train-vectors.npy", "eval_": "eval-vectors.npy"}),
        (["--levels", "vector"], {"train": "train-vectors.npy", "eval_": None}),
    ],
    ids=["text", "ids", "text within", "vectors", "vectors within"],
)
def test_a_scan_of_two_large_sides_stays_within_the_limit(folder, tmp_path, options, splits):
    limit = LESS if "vector" in options else LIMIT
    done = scan(folder, tmp_path / "limited", *options, limit=limit, **splits)
    succeeded(done)
    if "vector" in options:
        assert splits["eval_"] is None or "the larger side read" in done.stderr
    else:
        assert "partitions on disk" in done.stderr
    succeeded(scan(folder, tmp_path / "free", *options, limit=None, **splits))
    assert written(tmp_path / "limited") == written(tmp_path / "free")
    assert not list((tmp_path / "limited").glob("lvmfast-scratch*"))


@pytest.mark.slow
@pytest.mark.usefixtures("enforced")
@pytest.mark.parametrize("levels", ["text", "doc,chunk", "vector"])
def test_an_index_that_fits_by_the_estimate_fits(folder, tmp_path, levels):
    train, eval_ = "train.parquet", "eval.parquet"
    if levels == "vector":
        train, eval_ = "train-vectors.npy", "eval-vectors.npy"
    left, right = load_split(str(folder / train)), load_split(str(folder / eval_))

    def needed(limit: int) -> int:
        options = ScanOptions(memory_limit=limit, max_pairs=2000)
        return memory.working_bytes(options) + estimates.index_bytes(
            parse_levels(levels.split(",")), right, left, options
        )

    limit = next(of for of in range(300 * MIB, 4000 * MIB, MIB) if needed(of) <= of)
    done = scan(folder, tmp_path / "out", "--levels", levels, limit=limit, train=train, eval_=eval_)
    succeeded(done)
    assert "partitions" not in done.stderr
    assert "times" not in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("enforced")
def test_millions_of_matched_rows_stay_within_the_limit(tmp_path):
    texts = pa.array([f"a line of no meaning, by its number {number * 7919}" for number in range(1_000)])
    pq.write_table(pa.table({"text": texts}), tmp_path / "eval.parquet")
    drawn = np.random.default_rng(5).integers(0, len(texts), 5_000_000)
    with pq.ParquetWriter(tmp_path / "train.parquet", pa.schema([("text", pa.string())])) as writer:
        for part in np.split(drawn, 50):
            writer.write_table(pa.table({"text": texts.take(pa.array(part))}))
    done = scan(tmp_path, tmp_path / "out", "--levels", "text", limit=700 * MIB)
    succeeded(done)
    assert done.code == 1
    assert "partitions" not in done.stderr
    refused = scan(tmp_path, tmp_path / "less", "--levels", "text")
    assert refused.code == 2
    assert "5,000,000 matched rows so far and needs 0." in refused.stderr
    matched = pq.read_table(tmp_path / "out" / "matched_rows.parquet")
    train = matched.filter(pc.equal(matched["side"], "train"))
    assert train["row"].combine_chunks().equals(pa.array(np.arange(len(drawn))))
    assert len(matched) == len(drawn) + len(texts)


def test_too_little_for_any_way_is_refused_with_the_figure(folder, tmp_path):
    done = scan(folder, tmp_path, "--levels", "text", limit=205 * MIB)
    assert done.code == 2
    assert "GiB, over the 0.20 GiB of --memory-limit" in done.stderr


@pytest.mark.parametrize("version", [1, 2])
def test_the_tightest_group_above_counts(tmp_path, version):
    files, line = (cgroup.V1, "4:memory:/jobs/one\n0::/\n") if version == 1 else (cgroup.V2, "0::/jobs/one\n")
    root = tmp_path / "cgroup"
    top = root / "memory" if version == 1 else root
    limits = {
        top: "max" if version == 2 else str(2**63 - 4096),
        top / "jobs": "1000",
        top / "jobs/one": "5000",
    }
    for group, most in limits.items():
        group.mkdir(parents=True, exist_ok=True)
        (group / files[0]).write_text(f"{most}\n")
        (group / files[1]).write_text("700\n")
        (group / "memory.stat").write_text(f"{files[2][0]} 50\nanon 600\n{files[2][1]} 25\n")
    own = tmp_path / "own"
    own.write_text(line)
    assert cgroup.available(root, own) == 1000 - 700 + 75
    own.write_text(line.replace("/jobs/one", "/host/name/of/a/container"))
    (top / files[0]).write_text("900\n")
    assert cgroup.available(root, own) == 900 - 700 + 75


def test_no_group_means_no_limit(tmp_path):
    assert cgroup.available(tmp_path, tmp_path / "none") is None
