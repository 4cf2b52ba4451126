"""Which matches a person is shown: the worst of each level, and those nearest the threshold."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lvmfast.levels import LEVELS
from lvmfast.report.differences import Comparison, compare, compare_runs

MOST_PER_LEVEL = 8
MOST_NEAR_THRESHOLD = 4

PLACE = ("train_file", "train_row", "train_position", "eval_file", "eval_row", "eval_position")


@dataclass(frozen=True)
class Pair:
    """A train row and an eval row, with every level at which they were chosen."""

    scores: tuple[tuple[str, float], ...]  #: (level, score)
    match: dict[str, Any]  #: one of the rows of `matches.parquet` behind it
    comparison: Comparison | None  #: None where a side has no text, or theirs need not be alike

    @property
    def row_pairs(self) -> int:
        """Row pairs that it stands for."""
        return (self.match["train_count"] or 1) * (self.match["eval_count"] or 1)


def worst_pairs(matches: pa.Table) -> list[Pair]:
    """The highest scores of each level, most rows behind them first; a pair of two levels comes once."""
    return _merged(
        row
        for level in LEVELS
        for row in _sorted(matches, level, "descending").slice(0, MOST_PER_LEVEL).to_pylist()
    )


def pairs_near_threshold(matches: pa.Table) -> list[Pair]:
    """The lowest scores of each level that has scores, where it has more than the worst pairs show."""
    chosen = []
    for level in [name for name, level in LEVELS.items() if level.cosine or level.excerpts]:
        worst_first = _sorted(matches, level, "descending")
        rest = worst_first.slice(MOST_PER_LEVEL)
        lowest = rest.slice(max(0, len(rest) - MOST_NEAR_THRESHOLD)).to_pylist()
        # Equal vectors are no near miss: a threshold that lets them in needs no second look.
        chosen += [row for row in reversed(lowest) if row["score"] < 1.0]
    return _merged(chosen)


def _sorted(matches: pa.Table, level: str, order: str) -> pa.Table:
    import pyarrow.compute as pc

    found = matches.filter(pc.equal(matches["level"], level))
    pairs = pc.multiply(
        pc.cast(pc.fill_null(found["train_count"], 1), pa.float64()),
        pc.cast(pc.fill_null(found["eval_count"], 1), pa.float64()),
    )
    keys = pa.table({"score": found["score"], "pairs": pairs})
    return found.take(pc.sort_indices(keys, [("score", order), ("pairs", "descending")]))


def _merged(rows: Iterable[dict[str, Any]]) -> list[Pair]:
    by_place: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        by_place.setdefault(tuple(row[name] for name in PLACE), []).append(row)
    pairs = []
    for found in by_place.values():
        first = found[0]
        texts = first["train_text"], first["eval_text"]
        alike = any(LEVELS[row["level"]].names_texts for row in found)
        told = compare_runs if any(LEVELS[row["level"]].excerpts for row in found) else compare
        comparison = told(*texts) if alike and None not in texts else None
        pairs.append(Pair(tuple((row["level"], row["score"]) for row in found), first, comparison))
    return sorted(pairs, key=lambda pair: (-len(pair.scores), -max(score for _, score in pair.scores)))
