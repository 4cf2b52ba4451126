"""What the engine ray stands on, without Ray: who works, what a worker says, how spans are folded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lvmfast
from lvmfast.corpus import load_split
from lvmfast.corpus.fingerprint import KEYED
from lvmfast.engines.cluster import gpus, workers
from lvmfast.engines.spans import opened_span, span_items
from lvmfast.engines.spread import Worker
from lvmfast.errors import DataError
from lvmfast.leaks.cuts import spans_of, unpack
from lvmfast.leaks.options import ScanOptions
from lvmfast.splits.directions import fitted_directions
from lvmfast.splits.kept import Keeping, Kept
from lvmfast.splits.ray_fingerprint import SpanReader


def cluster(*nodes: dict[str, float]) -> Any:
    return SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": node} for node in nodes])


SMALL, LARGE = {"CPU": 4.0, "memory": 8e9}, {"CPU": 16.0, "memory": 64e9}
WITH_GPUS = {"CPU": 16.0, "GPU": 4.0, "memory": 64e9}


@pytest.mark.parametrize(
    ("nodes", "asked", "expected"),
    [
        ((SMALL, LARGE), {}, (5, 4, 0)),  # as many processors as the smallest node has
        ((SMALL, LARGE), {"cpus": 16}, (1, 16, 0)),
        ((SMALL, {"memory": 64e9}), {}, (1, 4, 0)),  # a head without processors takes no part
        ((LARGE, WITH_GPUS), {"gpu": True}, (4, 4, 1)),
        ((WITH_GPUS, {**WITH_GPUS, "CPU": 2.0}), {"gpu": True}, (6, 1, 1)),  # four GPUs, two processors
    ],
)
def test_workers_are_as_many_as_fit(nodes: Any, asked: dict[str, Any], expected: tuple[int, ...]) -> None:
    found = workers(cluster(*nodes), 1 << 30, **asked)
    assert (found.count, found.cpus, found.gpus) == expected


def test_a_cluster_without_the_means_is_refused() -> None:
    with pytest.raises(DataError, match=r"needs about 8.00 GiB, and no node of the cluster gives more than"):
        workers(cluster(SMALL, SMALL), 8 << 30)
    with pytest.raises(DataError, match="no node of the cluster has 8 processors"):
        workers(cluster(SMALL), 1 << 30, 8)
    assert gpus(cluster(SMALL, LARGE)) == 0
    assert gpus(cluster(SMALL, WITH_GPUS)) == 4


def test_a_worker_says_what_is_wrong() -> None:
    items = pa.table({"number": [3, 4], "value": [1, 0]})

    def work(item: dict[str, Any]) -> bytes:
        if not item["value"]:
            raise DataError("file: expected a value, got 0")
        return b"one"

    def broken() -> Any:
        raise DataError("nothing to work with")

    first: Any = SimpleNamespace(begin=lambda number: "")
    done = Worker(lvmfast.__version__, first, lambda: work, ())(items).to_pylist()
    assert done[0] == {"number": 3, "result": b"one", "fault": ""}
    assert done[1]["fault"].startswith("file: expected a value, got 0 (on node ")
    for fault in Worker(lvmfast.__version__, first, broken, ())(items)["fault"].to_pylist():
        assert fault.startswith("nothing to work with (on node ")
    for fault in Worker("0.0.0", first, lambda: work, ())(items)["fault"].to_pylist():
        assert fault == f"a worker has lvmfast {lvmfast.__version__}, the driver 0.0.0: put one on all nodes"


@settings(max_examples=15, deadline=None)
@given(span_bytes=st.sampled_from([1 << 11, 1 << 12, 1 << 14, 1 << 30]), drawn=st.data())
def test_folded_spans_are_the_fingerprint(corpus: Path, span_bytes: int, drawn: st.DataObject) -> None:
    split = load_split(corpus / "train")
    present = [column for column in KEYED if column == "vector" or drawn.draw(st.booleans(), label=column)]
    directions, options = fitted_directions(split), ScanOptions(threads=1)
    keeping = Keeping(present, directions, 50 if "text" in present else 0)
    whole, folded = Kept(keeping, options), Kept(keeping, options)
    for batch in split.batches(present, drawn.draw(st.sampled_from([1, 7, 100, 5000]))):
        whole.add(batch)
    read = SpanReader(keeping, options)
    spans = spans_of(split, span_bytes)
    assert len(spans) >= 5
    for item in span_items(split, spans):
        folded.fold(unpack("cut", read(item.to_pylist()[0]))[1])
    assert folded.content(split, options) == whole.content(split, options)
    ours, theirs = folded.arrays(), whole.arrays()
    assert list(ours) == list(theirs)
    for name, array in theirs.items():
        assert array.dtype == ours[name].dtype
        np.testing.assert_array_equal(ours[name], array, err_msg=name)


def test_another_file_at_the_same_path_is_refused(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, vector=np.eye(3, dtype=np.float32))
    split = load_split(path)
    (item,) = span_items(split, spans_of(split))
    np.savez(path, vector=np.eye(4, dtype=np.float32))
    with pytest.raises(DataError, match=r"a.npz: changed, or is another file here: expected \d+ bytes"):
        opened_span(item.to_pylist()[0])
    arrays = load_split({"vector": np.eye(3, dtype=np.float32)})
    with pytest.raises(DataError, match="data in memory is for the engine local"):
        span_items(arrays, spans_of(arrays))
