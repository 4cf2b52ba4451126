"""What a scan in pieces keeps, and what it found."""

from __future__ import annotations

from typing import Any

from lvmfast.corpus import Dataset
from lvmfast.leaks.findings import Findings
from lvmfast.report.summary import _level
from lvmfast.report.tables import matched_rows, matches, nearest_rows


class Memory:
    """A folder that is no disk."""

    path = "memory"

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def ensure(self) -> None: ...

    def write(self, name: str, data: bytes) -> None:
        self._files[name] = data

    def read(self, name: str) -> bytes:
        return self._files[name]

    def exists(self, name: str) -> bool:
        return name in self._files

    def names(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self._files if name.startswith(prefix))

    def remove(self, name: str) -> None:
        self._files.pop(name, None)


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
