"""What a scan finds, under `--memory-limit`: matches that fill the memory, and limits that are enough."""

import re
import sys

import numpy as np
import pytest

from lvmfast import leakscan
from lvmfast.errors import DataError
from tests.support.peaks import MIB, ran

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """1,500 rows near one vector, which are 1,124,250 pairs, and two sets of 20,000 x 48 without a match."""
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    base = rng.normal(size=16)
    np.save(folder / "near.npy", (base + 1e-3 * rng.normal(size=(1_500, 16))).astype(np.float32))
    for name in ("train", "eval"):
        np.save(folder / f"{name}.npy", rng.normal(size=(20_000, 48)).astype(np.float32))
    return folder


def scan(folder, limit, *options, train="near.npy"):
    limited = ["--memory-limit", f"{limit}MiB", "--levels", "vector"]
    return ran(folder, "leakscan", "--train", train, *limited, *options)


@pytest.mark.parametrize("sides", [[], ["--eval", "near.npy"]], ids=["within", "two sides"])
def test_matches_that_fill_the_memory_are_refused_before_they_do(folder, sides):
    done = scan(folder, 450, *sides)
    assert done.code == 2
    assert done.peak <= 450 * MIB
    found = re.search(
        r"has found ([\d,]+) matches so far and needs \d\.\d\d GiB with them, over the", done.err
    )
    assert 100_000 < int(found[1].replace(",", "")) <= 1_000_000
    assert "lower --max-pairs (1,000,000), or raise the limit" in done.err


def test_fewer_of_them_are_kept_within_the_limit(folder, tmp_path):
    done = scan(folder, 330, "--max-pairs", "50000", "--out", tmp_path / "limited")
    assert done.code == 1, done.err
    assert done.peak <= 330 * MIB
    free = scan(folder, 8000, "--max-pairs", "50000", "--out", tmp_path / "free")
    assert free.code == 1
    for table in ("matches.parquet", "matched_rows.parquet"):
        assert (tmp_path / "limited" / table).read_bytes() == (tmp_path / "free" / table).read_bytes()


def test_small_vectors_need_little(folder):
    done = scan(folder, 256, "--eval", "eval.npy", train="train.npy")
    assert done.code == 0, done.err
    assert done.peak <= 256 * MIB


def test_a_limit_below_what_any_scan_needs_says_so(folder):
    with pytest.raises(DataError) as caught:
        leakscan(
            folder / "train.npy",
            folder / "eval.npy",
            levels=["vector"],
            memory_limit=150 * MIB,
            max_pairs=5_000,
        )
    assert re.search(
        r"needs about 0\.\d\d GiB, over the 0\.15 GiB of --memory-limit; "
        r"most of it for the interpreter, its libraries and blocks of rows: raise the limit",
        str(caught.value),
    )
