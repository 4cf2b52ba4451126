"""A scan is planned without being run: every level has a way that can be gone, or there is a reason."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast.corpus import Dataset
from lvmfast.leaks import memory
from lvmfast.leaks.options import ScanOptions
from lvmfast.levels import LEVELS
from lvmfast.scan.plan import LEAST_BUDGET, Given, Plan, plan

MIB = 1 << 20
COLUMNS = ("doc_id", "chunk_id", "text", "vector", "context")


@dataclass(frozen=True)
class Sized:
    """A file of which no more is known than what it measures."""

    rows: int
    dim: int = 8
    context_length: int = 4
    text_bytes: int = 100
    origin: object = None
    fields: dict = field(default_factory=lambda: dict(zip(COLUMNS, COLUMNS, strict=True)))
    unreadable: dict = field(default_factory=dict)
    name: str = "sized"

    def estimated_rows(self):
        return self.rows

    def batches(self, columns, rows, wanted=None):
        assert list(columns) == ["text"], "nothing but the length of texts is looked at"
        yield SimpleNamespace(text=pa.array(["word " * -(-self.text_bytes // 5)], pa.large_string()), rows=1)


def sized(*measures, **more) -> Dataset:
    return Dataset((Sized(*measures, **more),))


DATASETS = st.builds(
    sized,
    rows=st.sampled_from([1, 1000, 10**6, 10**9]),
    dim=st.sampled_from([1, 384, 4096]),
    context_length=st.sampled_from([1, 16]),
    text_bytes=st.sampled_from([1, 10_000]),
    origin=st.sampled_from([None, SimpleNamespace(path=None)]),
)
SOME_LEVELS = st.sets(st.sampled_from(list(LEVELS)), min_size=1).map(
    lambda chosen: tuple(level for level in LEVELS if level in chosen)
)
ROOMS = st.sampled_from([1, 300 * MIB, 1000 * MIB, 1 << 40, memory.ENDLESS])


def planned(sides, levels, room, *, limited=False, nearest=False, **more) -> Plan:
    """`room` is what the user allows or what the system has."""
    options = ScanOptions(nearest=nearest, max_pairs=100, memory_limit=room if limited else None)
    return plan(sides, Given(levels, options, room, **more))


@given(
    sides=st.fixed_dictionaries({"train": DATASETS, "eval": DATASETS}),
    levels=SOME_LEVELS,
    room=ROOMS,
    limited=st.booleans(),
    nearest=st.booleans(),
    shard=st.booleans(),
    on_cluster=st.booleans(),
    outgrown=st.booleans(),
)
@settings(deadline=None)
def test_two_sides_have_a_way_or_a_reason(sides, levels, room, limited, nearest, shard, on_cluster, outgrown):
    asked = {"shard": shard, "on_cluster": on_cluster, "outgrown": outgrown}
    found = planned(sides, levels, room, limited=limited, nearest=nearest, **asked)
    indexed, streamed = (sides[side].estimated_rows() for side in found.sides)
    assert set(found.sides) == {"train", "eval"}
    assert found.sides[0] == "eval" if nearest or shard else indexed <= streamed or found.sides[0] == "eval"
    assert (found.pairs > 0) == any(LEVELS[level].compares_vectors for level in levels)
    if found.refused is not None:
        assert "--memory-limit" in found.refused or not limited or outgrown
        return
    assert tuple(found.ways) == levels
    assert sorted(level for _, step in found.steps for level in step) == sorted(levels)
    ways = set(found.ways.values())
    if shard:
        assert ways == {"shard"}
        assert not outgrown
    elif "streamed" in ways:
        assert (ways, outgrown, found.reads) == ({"streamed"}, False, 1)
        assert 0 <= found.need <= room
        assert 0 <= found.room < room
    else:
        for level, way in found.ways.items():
            assert (way == "partitions") == (LEVELS[level].keys is not None)
            assert (way == "blocks") == LEVELS[level].compares_vectors
        assert found.budget >= LEAST_BUDGET or on_cluster or ways == {"held"}
        if "blocks" in ways:
            assert (found.reads - 1) * found.groups < indexed <= found.reads * found.groups
        assert [way for way, _ in found.steps] == [
            way for way in ("held", "partitions", "blocks") if way in ways
        ]


@given(
    split=DATASETS,
    levels=st.sampled_from([("text",), ("vector",), ("text", "vector")]),
    room=ROOMS,
    limited=st.booleans(),
    on_cluster=st.booleans(),
    outgrown=st.booleans(),
)
def test_one_set_has_a_way_or_a_reason(split, levels, room, limited, on_cluster, outgrown):
    found = planned({"train": split}, levels, room, limited=limited, on_cluster=on_cluster, outgrown=outgrown)
    assert found.sides == ("train",)
    assert tuple(found.ways) == levels
    assert found.ways.get("vector", "passes") == "passes"
    if outgrown or on_cluster:
        assert found.ways.get("text", "partitions") == "partitions"
    if found.refused is None:
        assert found.need <= room or on_cluster
        assert not (on_cluster and "vector" in levels)


def test_less_room_leads_from_memory_to_blocks_to_a_reason():
    sides = {"train": sized(10**6, 384, 16, 500), "eval": sized(10**5, 384, 16, 500)}
    levels = tuple(level for level in LEVELS if LEVELS[level].two_sided and not LEVELS[level].index_bytes)
    ample = planned(sides, levels, memory.ENDLESS)
    assert set(ample.ways.values()) == {"streamed"}
    exact = planned(sides, levels, ample.need)
    assert exact == replace(ample, room=exact.room, parted_room=exact.parted_room)
    tight = planned(sides, levels, ample.need - 1)
    assert [way for way, _ in tight.steps] == ["partitions", "blocks"]
    assert tight.reads == 1
    tighter = planned(sides, levels, tight.need)
    room = {name: getattr(tighter, name) for name in ("parted_room", "budget", "groups", "reads")}
    assert tighter == replace(tight, **room)
    assert tighter.reads > 1
    none = planned(sides, levels, tight.need - 1)
    assert none.refused is not None
    assert none.refused.endswith("available memory; raise the limit, or lower --max-pairs")


def test_what_holds_little_is_streamed_beside_what_does_not_fit():
    sides = {"train": sized(10**9, 384, 16), "eval": sized(10**7, 384, 16)}
    found = planned(sides, ("doc", "vector", "oracle"), 4 << 30)
    assert found.steps == [("held", ["oracle"]), ("partitions", ["doc"]), ("blocks", ["vector"])]
    assert (found.refused, found.room) == (None, memory.ENDLESS)


@pytest.mark.parametrize("shard", [True, False])
def test_an_outgrown_index_is_not_planned_again(shard):
    sides = {"train": sized(1000), "eval": sized(10)}
    found = planned(sides, ("vector",), 1 << 40, shard=shard, outgrown=True)
    if shard:
        assert found.refused is not None
        assert found.refused.endswith("larger than it seemed, and does not fit in memory")
    else:
        assert (found.ways, found.refused) == ({"vector": "blocks"}, None)


def test_a_limit_holds_what_the_evidence_may_need():
    sides = {side: sized(10**6, text_bytes=10**7) for side in ("train", "eval")}
    found = planned(sides, ("text",), 2 << 30, limited=True)
    assert found.refused is not None
    assert "(--max-pairs)" in found.refused
    assert planned(sides, ("text",), 2 << 30).refused is None


def test_a_pass_inside_one_set_takes_as_many_vectors_as_there_is_room_for():
    split = sized(10**6, 384)
    for room in (memory.ENDLESS, 1000 * MIB):
        found = planned({"train": split}, ("vector",), room)
        assert found.groups == memory.vectors_per_pass(split, ScanOptions(), room) > 1000
        assert found.budget == found.room


def test_a_cluster_finds_no_repeated_vectors_in_one_set():
    found = planned({"train": sized(10)}, ("text", "vector"), memory.ENDLESS, on_cluster=True)
    assert found.refused is not None
    assert found.refused.startswith("vector: the engine ray finds repeated texts inside one set")


def test_room_is_what_the_user_says_or_the_system_has(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 5)
    assert [memory.bound(ScanOptions(memory_limit=limit)) for limit in (None, 7)] == [5, 7]
