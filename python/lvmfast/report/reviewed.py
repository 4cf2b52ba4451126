"""A scan in the light of what people decided: matches that are boilerplate count for nothing.

A row is set aside where every match that it has is decided to be boilerplate, and no other: where it is not
known which matches a row has, because evidence was cut, it counts. What was set aside is told beside that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Batch, Dataset
from lvmfast.corpus.plain import arrow_numbers, arrow_scalar
from lvmfast.corpus.sides import Side
from lvmfast.leaks.evidence import NO_ROW
from lvmfast.leaks.findings import BOILERPLATE, DECISIONS, Findings, LevelFinding, Review, judge
from lvmfast.leaks.options import LevelName, ScanOptions
from lvmfast.leaks.tally import NO_ROWS, Rows
from lvmfast.levels import LEVELS
from lvmfast.report.decisions import DECIDED, Decisions, decisions_on, match_ids
from lvmfast.report.tables import locate

if TYPE_CHECKING:
    from lvmfast.report.saved import SavedScan

SET_ASIDE = pa.schema(
    [("level", pa.string()), ("side", pa.string()), ("file", pa.string()), ("row", pa.int64())]
)

Mask = npt.NDArray[np.bool_]
#: (rows,) numbers, equal for those of some ascending rows of a side that stand behind one match at a level.
Groups = Callable[[LevelName, Side, Rows], Rows | None]


def reviewed(
    findings: Findings, ids: Sequence[str | None], decisions: Decisions, options: ScanOptions, groups: Groups
) -> Findings:
    """The findings as decisions leave them, judged once more.

    Args:
        findings: of a scan that is whole.
        ids: of all its matches, in the order of `matches.parquet` (`decisions.match_ids`).
        decisions: that are known.
        options: of the scan.
        groups: tells which rows have one match together, where one row stands for them in the evidence.
    """
    levels, done = {}, 0
    for level, finding in findings.levels.items():
        if finding.status == "not_checkable":
            levels[level] = finding
            continue
        end = done + len(finding.matches)
        decided = decided_of(ids[done:end], decisions)
        levels[level] = _judged(finding, decided, options, groups)
        done = end
    return replace(findings, levels=levels, strange=_strange(ids, decisions))


def decided_of(ids: Sequence[str | None], decisions: Decisions) -> npt.NDArray[np.int8]:
    """(matches,) the place in `DECISIONS` of what was decided of each, -1 where nothing was."""
    places: dict[str | None, int] = {name: place for place, name in enumerate(DECISIONS)}
    places[None] = -1
    return np.array([places[decisions.of(match)] for match in ids], np.int8)


def _judged(
    finding: LevelFinding, decided: npt.NDArray[np.int8], options: ScanOptions, groups: Groups
) -> LevelFinding:
    review, matches = Review(decided), finding.matches
    named: dict[Side, list[Rows]] = {"train": [matches.train_row], "eval": [matches.eval_row]}
    if "eval" not in finding.sides:  # inside one split both rows of a match are rows of its only side
        named = {"train": [matches.train_row, matches.eval_row]}
    stays = why_all_stay(finding.level, review.boilerplate, finding.match_count, finding.rule)
    sides = finding.sides
    if stays is None:
        sides = {
            side: replace(
                count,
                set_aside=set_aside(
                    finding.level,
                    side,
                    count.matched_rows,
                    named[side],
                    review.boilerplate,
                    finding.match_count,
                    groups,
                ),
            )
            for side, count in finding.sides.items()
            if names_all_rows(finding.level, side, review.boilerplate, options.join_chunks)
        }
        sides = {**finding.sides, **sides}
    pairs = int(matches.pairs[review.boilerplate].sum())
    review = replace(review, pairs=pairs, stays=stays)
    return judge(replace(finding, sides=sides, review=review, pairs=finding.pairs - pairs), options.allow)


def why_all_stay(level: str, boilerplate: Mask, found: int, rule: str | None) -> str | None:
    """Why no row of a level can be set aside, though matches are boilerplate; None where rows can be.

    Args:
        level: at which rows match.
        boilerplate: whether each match of the evidence is.
        found: matches that there are; more than are kept where evidence was cut.
        rule: the published rule that decided, if one did.
    """
    of, kept = LEVELS[level], len(boilerplate)
    if not boilerplate.any() or (found == kept and boilerplate.all() and rule is None):
        return None
    if rule is not None:
        return f"the rule {rule} looks at all training rows at once, and no match says why a row leaks"
    if found > kept and of.keys is None:  # by keys a row has one match, be it kept or not
        return (
            f"evidence was cut to {kept:,} of {found:,} matches, and a row may have others; scan again with "
            "a higher --max-pairs"
        )
    if not of.stands_once:
        return "a row has many matches there, and is set aside only when all of them are decided"
    return None


def names_all_rows(level: LevelName, side: Side, boilerplate: Mask, join_chunks: bool) -> bool:
    """Whether it is known of which matches a row of a side is a part.

    A match in joined chunks names the first row of its stretch; of those that follow it is known alone where
    all matches are boilerplate.
    """
    joined = join_chunks and LEVELS[level].excerpts and side == "train"
    return not joined or bool(boilerplate.all())


def set_aside(
    level: LevelName,
    side: Side,
    matched: Rows,
    named: Sequence[Rows],
    boilerplate: Mask,
    found: int,
    groups: Groups,
) -> Rows:
    """Those of the matched rows, ascending, of which nothing but boilerplate is a match.

    Args:
        level: at which they match, where `why_all_stay` says nothing.
        side: whose rows they are.
        matched: all of it that match, ascending.
        named: the row of each match in the evidence, `NO_ROW` where there is none; inside one split that of
            either side.
        boilerplate: whether each match is.
        found: matches that there are.
        groups: as for `reviewed`.
    """
    if not boilerplate.any():
        return NO_ROWS
    if found == len(boilerplate) and boilerplate.all():
        return matched
    rows, repeated = np.concatenate(named), np.concatenate([boilerplate] * len(named))
    firsts, place = np.unique(rows[rows != NO_ROW], return_inverse=True)
    open_ = np.zeros(len(firsts), np.bool_)
    open_[place[~repeated[rows != NO_ROW]]] = True
    closed: Rows = np.intersect1d(matched, firsts[~open_], assume_unique=True)
    once = len(named) == 1  # inside one split two rows can be named of those that are alike
    if once and np.isin(matched, firsts, assume_unique=True).all():
        return closed
    numbers = groups(level, side, matched)
    if numbers is None:
        return closed if once else NO_ROWS
    of_closed = numbers[np.searchsorted(matched, closed)]
    of_open = numbers[np.isin(matched, firsts[open_], assume_unique=True)]
    return matched[np.isin(numbers, of_closed) & ~np.isin(numbers, of_open)]


@dataclass(frozen=True)
class SavedReview:
    """What decisions change of one side of a saved scan."""

    aside: Mapping[LevelName, Rows]  #: rows of the side that do not count, by level, ascending; no empty ones
    stays: Mapping[LevelName, str]  #: why no row of a level is set aside, though matches are boilerplate
    decided: Mapping[str, int]  #: matches by what was decided of them
    strange: int  #: decisions of no match of the scan

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.decided,
            "of_no_match": self.strange,
            "set_aside": {level: len(rows) for level, rows in self.aside.items()},
            "stays": dict(self.stays),
        }


def review_saved(saved: SavedScan, decisions: Decisions, side: Side, groups: Groups) -> SavedReview:
    """What decisions change of a side of a saved scan of two sides.

    Raises:
        DataError: its tables are broken.
    """
    import pyarrow.compute as pc

    files = saved.files(side)
    starts = np.cumsum([0, *(file.rows for file in files)])[:-1]
    names = pa.array([file.name for file in files], pa.string())

    def rows_of(names_there: pa.ChunkedArray, rows_there: pa.ChunkedArray) -> Rows:
        place = pc.index_in(names_there, names).fill_null(-1).to_numpy()
        rows = rows_there.fill_null(NO_ROW).to_numpy()
        found: Rows = np.where((place < 0) | (rows < 0), NO_ROW, starts[place] + rows).astype(np.int64)
        return found

    ids = match_ids(saved.matches, saved.summary["inputs"], saved.summary["options"]["normalize"]).to_pylist()
    decided = decided_of(ids, decisions)
    of_level = saved.matches["level"].combine_chunks()
    aside: dict[LevelName, Rows] = {}
    stays: dict[LevelName, str] = {}
    for level in LEVELS:
        if level not in saved.summary["levels"]:
            continue
        told = saved.summary["levels"][level]
        here = pc.equal(of_level, arrow_scalar(level)).to_numpy(zero_copy_only=False)
        boilerplate = decided[here] == BOILERPLATE
        why = why_all_stay(level, boilerplate, told["evidence"]["found"], told.get("rule"))
        if why is not None:
            stays[level] = why
            continue
        if not names_all_rows(level, side, boilerplate, bool(saved.summary["options"].get("join_chunks"))):
            continue
        evidence = saved.matches.filter(pa.array(here))
        matched = rows_at(saved.matched_rows, level, side)
        rows = set_aside(
            level,
            side,
            np.sort(rows_of(matched["file"], matched["row"])),
            [rows_of(evidence[f"{side}_file"], evidence[f"{side}_row"])],
            boilerplate,
            told["evidence"]["found"],
            groups,
        )
        if len(rows):
            aside[level] = rows
    counts = {name: int((decided == place).sum()) for place, name in enumerate(DECISIONS)}
    return SavedReview(aside, stays, counts, _strange(ids, decisions))


def _strange(ids: Sequence[str | None], decisions: Decisions) -> int:
    """Decisions that are of no match of a scan."""
    return len(decisions.by_match) - len({match for match in ids if decisions.of(match) is not None})


def groups_in(sides: Mapping[Side, Callable[[], Dataset]], options: ScanOptions) -> Groups:
    """Which rows of data sets, opened when they are asked for, have a match together, by a look at them.

    Of a side that is not there nothing is known.
    """

    def groups(level: LevelName, side: Side, rows: Rows) -> Rows | None:
        dataset = sides[side]() if side in sides else None
        if dataset is None or not set(LEVELS[level].needs) <= dataset.columns:
            return None
        return LEVELS[level].groups(side, _pieces(dataset, level, rows), options)

    return groups


def _pieces(dataset: Dataset, level: LevelName, rows: Rows) -> Iterator[tuple[Batch, Rows]]:
    counted = all(file.rows is not None for file in dataset.files)
    for batch in dataset.batches(LEVELS[level].needs, wanted=rows if counted else None):
        low, high = np.searchsorted(rows, [batch.start, batch.start + batch.rows])
        if low < high:
            yield batch, rows[low:high] - batch.start


def set_aside_table(findings: Findings) -> pa.Table:
    """The rows that a review set aside, by level, side, file and row: some of `matched_rows.parquet`."""
    parts = [pa.Table.from_batches([], SET_ASIDE)]
    for level, finding in findings.levels.items():
        for side, count in finding.sides.items():
            if len(count.set_aside):
                n = len(count.set_aside)
                files, rows = locate(count.set_aside, findings.sides[side])
                parts.append(pa.table([pa.array([level] * n), pa.array([side] * n), files, rows], SET_ASIDE))
    return pa.concat_tables(parts).combine_chunks()


def decided_table(matches: pa.Table, ids: Sequence[str | None], decisions: Decisions) -> pa.Table:
    """What was decided of the matches of a scan: one row for each on which there is a decision."""
    places = np.array([n for n, match in enumerate(ids) if decisions.of(match) is not None], np.int64)
    found = [decisions.by_match[match] for n in places if (match := ids[n]) is not None]
    rows = matches.take(arrow_numbers(places))
    columns: dict[str, Any] = {
        name: pa.array([getattr(one, name) for one in found], pa.string())
        for name in ("match", "decision", "reviewer", "time", "note")
    }
    columns |= {name: rows[name] for name in DECIDED.names if name not in columns}
    return pa.table([columns[name] for name in DECIDED.names], DECIDED)


def without_boilerplate(matches: pa.Table, decided: pa.Table) -> pa.Table:
    """The evidence without matches that are decided to be boilerplate, given `decided_table`."""
    kept = [decision != DECISIONS[BOILERPLATE] for decision in decisions_on(matches, decided)]
    return matches.filter(pa.array(kept, pa.bool_()))


def rows_at(table: pa.Table, level: str, side: Side) -> pa.Table:
    """The rows of a table of `level` and `side`."""
    import pyarrow.compute as pc

    both = pc.and_(pc.equal(table["level"], arrow_scalar(level)), pc.equal(table["side"], arrow_scalar(side)))
    return table.filter(both)
