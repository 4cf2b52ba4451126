"""A report on a terminal: a table with one line a level, and one by file where there are several."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lvmfast.corpus.sides import SIDES, Side
from lvmfast.leaks.findings import Findings, LevelFinding, Status
from lvmfast.leaks.published import rows_by_rule
from lvmfast.leaks.rules import RULES
from lvmfast.leaks.tally import FileCount, Rows, count_by_file
from lvmfast.report.nearest import nearest_sentence
from lvmfast.report.sentences import (
    beside_sentences,
    level_name,
    not_checked,
    set_aside_count,
    unchecked_rows,
    undecided_count,
)
from lvmfast.shown import line, percent, say, tell

COLOURS: dict[Status, str] = {
    "clean": "green",
    "allowed": "yellow",
    "leak": "red",
    "not_checkable": "dim",
    "incomplete": "yellow",
    "reviewed": "yellow",
}


def cell(text: object, style: str = "") -> Text:
    """What stands in a cell or a title of a table, when it comes from outside."""
    return Text(line(text), style=style)


class Name:
    """A name from outside in a cell: whole, or where there is no room, its end behind a number."""

    #: Characters that a column of names has at least.
    LEAST = 16

    def __init__(self, name: object) -> None:
        """`name` as one visible line."""
        self.name = line(name)
        self.number = 0  #: by which `show_table` tells it whole
        self.shortened = False  #: whether it was printed so

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Columns that it takes."""
        width = cell_len(self.name)
        return Measurement(min(width, self.LEAST), width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What is printed in the room that there is."""
        room = options.max_width - len(f"[{self.number}] …")
        if cell_len(self.name) <= options.max_width:
            yield Text(self.name)
            return
        self.shortened = True
        end = self.name
        while cell_len(end) > room:
            end = end[1:]
        yield Text(f"[{self.number}] …{end}", no_wrap=True, overflow="ignore")


def show_table(table: Table, *, on_stderr: bool = False) -> None:
    """Prints a table, whose texts from outside are `cell`s and `Name`s, and then names that do not fit."""
    names = [name for column in table.columns for name in column.cells if isinstance(name, Name)]
    for number, name in enumerate(names, 1):
        name.number = number
    Console(stderr=on_stderr).print(table)
    out = tell if on_stderr else say
    for name in names:
        if name.shortened:
            out(f"[{name.number}] {name.name}")


def show(findings: Findings, *, on_stderr: bool = False) -> None:
    """Prints the tables, and what they do not say."""
    out = tell if on_stderr else say
    show_table(_by_level(findings), on_stderr=on_stderr)
    judged: Side = "eval" if "eval" in findings.sides else "train"
    if len(findings.sides[judged].names) > 1:
        show_table(_by_file(findings, judged), on_stderr=on_stderr)
        for finding in findings.levels.values():
            if by_rule := rows_by_rule(finding):
                show_table(_by_rule(findings, finding, by_rule), on_stderr=on_stderr)
    lacking = [
        f"{', '.join(levels)}: {why}"
        for why, levels in not_checked(findings, left_out=False).items()
        if findings.levels[levels[0]].lacks
    ]
    if lacking:
        out(f"Not checked: {'; '.join(lacking)}")
    for finding in findings.levels.values():
        if finding.reason and not finding.lacks:
            out(f"{finding.level}: not checkable: {finding.reason}")
        elif unchecked := unchecked_rows(finding):
            out(unchecked)
        if finding.nearest is not None and finding.status != "not_checkable":
            out(nearest_sentence(finding, finding.nearest))
        if undecided := undecided_count(finding):
            out(
                f"{level_name(finding)}: {undecided:,} eval rows may match: "
                "the fingerprint neither finds a match nor rules it out",
            )
        for sentence in beside_sentences(finding):
            out(sentence)
        if finding.cut:
            kept, found = len(finding.matches), finding.match_count
            out(
                f"{finding.level}: evidence cut to the {kept:,} highest scores of {found:,} matches "
                "(--max-pairs); the counts are whole",
            )


def _by_level(findings: Findings) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    sides = [side for side in SIDES if side in findings.sides]
    for name in ("level", "status"):
        table.add_column(name, no_wrap=True)
    for side in sides:
        table.add_column(f"{side} rows matched", justify="right")
    table.add_column("pairs", justify="right")
    reviewed = findings.strange is not None
    if reviewed:
        table.add_column("set aside", justify="right")
    for finding in findings.levels.values():
        if finding.lacks:
            continue  # one line says so of all of them
        ran = finding.status != "not_checkable"
        name = level_name(finding)
        table.add_row(
            name,
            f"[{COLOURS[finding.status]}]{finding.status.replace('_', ' ')}[/]",
            *(_ratio(finding, side) if ran else "-" for side in sides),
            f"{finding.pairs:,}" if ran else "-",
            *([_set_aside(finding) if ran else "-"] if reviewed else []),
        )
    return table


def _ratio(finding: LevelFinding, side: Side) -> str:
    matched, rate = finding.matched(side), finding.rate(side)
    if matched is None:
        return "-"
    share = "" if rate is None else f" ({percent(rate)})"
    return f"{matched:,}/{finding.sides[side].checked:,}{share}"


def _set_aside(finding: LevelFinding) -> str:
    """Matched rows that do not count, of the side that decides."""
    count = set_aside_count(finding)
    return f"{count:,} rows" if count != 1 else "1 row"


def _by_file(findings: Findings, side: Side) -> Table:
    checked = [f for f in findings.levels.values() if f.status != "not_checkable" and side in f.sides]
    table = Table(
        box=SIMPLE_HEAD, pad_edge=False, title=f"{side} rows matched, by file", title_justify="left"
    )
    table.add_column("file")
    for finding in checked:
        table.add_column(finding.level, justify="right", no_wrap=True)
    for place, name in enumerate(findings.sides[side].names):
        counts = [finding.sides[side].files[place] for finding in checked]
        table.add_row(Name(name), *map(_file_ratio, counts))
    return table


def _by_rule(findings: Findings, finding: LevelFinding, by_rule: Mapping[str, Rows]) -> Table:
    title = f"eval rows that each rule calls leaked at {finding.level}, by file"
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    table.add_column("file")
    for rule in by_rule:
        table.add_column(RULES[rule].name, justify="right", no_wrap=True)
    info = findings.sides["eval"]
    counts = [count_by_file(rows, info.file_starts).tolist() for rows in by_rule.values()]
    for place, name in enumerate(info.names):
        table.add_row(Name(name), *(f"{of_rule[place]:,}" for of_rule in counts))
    return table


def _file_ratio(count: FileCount) -> str:
    if not count.checked:
        return "-"
    colour = "red" if count.matched else "green"
    return f"[{colour}]{count.matched:,}/{count.checked:,}[/]"
