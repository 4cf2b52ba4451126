"""How a scan will go: the way of every level, settled by sizes and room before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal, get_args

from lvmfast.corpus.dataset import Dataset
from lvmfast.corpus.sides import Side, other_side
from lvmfast.leaks import memory
from lvmfast.leaks.options import LevelName, ScanOptions
from lvmfast.levels import LEVELS
from lvmfast.scan import estimates

#: What is scanned, in a plan's order.
Sides = Mapping[Side, Dataset]
#: How a level goes about its rows, in the order in which ways are gone:
#: - streamed: one side is indexed in memory and the other goes by, once for all levels that go so;
#: - shard: likewise, but of the other side only a share, into a journal;
#: - indexed: the rows of one set are all indexed in memory;
#: - held: streamed beside levels that do not fit, by one that no other way would hold less of;
#: - partitions: rows of equal keys are brought together, on disk or on a cluster;
#: - blocks: the other side goes by one block of indexed vectors after the other;
#: - passes: one set goes by one block of its own vectors after the other.
Way = Literal["streamed", "shard", "indexed", "held", "partitions", "blocks", "passes"]

#: The least that a partition, or a block of vectors, is given.
LEAST_BUDGET = 32 << 20
#: How often a streamed side is read more by levels that go beyond memory.
READS_BEYOND = 2
#: What helps where there is not even room for that.
BEYOND = "raise the limit, or lower --max-pairs"
ON_CLUSTER = """{}: the engine ray finds repeated texts inside one set (--levels text), \
and no repeated vectors; the engine local does"""


@dataclass(frozen=True)
class Given:
    """What is planned for: what is asked, who does it, and the room there is."""

    levels: tuple[LevelName, ...]  #: all of them checkable
    options: ScanOptions
    room: int  #: bytes that may be used
    shard: bool = False  #: a share of the training side, for a merge
    on_cluster: bool = False  #: other machines do the work
    outgrown: bool = False  #: an index in memory turned out larger than it seemed: there can be none


@dataclass(frozen=True)
class Plan:
    """The way of every level, what it takes, and why it cannot be gone."""

    ways: Mapping[LevelName, Way]
    need: int  #: bytes that are expected to be used
    _: KW_ONLY
    room: int = memory.ENDLESS  #: bytes that an index may take before another plan is asked for
    parted_room: int = memory.ENDLESS  #: bytes that an index may take with one of its blocks
    budget: int = LEAST_BUDGET  #: bytes of a partition
    groups: int = 1  #: distinct vectors of a block, or of a pass
    pairs: int = 0  #: of vectors that are compared
    reads: int = 1  #: of the streamed side, for its vectors
    turns: int = 1  #: of the streamed side, for blocks of an index of a level's own, by the estimate
    refused: str | None = None  #: the reason, in a line
    sides: tuple[Side, ...] = ("train",)  #: the indexed one first; one alone is compared with itself

    @property
    def steps(self) -> list[tuple[Way, list[LevelName]]]:
        """The ways in the order in which they are gone, each with its levels."""
        ways = sorted(set(self.ways.values()), key=get_args(Way).index)
        return [(way, [level for level, of in self.ways.items() if of == way]) for way in ways]


def plan(sides: Sides, given: Given) -> Plan:
    """The plan of a scan of both sides, or of train alone."""
    if "eval" not in sides:
        planned, indexed, streamed = _within(sides["train"], given), sides["train"], sides["train"]
    else:
        side = indexed_side(sides, given)
        indexed, streamed = sides[side], sides[other_side(side)]
        planned = replace(_two_sides(indexed, streamed, given), sides=(side, other_side(side)))
    cells = estimates.cells(given.levels, indexed) + estimates.cells(given.levels, streamed)
    pairs = indexed.estimated_rows() * streamed.estimated_rows() * max(0, cells - 1)
    refused, options = planned.refused, given.options
    # Of what the system has, nobody asked to be sure: there are seldom as many matches as there may be.
    if options.memory_limit is not None:
        need = estimates.evidence_bytes(given.levels, list(sides.values()), options)
        hint = (
            f"most of it for the texts of the evidence, of up to {options.max_pairs:,} matches a level "
            "(--max-pairs): lower that, or raise the limit"
        )
        need += memory.working_bytes(options)
        refused = memory.refusal(need, given.room, options, hint) or refused
    return replace(planned, pairs=pairs, refused=refused)


def indexed_side(sides: Sides, given: Given) -> Side:
    """The side with fewer rows, or eval where it has to be.

    A search for nearest rows keeps the best of every indexed row, and it is eval's that are asked for. All
    shards index the same side.
    """
    fixed = (
        given.shard or given.options.nearest or "eval" in {LEVELS[level].indexes for level in given.levels}
    )
    return "eval" if fixed or sides["eval"].estimated_rows() <= sides["train"].estimated_rows() else "train"


def _two_sides(indexed: Dataset, streamed: Dataset, given: Given) -> Plan:
    working, room, options = memory.working_bytes(given.options), given.room, given.options
    need = working + estimates.index_bytes(given.levels, indexed, streamed, options)
    ways: dict[LevelName, Way] = dict.fromkeys(given.levels, "shard" if given.shard else "streamed")
    planned = Plan(ways, need, room=room - working, parted_room=room - working)
    if need > room and not given.outgrown:
        own = estimates.own_bytes(given.levels, indexed, options)
        others = need - own.all
        turns, alone = own.reads(room - others), own.reads(room - working)
        # By partitions the streamed side is read once or twice more, and so are the vectors by blocks.
        if turns is not None and alone is not None and (given.shard or turns <= alone + READS_BEYOND):
            return replace(planned, need=others + own.whole + -(-own.blocks // turns), turns=turns)
    if given.shard:
        hint = "the index of the evaluation side is held whole in every part"
        larger = "the index of the evaluation side is larger than it seemed, and does not fit in memory"
        return replace(
            planned, refused=larger if given.outgrown else memory.refusal(need, room, options, hint)
        )
    return _beyond_memory(indexed, given) if given.outgrown or need > room else planned


def _beyond_memory(indexed: Dataset, given: Given) -> Plan:
    """Keyed levels by partitions and vectors by blocks, each in turn with all the memory."""
    rows, options = indexed.estimated_rows(), given.options
    working = memory.working_bytes(options)
    grouped = rows * estimates.cells(given.levels, indexed) * memory.GROUP_BYTES
    budget, need = given.room - working, working + grouped + LEAST_BUDGET
    groups = max(1, (budget - grouped) // memory.indexed_bytes(indexed.dim or 0, options))
    ways: dict[LevelName, Way] = {
        name: "partitions" if level.keys else "blocks" if level.compares_vectors else "held"
        for name, level in LEVELS.items()
        if name in given.levels
    }
    index = estimates.own_bytes(given.levels, indexed, options)
    own = working + index.least
    here = "blocks" in ways.values() or ("partitions" in ways.values() and not given.on_cluster)
    return Plan(
        ways,
        need,
        parted_room=budget,
        budget=budget,
        groups=groups,
        reads=-(-rows // groups) if grouped else 1,
        turns=index.reads(budget) or 1,
        refused=(memory.refusal(need, given.room, options, BEYOND) if here else None)
        or memory.refusal(own, given.room, options),
    )


def _within(split: Dataset, given: Given) -> Plan:
    room, options, working = given.room, given.options, memory.working_bytes(given.options)
    ways: dict[LevelName, Way] = {}
    needs, refusals = [0], []
    for level in given.levels:
        need = working + estimates.index_bytes_within([level], split, options, room)
        if LEVELS[level].compares_vectors:
            ways[level] = "passes"
            refusals.append(
                ON_CLUSTER.format(level) if given.on_cluster else memory.refusal(need, room, options)
            )
        elif given.outgrown or given.on_cluster or need > room:
            ways[level], need = "partitions", working + LEAST_BUDGET
            refusals.append(None if given.on_cluster else memory.refusal(need, room, options, BEYOND))
        else:
            ways[level] = "indexed"
        needs.append(need)
    groups = memory.vectors_per_pass(split, options, room)
    refused = next(filter(None, refusals), None)
    left = room - working
    return Plan(ways, max(needs), room=left, budget=left, groups=groups, refused=refused)
