"""What a scan in pieces keeps, and what it found."""

from __future__ import annotations

from typing import Any

from lvmfast.corpus import Dataset
from lvmfast.leaks.findings import Findings
from lvmfast.report.summary import _level
from lvmfast.report.tables import matched_rows, matches, nearest_rows


def said(findings: Findings, sides: dict[str, Dataset]) -> list[Any]:
    """Everything that a report is made of."""
    nearest = nearest_rows(findings)
    return [
        {level: _level(finding) for level, finding in findings.levels.items()},
        {side: (info.names, info.file_rows.tolist()) for side, info in findings.sides.items()},
        {
            level: {side: [vars(f) for f in count.files] for side, count in finding.sides.items()}
            for level, finding in findings.levels.items()
        },
        matched_rows(findings).to_pylist(),
        matches(findings, sides).to_pylist(),  # type: ignore[arg-type]
        None if nearest is None else nearest.to_pylist(),
    ]
