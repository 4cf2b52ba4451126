"""What a scan says of each file, and at overlap of each evaluation item."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from lvmfast.corpus.plain import arrow_numbers, arrow_texts
from lvmfast.corpus.sides import Side
from lvmfast.leaks.findings import Findings, LevelFinding
from lvmfast.leaks.published import LENGTHS, rows_by_rule
from lvmfast.leaks.results import ItemsInTraining
from lvmfast.leaks.rules import OWN, RULES
from lvmfast.leaks.tally import Rows, count_by_file
from lvmfast.report.summary_types import FileSummary
from lvmfast.report.tables import MATCH, locate

ITEMS = pa.schema(
    [
        ("eval_file", pa.string()),
        ("eval_row", pa.int64()),
        ("tokens", pa.int64()),
        ("strength", pa.string()),
        ("coverage", pa.float64()),
        ("train_rows", pa.int64()),
        ("rules", pa.list_(pa.string())),
        ("coverage_anywhere", pa.float64()),
        ("longest_anywhere", pa.int64()),
    ]
)
#: Bins of a histogram of coverage: tenths, of which the last holds all of an item, too.
BINS = 10


def counts_by_file(findings: Findings) -> list[FileSummary]:
    """The part `files` of the summary."""
    files: list[FileSummary] = []
    for side, info in findings.sides.items():
        levels = {
            level: _counts(finding, side, info.file_starts)
            for level, finding in findings.levels.items()
            if side in finding.sides and finding.status != "not_checkable"
        }
        for place, name in enumerate(info.names):
            of_file = {level: counts[place] for level, counts in levels.items()}
            files.append({"side": side, "file": name, "rows": int(info.file_rows[place]), "levels": of_file})
    return files


def _counts(finding: LevelFinding, side: Side, starts: Rows) -> list[dict[str, Any]]:
    """What a level says of each file of a side."""
    count = finding.sides[side]
    unchecked = count.unchecked_by_file()
    known = finding.matched(side) is not None
    told: list[dict[str, Any]] = [
        {
            "checked": file.checked,
            "matched": file.matched if known else None,
            "unchecked": {reason: int(rows[place]) for reason, rows in unchecked.items() if rows[place]},
        }
        for place, file in enumerate(count.files)
    ]
    if finding.review is not None:
        for of_file, n in zip(told, count_by_file(count.set_aside, starts), strict=True):
            of_file["set_aside"] = int(n)
    if side == "train":
        return told
    for name, beside in finding.beside.items():
        if name not in RULES:
            for of_file, n in zip(told, count_by_file(beside.sides[side].matched_rows, starts), strict=True):
                of_file[name] = int(n)
    for rule, rows in rows_by_rule(finding).items():
        for of_file, n in zip(told, count_by_file(rows, starts), strict=True):
            of_file.setdefault("rules", {})[rule] = int(n)
    if finding.items is not None:
        ends = [*starts[1:].tolist(), len(finding.items.tokens)]
        for of_file, start, end in zip(told, starts.tolist(), ends, strict=True):
            of_file |= _anywhere(finding.items, slice(start, end))
    return told


def _anywhere(items: ItemsInTraining, rows: slice) -> dict[str, Any]:
    """Rows by how much of each stands in all training rows together."""
    tokens = items.tokens[rows]
    long = tokens >= LENGTHS[0]
    tenth = np.minimum(BINS * items.covered[rows][long] // tokens[long], BINS - 1)
    return {
        "coverage_anywhere": np.bincount(tenth, minlength=BINS).tolist(),
        "longest_anywhere": int(items.longest[rows].max(initial=0)),
    }


def items_table(findings: Findings) -> pa.Table | None:
    """What stands of each evaluation row in training, in order; None where no level looked for that."""
    finding = next((f for f in findings.levels.values() if f.items is not None), None)
    if finding is None or finding.items is None or finding.status == "not_checkable":
        return None
    items = finding.items
    rows = len(items.tokens)
    strength, coverage, held = np.zeros(rows, np.int64), np.full(rows, np.nan), np.zeros(rows, np.int64)
    own = finding.beside.get(OWN, finding).sides["eval"]
    short = finding.beside["short"]
    for place, count, holders in ((1, short.sides["eval"], short.holders), (2, own, finding.holders)):
        strength[count.matched_rows], coverage[count.matched_rows] = place, count.best
        if holders is not None:
            held[holders.eval_row] = holders.train_rows
    by_rule = np.zeros((rows, len(RULES)), np.bool_)
    for place, leaked in enumerate(rows_by_rule(finding).values()):
        by_rule[leaked, place] = True
    ends = np.concatenate([[0], np.cumsum(by_rule.sum(axis=1))]).astype(np.int32)
    few = items.tokens < LENGTHS[0]
    columns = (
        *locate(np.arange(rows), findings.sides["eval"]),
        arrow_numbers(items.tokens),
        arrow_texts(["", "short", MATCH], strength, strength == 0),
        arrow_numbers(coverage, strength == 0),
        arrow_numbers(held),
        pa.ListArray.from_arrays(arrow_numbers(ends), arrow_texts(list(RULES), np.nonzero(by_rule)[1])),
        arrow_numbers(items.covered / np.maximum(items.tokens, 1), few),
        arrow_numbers(items.longest, few),
    )
    return pa.table(list(columns), schema=ITEMS)
