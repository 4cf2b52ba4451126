"""Which matches a person is shown: the worst of each level, and those nearest the threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lvmfast.corpus.plain import arrow_scalar
from lvmfast.corpus.sides import SIDES
from lvmfast.levels import LEVELS

if TYPE_CHECKING:
    from lvmfast.report.differences import Comparison
    from lvmfast.report.marked import Marked

MOST_PER_LEVEL = 8
MOST_NEAR_THRESHOLD = 4

#: What `overlaps.parquet` says of a match, beside what `matches.parquet` says.
TOLD = "told"
PLACE = ("train_file", "train_row", "train_position", "eval_file", "eval_row", "eval_position")


@dataclass(frozen=True)
class Pair:
    """A train row and an eval row, with every level at which they were chosen."""

    scores: tuple[tuple[str, float], ...]  #: (level, score)
    match: dict[str, Any]  #: one of the rows of `matches.parquet` behind it
    comparison: Comparison | None  #: None where a side has no text, or theirs need not be alike
    marked: Marked | None = None  #: of a match by a stretch of a text, instead

    def rows_behind(self, *, one_set: bool) -> str:
        """What it stands for beside its two rows, in words; empty where nothing.

        Inside one set the rows of a key are both sides of its match, and so are those of equal vectors, whose
        score is 1; which score vectors of another length can have, too.
        """
        train, eval = (self.match[f"{side}_count"] or 1 for side in SIDES)
        level = LEVELS[self.match["level"]]
        if one_set and level.cosine and self.match["score"] == 1.0 and train == eval:
            return f"{train:,} equal rows" if train > 2 else ""
        pairs = train * (train - 1) // 2 if one_set and level.keys is not None else train * eval
        return f"{pairs:,} row pairs" if pairs > 1 else ""


def worst_pairs(matches: pa.Table, overlaps: pa.Table | None = None) -> list[Pair]:
    """The highest scores of each level; first those with the answer nearby, then those of most rows.

    A pair of two levels comes once. `overlaps` is what a scan says of matches by a stretch of a text.
    """
    return _merged(
        row
        for level in LEVELS
        for row in _ranked(matches, overlaps, level, lambda order: order.slice(0, MOST_PER_LEVEL))
    )


def pairs_near_threshold(matches: pa.Table, overlaps: pa.Table | None = None) -> list[Pair]:
    """The lowest scores of each level that has scores, where it has more than the worst pairs show."""

    def lowest(order: pa.Array) -> pa.Array:
        return order.slice(max(MOST_PER_LEVEL, len(order) - MOST_NEAR_THRESHOLD))

    chosen = []
    for level in [name for name, level in LEVELS.items() if level.cosine or level.excerpts]:
        # Equal vectors are no near miss: a threshold that lets them in needs no second look.
        rows = reversed(_ranked(matches, overlaps, level, lowest))
        chosen += [row for row in rows if row["score"] < 1.0]
    return _merged(chosen)


def _ranked(
    matches: pa.Table, overlaps: pa.Table | None, level: str, which: Callable[[pa.Array], pa.Array]
) -> list[dict[str, Any]]:
    """Some matches of a level, given which of those in the order of how bad they are."""
    if not len(matches):
        return []
    import pyarrow.compute as pc

    found = matches.filter(pc.equal(matches["level"], arrow_scalar(level)))
    keys = {"score": found["score"]}
    if LEVELS[level].excerpts and overlaps is not None:
        told = overlaps.slice(0, len(found))  # the matches stand first, in the same order
        keys["answered"] = pc.is_valid(told["answer_start"])
        found = found.append_column(TOLD, told.to_struct_array())
    keys["pairs"] = pc.multiply(
        *(
            pc.cast(pc.fill_null(found[f"{side}_count"], arrow_scalar(1)), pa.float64())
            for side in ("train", "eval")
        )
    )
    order = pc.sort_indices(pa.table(keys), [(key, "descending") for key in keys])
    return list(found.take(which(order)).to_pylist())


def _merged(rows: Iterable[dict[str, Any]]) -> list[Pair]:
    by_place: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        by_place.setdefault(tuple(row[name] for name in PLACE), []).append(row)
    pairs = map(_pair, by_place.values())
    return sorted(pairs, key=lambda pair: (-len(pair.scores), -max(score for _, score in pair.scores)))


def _pair(found: Sequence[dict[str, Any]]) -> Pair:
    """The pair of two rows, from its matches."""
    # Here and not above: a clean scan shows none, and starts without them.
    from lvmfast.report.differences import compare
    from lvmfast.report.marked import marked

    first = next((row for row in found if TOLD in row), found[0])
    texts = first["train_text"], first["eval_text"]
    alike = any(_names_texts(row) for row in found)
    return Pair(
        tuple((row["level"], row["score"]) for row in found),
        first,
        compare(*texts) if alike and None not in texts else None,
        marked(first[TOLD]) if TOLD in first else None,
    )


def _names_texts(row: dict[str, Any]) -> bool:
    """Whether the texts of a match are what is alike: of a vector in a context, the row has another text."""
    placed = any(row[f"{side}_position"] is not None for side in SIDES)
    return LEVELS[row["level"]].names_texts and not placed
