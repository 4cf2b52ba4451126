"""What the tests share."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import settings

import lvmfast
from tests.support.bucket import bucket, proxy
from tests.support.shards import OPTIONS, random_table

__all__ = ["bucket", "proxy"]

# On a busy machine no test case has a time of its own to keep to; pytest-timeout sees to those that hang.
settings.register_profile("no deadline", settings(deadline=None))
settings.load_profile("no deadline")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it runs in the background deaf to Ctrl-C, and every process it starts inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def monkeypatch_module():
    """A monkeypatch that hypothesis may use: it lives as long as the module."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training files of four formats, one without rows, and an evaluation set that shares a good deal."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "train").mkdir()
    pool = np.random.default_rng(7).standard_normal((300, 8)).astype(np.float32)
    pool[0], pool[1, 0] = 0, np.nan
    for place, rows in enumerate((700, 0, 300)):
        table = random_table(place, rows, 0, pool)
        pq.write_table(table, root / "train" / f"{place}.parquet", row_group_size=150)
    lines = random_table(3, 200, 20, pool).drop_columns(["vector"]).to_pylist()
    (root / "train" / "3.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arrays = random_table(4, 400, 30, pool)
    vectors = np.stack(arrays["vector"].to_pylist()).astype(np.float32)
    np.savez(root / "train" / "4.npz", doc_id=np.arange(400) % 50, chunk_id=np.arange(400), vector=vectors)
    pq.write_table(random_table(9, 250, 40, pool), root / "eval.parquet")
    return root


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    lvmfast.leakscan(corpus / "train", corpus / "eval.parquet", **OPTIONS).save(out)
    return out
