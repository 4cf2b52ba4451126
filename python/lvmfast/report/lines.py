"""In which line of its file a row stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Lines:
    """The lines of the rows of a scan, as far as its summary knows them."""

    def __init__(self, summary: Mapping[str, Any]) -> None:
        """Takes the contents of `summary.json`."""
        self._sides = summary["inputs"]
        self._first = {
            (side, file["path"]): file.get("first_line")
            for side, of_side in summary["inputs"].items()
            for file in of_side["files"]
        }

    def first(self, side: str, file: str) -> int | None:
        """The line (from 1) of the first row of a file; None where rows do not stand one a line."""
        return self._first.get((side, file))

    def of(self, match: Mapping[str, Any], side: str) -> int | None:
        """The line (from 1) of a match's row on a side; None where rows do not stand one a line."""
        of_file = side if side in self._sides else "train"  # inside one split
        first = self.first(of_file, match[f"{side}_file"])
        return None if first is None else int(match[f"{side}_row"]) + int(first)

    def named(self, match: Mapping[str, Any], side: str) -> str:
        """The row of a match on a side, for people: ``train.jsonl, line 8 (row 7)``."""
        line = self.of(match, side)
        row = f"row {match[f'{side}_row']:,}"
        where = row if line is None else f"line {line:,} ({row})"
        return f"{match[f'{side}_file']}, {where}"
