"""Annotations of GitHub Actions: workflow commands, which the runner reads from the log of a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lvmfast.report.checks import Check, Checked, Outcome, Place
from lvmfast.report.formats.places import relative

#: Annotations of one kind that GitHub shows of a step.
MOST_SHOWN = 10

KINDS: Mapping[Outcome, str] = {
    "passed": "notice",
    "skipped": "notice",
    "undecided": "error",
    "failed": "error",
}


def github(checked: Checked) -> Iterator[str]:
    """The verdict, then what does not pass: rows by how bad they are, as many as GitHub shows.

    Each is a line of its own. A row that matches at several levels has one annotation.
    """
    kind, title = KINDS[checked.outcome], f"lvmfast {checked.command}"
    open_ = [check for check in checked.checks if check.outcome in ("failed", "undecided")]
    rows: dict[tuple[str, int], list[tuple[Check, Place]]] = {}
    for check in open_:
        for place in check.places:
            rows.setdefault((place.file, place.row), []).append((check, place))
    worst = sorted(rows.items(), key=lambda row: (-len(row[1]), -max(p.score for _, p in row[1]), row[0]))
    shown = [_row(kind, title, found) for _, found in worst]
    shown += [_check(kind, f"{title}: {check.name}", check) for check in open_ if not check.places]
    verdict = checked.line
    if len(shown) >= MOST_SHOWN:
        left = len(shown) - MOST_SHOWN + 1
        verdict += (
            f" The worst {MOST_SHOWN - 1} are annotated; {left:,} more are not, because GitHub shows "
            f"{MOST_SHOWN} annotations of a step."
        )
    if any(check.found > len(check.places) for check in open_):
        verdict += " A report (--out DIR) names every row that matched."
    yield command(kind, verdict, title=title)
    yield from shown[: MOST_SHOWN - 1]


def _row(kind: str, title: str, found: Sequence[tuple[Check, Place]]) -> str:
    """The annotation of a row, by what the first level found, and at which other levels it matches."""
    place, others = found[0][1], [check.name for check, _ in found[1:]]
    says = [*_elsewhere(place.file), place.says]
    if others:
        says.append(f"It matches at {', '.join(others)}, too.")
    where = relative(place.file)
    line = None if where is None else place.line
    return command(kind, " ".join(says), title=title, file=where, line=line)


def _check(kind: str, title: str, check: Check) -> str:
    where = check.file
    says = " ".join([*([] if where is None else _elsewhere(where)), check.says])
    return command(kind, says, title=title, file=None if where is None else relative(where))


def _elsewhere(file: str) -> list[str]:
    """The name of a file that is not in the repository, so that no annotation can stand in it."""
    return [f"{file}:"] if relative(file) is None else []


def command(kind: str, message: str, **properties: str | int | None) -> str:
    """A workflow command, everything in it escaped: ``::error file=train.jsonl,line=3::message``."""
    given = ",".join(
        f"{name}={_escaped(str(value)).replace(':', '%3A').replace(',', '%2C')}"
        for name, value in properties.items()
        if value is not None
    )
    return f"::{kind} {given}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
