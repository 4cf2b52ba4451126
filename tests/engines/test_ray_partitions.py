"""Keyed levels of two large sides as workers of a cluster find them, without Ray: what memory finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast.corpus import load_split
from lvmfast.engines import ray_partitions
from lvmfast.engines.ray import OnRay
from lvmfast.leaks.keyed import KeyedLevel
from lvmfast.leaks.options import ScanOptions
from lvmfast.levels import LEVELS
from lvmfast.scan.context import ScanContext
from tests.support.large import COLUMNS, same, splits

pytestmark = pytest.mark.heavy


def naive_group_by(
    ray: Any, items: list[pa.Table], part: Any, join: Any, of: Any, groups: int, parted: Any
) -> Iterator[bytes]:
    """`engines.group_by.by_group` in a loop, the rows of a group in no order."""
    tables = [part(item.to_pylist()[0]) for item in items]
    parted(len(items))
    rows = pa.concat_tables(tables)
    rows = rows.take(np.random.default_rng(0).permutation(rows.num_rows))
    present = pc.unique(rows["group"]).to_pylist()
    assert max(present) < groups
    for group in present:
        yield from join(rows.filter(pc.equal(rows["group"], group)))


@pytest.fixture(scope="module", params=[1, 1 << 30])
def without_ray(request: pytest.FixtureRequest) -> Iterator[None]:
    """Spans of a row group and many groups, or whole files and few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_partitions, "by_group", naive_group_by)
        patch.setattr(ray_partitions, "connected", nullcontext)
        patch.setattr(ray_partitions, "workers", lambda *_: SimpleNamespace(count=3))
        patch.setattr(ray_partitions, "SPAN_BYTES", request.param)
        patch.setattr(ray_partitions, "GROUP_BYTES", 1000 * request.param)
        yield


def written(folder: Any, parts: list[dict[str, list[Any]]]) -> Any:
    types = {"doc_id": pa.large_string(), "chunk_id": pa.large_string(), "text": pa.large_string()}
    for place, part in enumerate(parts):
        pq.write_table(pa.table(part, pa.schema(types)), folder / f"{place}.parquet", row_group_size=7)
    return load_split(folder)


@settings(max_examples=20, deadline=None)
@given(
    train=st.lists(splits(), min_size=1, max_size=3),
    eval_=st.lists(splits(), min_size=1, max_size=2),
    max_df=st.sampled_from([None, 1, 2, 5]),
    max_pairs=st.sampled_from([1, 3, 1000]),
    first=st.sampled_from(["train", "eval"]),
)
def test_groups_find_what_memory_finds(without_ray, tmp_path_factory, train, eval_, max_df, max_pairs, first):
    options = ScanOptions(min_chars=1, max_df=max_df, max_pairs=max_pairs, threads=1)
    opened = {
        side: written(tmp_path_factory.mktemp(side), parts)
        for side, parts in (("train", train), ("eval", eval_))
    }
    second = "eval" if first == "train" else "train"
    sides = {side: opened[side] for side in (first, second)}
    files = {side: len(split.files) for side, split in sides.items()}
    told = []
    cluster = OnRay(None)
    context = ScanContext(options, cluster, lambda *what: told.append(what))
    levels = ("doc", "chunk", "text")
    for level, found in zip(levels, cluster.shuffle(levels, sides, 1, context), strict=True):
        running = KeyedLevel(LEVELS[level], first, files, options)
        for batch in sides[first].batches(COLUMNS):
            running.index(batch)
        for batch in sides[second].batches(COLUMNS):
            running.stream(batch)
        same(found, running.result())
    assert all(done <= of for _, done, of in told)
    (found,) = cluster.shuffle(["text"], {"train": opened["train"]}, 1, context)
    duplicates = KeyedLevel(LEVELS["text"], "train", {"train": files["train"]}, options)
    for batch in opened["train"].batches(COLUMNS):
        duplicates.index(batch)
    same(found, duplicates.result())
