"""What was checked, as plain data for the formats of other tools: annotations, SARIF, JUnit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

from lvmfast.corpus.plain import arrow_scalar
from lvmfast.levels import LEVELS
from lvmfast.report.decisions import match_ids
from lvmfast.report.lines import Lines
from lvmfast.report.reviewed import without_boilerplate
from lvmfast.report.sentences import leaked_sentence

#: `undecided` is what is not known yet, and is never a pass; `skipped` is what nobody could or had to check.
Outcome = Literal["passed", "failed", "undecided", "skipped"]

#: Places that are listed of one level, those with the highest scores; counts are always whole.
MOST_PLACES = 1000

OUTCOMES: Mapping[str, Outcome] = {
    "clean": "passed",
    "allowed": "passed",
    "reviewed": "passed",
    "leak": "failed",
    "incomplete": "undecided",
    "not_checkable": "skipped",
}


@dataclass(frozen=True)
class Place:
    """A row of a file in which something was found."""

    file: str
    row: int  #: within the file, from 0
    line: int | None  #: from 1; None where rows do not stand one a line
    says: str  #: what was found there, as a sentence
    score: float
    match: str | None = None  #: what the match is known by in every scan; None of arrays in memory


@dataclass(frozen=True)
class Check:
    """One thing that was checked, of one file if the check goes by files."""

    name: str  #: of what is checked: a level, a gate
    outcome: Outcome
    says: str  #: what came of it, as a sentence
    about: str = ""  #: what this kind of check looks for
    file: str | None = None
    places: tuple[Place, ...] = ()
    found: int = 0  #: rows in which something was found; `places` can be fewer


@dataclass(frozen=True)
class Checked:
    """All that one command checked."""

    command: str
    line: str  #: the verdict in a line
    outcome: Outcome
    checks: tuple[Check, ...] = field(default=())


def checks_of_scan(summary: Mapping[str, Any], matches: pa.Table, decided: pa.Table | None = None) -> Checked:
    """The checks of a scan, one for each level and file of the judged side.

    Args:
        summary: the contents of `summary.json`.
        matches: the evidence, as `matches.parquet`.
        decided: as `decided.parquet`, where decisions were given: boilerplate is told of no row.
    """
    if decided is not None:
        matches = without_boilerplate(matches, decided)
    judged = "eval" if "eval" in summary["inputs"] else "train"
    lines = Lines(summary)
    checks: list[Check] = []
    for name, level in summary["levels"].items():
        about = f"{LEVELS[name].what}."
        outcome = OUTCOMES[level["status"]]
        if outcome == "skipped":
            checks.append(Check(name, outcome, f"Not checked: {level['reason']}.", about))
            continue
        placed = _placed(name, matches, lines, summary)
        for file in summary["files"]:
            counts = file["levels"].get(name) if file["side"] == judged else None
            if counts is None:
                continue
            matched = counts["matched"] or 0
            # A leak stands in the files that have matched rows; the others passed.
            of_file = "passed" if outcome == "failed" and not matched else outcome
            allowed = " This is within the allowed rate." if level["status"] == "allowed" and matched else ""
            says = f"{matched:,} of {counts['checked']:,} checked rows matched.{allowed}"
            if aside := counts.get("set_aside"):
                says += f" {aside:,} more matched, and a review set them aside."
            if outcome == "undecided":
                says += f" Not decided: {level['reason'] or 'some rows may match'}."
            places = tuple(placed.get(file["file"], ()))
            checks.append(Check(name, of_file, says, about, file["file"], places, matched))
    line = f"{summary['verdict'].upper()}: {summary['sentence']}"
    if summary["leaked_inputs"]:
        line += f" {leaked_sentence(summary['leaked_inputs'])}"
    return Checked("leakscan", line, _together(checks, summary["exit_code"]), tuple(checks))


def _together(checks: Sequence[Check], exit_code: int) -> Outcome:
    """What the exit code says, which knows what no single check knows: that a scan is not at its end."""
    if exit_code == 0:
        return "passed"
    return "failed" if any(check.outcome == "failed" for check in checks) else "undecided"


def _placed(
    level: str, matches: pa.Table, lines: Lines, summary: Mapping[str, Any]
) -> dict[str, list[Place]]:
    """The rows of the judged side that match at a level, by file and row, each with its best match."""
    import pyarrow.compute as pc

    found = matches.filter(pc.equal(matches["level"], arrow_scalar(level)))
    worst = found.sort_by([("score", "descending"), ("eval_file", "ascending"), ("eval_row", "ascending")])
    best: dict[tuple[str, int], tuple[int, Place]] = {}
    for number, match in enumerate(_rows(worst)):
        place = match["eval_file"], match["eval_row"]
        if place not in best:
            line = lines.of(match, "eval")
            best[place] = number, Place(*place, line, _sentence(level, match, lines), match["score"])
        if len(best) == MOST_PLACES:
            break
    chosen = worst.take(pa.array([number for number, _ in best.values()], pa.int64()))
    known = match_ids(chosen, summary["inputs"], summary["options"]["normalize"]).to_pylist()
    places = [replace(one, match=match) for (_, one), match in zip(best.values(), known, strict=True)]
    by_file: dict[str, list[Place]] = {}
    for found_there in sorted(places, key=lambda one: (one.file, one.row)):
        by_file.setdefault(found_there.file, []).append(found_there)
    return by_file


def _rows(table: pa.Table) -> Iterator[Mapping[str, Any]]:
    """The rows of a table, a few at a time: the evidence can be long."""
    columns = table.select([name for name in table.column_names if not name.endswith("_text")])
    for batch in columns.to_batches(max_chunksize=MOST_PLACES):
        yield from batch.to_pylist()


def _sentence(level: str, match: Mapping[str, Any], lines: Lines) -> str:
    score = f" with a score of {match['score']:.4f}" if LEVELS[level].cosine or LEVELS[level].excerpts else ""
    if match["train_file"] is None:
        return f"Row {match['eval_row']:,} holds its own answer (level {level}){score}."
    others = (match["eval_count"] or 1) - 1
    more = f" So do {others:,} more rows like it." if others > 1 else " So does one more." if others else ""
    where = lines.named(match, "train")
    return f"Row {match['eval_row']:,} matches {where} at level {level}{score}.{more}"
