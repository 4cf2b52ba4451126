"""What a level found adds up whatever the parts, and comes back from arrays as it was."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lvmfast.leaks.cuts import numbered, numbers_of, pack, unpack
from lvmfast.leaks.evidence import Evidence
from lvmfast.leaks.joins import DocumentFrequency, SlotJoin
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult, NearestRows
from lvmfast.leaks.tally import SideTally, Tally
from lvmfast.leaks.trees import from_arrays, to_arrays

FILES = 3


def rows(values: Any) -> np.ndarray:
    return np.array(values, np.int64)


@st.composite
def tallies(draw) -> Tally:
    files = sorted(draw(st.sets(st.integers(0, FILES - 1))))
    counts = lambda: rows([draw(st.integers(1, 9)) for _ in files])  # noqa: E731
    matched = draw(st.lists(st.integers(0, 30), max_size=6))
    scores = [draw(st.sampled_from([0.5, 0.9, 1.0])) for _ in matched]
    doubtful = rows(sorted(draw(st.sets(st.integers(0, 30)))))
    return Tally(
        FILES,
        rows(files),
        counts(),
        {"zero": counts()} if draw(st.booleans()) else {},
        {"nan": doubtful} if len(doubtful) else {},
        rows(matched),
        np.array(scores, np.float64),
    )


@st.composite
def results(draw) -> LevelResult:
    matches = draw(
        st.lists(st.tuples(*[st.integers(0, 9)] * 4, st.sampled_from([0.5, 0.9, 1.0])), max_size=5)
    )
    columns = [rows([match[place] for match in matches]) for place in range(4)]
    one = np.ones(len(matches), np.int64)
    nearest = draw(st.none() | st.integers(0, 9))
    return LevelResult(
        {side: draw(tallies()) for side in ("train", "eval")},
        Evidence(*columns, np.array([match[4] for match in matches], np.float64), one, one, one),
        len(matches) + draw(st.integers(0, 3)),
        draw(st.integers(0, 99)),
        {0.9: draw(st.integers(0, 9)), 0.995: draw(st.integers(0, 9))},
        draw(st.none() | st.just({"train": 3, "eval": 4})),
        draw(st.none() | st.just({"train": 0, "eval": 4})),
        None if nearest is None else NearestRows(rows([nearest]), np.array([0.5]), rows([7])),
    )


def plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tolist()
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return {key: plain(inner) for key, inner in vars(value).items()} if hasattr(value, "__dict__") else value


@settings(deadline=None, max_examples=60)
@given(result=results())
def test_a_result_comes_back_from_arrays(result):
    _, tree = unpack("a result", pack({}, to_arrays(result)))
    assert plain(from_arrays(LevelResult, tree)) == plain(result)


@settings(deadline=None, max_examples=60)
@given(parts=st.lists(results(), min_size=1, max_size=4), max_pairs=st.integers(1, 6), data=st.data())
def test_parts_add_up_in_any_order_and_grouping(parts, max_pairs, data):
    options = ScanOptions(max_pairs=max_pairs)
    merged = LevelResult.merged(parts, options)
    shuffled = data.draw(st.permutations(parts))
    at = data.draw(st.integers(0, len(parts)))
    halves = [LevelResult.merged(half, options) for half in (shuffled[:at], shuffled[at:])]
    again = LevelResult.merged(halves, options)
    assert again.match_count == merged.match_count == sum(part.match_count for part in parts)
    assert again.pairs == merged.pairs == sum(part.pairs for part in parts)
    assert (
        again.pairs_at
        == merged.pairs_at
        == sum((Counter(part.pairs_at) for part in parts), Counter())
        | {edge: 0 for edge in (0.9, 0.995) if not any(part.pairs_at[edge] for part in parts)}
    )
    for name in ("keys", "padding"):
        told = [of for of in (getattr(part, name) for part in parts) if of is not None]
        expected = {side: sum(of[side] for of in told) for side in ("train", "eval")} if told else None
        assert getattr(again, name) == getattr(merged, name) == expected
    every = sorted(
        (-score, *match)
        for part in parts
        for score, *match in zip(
            part.matches.score.tolist(),
            part.matches.train_row.tolist(),
            part.matches.train_position.tolist(),
            part.matches.eval_row.tolist(),
            part.matches.eval_position.tolist(),
            strict=True,
        )
    )
    kept = sorted(match[1:] for match in every[:max_pairs])
    names = ("train_row", "train_position", "eval_row", "eval_position")
    for result in (merged, again):
        found = zip(*(getattr(result.matches, name).tolist() for name in names), strict=True)
        assert list(found) == kept
    for side in ("train", "eval"):
        best: dict[int, float] = defaultdict(float)
        unchecked: Counter[str] = Counter()
        doubtful: list[int] = []
        for part in parts:
            tally = part.sides[side]
            for row, score in zip(tally.matched.tolist(), tally.best.tolist(), strict=True):
                best[row] = max(best[row], score)
            unchecked.update({reason: int(counts.sum()) for reason, counts in tally.faulty.items()})
            doubtful += tally.doubtful.get("nan", rows([])).tolist()
        for result in (merged, again):
            tally = result.sides[side]
            assert dict(zip(tally.matched.tolist(), tally.best.tolist(), strict=True)) == best
            assert tally.matched.tolist() == sorted(best)
            assert sorted(tally.doubtful.get("nan", rows([])).tolist()) == sorted(doubtful)
            assert {reason: int(n.sum()) for reason, n in tally.faulty.items() if n.sum()} == +unchecked


@settings(deadline=None, max_examples=60)
@given(result=results(), starts=st.lists(st.integers(0, 50), min_size=4, max_size=4))
def test_relocated_rows_are_those_of_the_dataset(result, starts):
    """Row 7 of a file is row 7 behind its start, wherever it is named."""
    starts = np.cumsum(starts)
    local = LevelResult(
        {"train": result.sides["train"].relocated(numbers_of(4)[1:])},
        result.matches.relocated("train", rows([numbered(1, 0)])),
    )
    moved = local.relocated({"train": starts, "eval": rows([0])})
    assert moved.sides["train"].matched.tolist() == (result.sides["train"].matched + starts[1]).tolist()
    assert moved.matches.train_row.tolist() == (result.matches.train_row + starts[1]).tolist()
    assert moved.matches.eval_row.tolist() == result.matches.eval_row.tolist()


@settings(deadline=None, max_examples=60)
@given(
    sides=st.dictionaries(
        st.sampled_from(["train", "eval"]), st.lists(st.integers(0, 5), min_size=1, max_size=20), min_size=1
    ).filter(lambda sides: "train" in sides),
    block=st.integers(1, 7),
    limit=st.none() | st.integers(1, 4),
)
def test_a_join_counts_slots_like_loops(sides, block, limit):
    options = ScanOptions()
    frequency = None
    if limit is not None:  # every row is its own document
        frequency = DocumentFrequency(limit, options)
        for place, slots in enumerate(sides.values()):
            documents = [[place, 0, row] for row in range(len(slots))]
            frequency.add(rows(slots), np.array(documents, np.uint64))
    join = SlotJoin(tuple(sides), options, frequency)

    def chunks():
        for side, slots in sides.items():
            for start in range(0, len(slots), block):
                part = rows(slots[start : start + block])
                yield side, start + np.arange(len(part)), part

    for side, of, slots in chunks():
        join.count(side, of, slots, 6)
    join.close(6)
    found = join.result(chunks(), None)
    within = len(sides) == 1
    of_slot = {side: defaultdict(list) for side in sides}
    for side, slots in sides.items():
        for row, slot in enumerate(slots):
            of_slot[side][slot].append(row)
    matches, matched, common = [], defaultdict(list), defaultdict(list)
    for slot in range(6):
        held = {side: of_slot[side][slot] for side in sides}
        if any(len(of) < (2 if within else 1) for of in held.values()):
            continue
        often = limit is not None and sum(map(len, held.values())) > limit
        for side, of in held.items():
            (common if often else matched)[side] += of
        if not often:
            left, right = held["train"], held["train" if within else "eval"]
            pairs = len(left) * (len(left) - 1) // 2 if within else len(left) * len(right)
            matches.append((left[0], right[1] if within else right[0], pairs))
    evidence = found.matches.sorted()
    named = (evidence.train_row.tolist(), evidence.eval_row.tolist(), evidence.pairs.tolist())
    assert list(zip(*named, strict=True)) == sorted(matches)
    assert (found.match_count, found.pairs) == (len(matches), sum(match[2] for match in matches))
    for side in sides:
        tally = SideTally(1)
        tally.add(found.sides[side])
        counted = tally.part()
        assert counted.matched.tolist() == sorted(matched[side])
        assert sorted(counted.doubtful.get("boilerplate", rows([])).tolist()) == sorted(common[side])


@dataclass
class Went:
    """Rows of a file that went by."""

    file: int
    rows: int


@settings(max_examples=100, deadline=None)
@given(
    cuts=st.lists(
        st.lists(st.tuples(st.integers(0, FILES - 1), st.integers(0, 5), st.booleans()), max_size=4),
        max_size=5,
    )
)
def test_a_tally_that_begins_anew_knows_nothing_of_what_was_before(cuts):
    again = SideTally(FILES)
    for cut in cuts:
        first = SideTally(FILES)
        for tally in (again, first):
            for file, count, checked in cut:
                batch: Any = Went(file, count)
                tally.see(batch)
                if not checked:
                    tally.uncheck_all(batch, "empty")
        parts = [tally.part() for tally in (again, first)]
        assert parts[0].files.tolist() == parts[1].files.tolist()
        assert parts[0].rows.tolist() == parts[1].rows.tolist()
        unchecked = [tally.count().unchecked for tally in (again, first)]
        assert unchecked[0] == unchecked[1]
        again.forget()
