"""What a saved scan says of a file that is to be quarantined, and the entry that the manifest keeps of it."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import Any

from lvmfast import _core
from lvmfast.errors import DataError
from lvmfast.report.saved import SavedScan, ScannedFile
from lvmfast.report.write import SUMMARY
from lvmfast.stores import Identity, file_info, is_uri, joined


def check_leaky(file: str, named: bool, scan: SavedScan, scanned: ScannedFile, force: bool) -> None:
    """Returns where a file may be quarantined.

    Raises:
        DataError: it was named and did not leak, or is a training file, too; and there is no `force`.
    """
    if force:
        return
    if named and not leaked_levels(scan, scanned):
        raise DataError(
            f"{file}: {scan.name} found it {_not_leaky(scanned)}; --force quarantines it in spite of this"
        )
    same = (train.name for train in scan.files("train") if train.identity.same_as(scanned.identity))
    if (twin := next(same, None)) is not None:
        raise DataError(
            f"{file}: has the content of the training file {twin}, which would be refused as well; "
            "remove this copy, or quarantine it with --force"
        )


def leaked_levels(scan: SavedScan, file: ScannedFile) -> list[str]:
    """The levels at which a file matched more than was allowed."""
    return [level for level in file.matched_levels if scan.summary["levels"][level]["status"] == "leak"]


def _not_leaky(file: ScannedFile) -> str:
    if not file.matched_levels:
        aside = [level for level, count in file.levels.items() if count["set_aside"]]
        return f"clean, reviewed (rows set aside at {', '.join(aside)})" if aside else "clean"
    return f"to match within the allowed rates ({', '.join(file.matched_levels)})"


def entry_of(
    name: str, original: str, content: Identity, scan: SavedScan, scanned: ScannedFile
) -> dict[str, Any]:
    """The entry of a manifest, for a file or object of that content which lay at `original`."""
    levels = scan.summary["levels"]
    forced = None
    if not leaked_levels(scan, scanned):
        forced = f"the scan found it {_not_leaky(scanned)}"
    return {
        "file": name,
        "original_path": original,
        "bytes": content.nbytes,
        "blake3": content.blake3,
        "rows": scanned.rows,
        "quarantined_at": _time(datetime.now(timezone.utc).timestamp()),
        "version": _core.__version__,
        "verdict": scan.summary["verdict"],
        "forced": forced,
        "pending": None,
        "levels": {
            level: _rates(levels[level], count["checked"], count["matched"])
            for level, count in scanned.levels.items()
        },
        "scan": {
            "report": scan.name if is_uri(scan.name) else os.path.realpath(scan.name),
            "found_at": _found_at(scan),
            "version": scan.summary["environment"]["version"],
            "levels": {
                level: _rates(
                    levels[level], levels[level]["eval_rows_checked"], levels[level]["eval_rows_matched"]
                )
                for level in scanned.levels
            },
            "train": [
                {"path": train.name, "bytes": train.identity.nbytes, "blake3": train.identity.blake3}
                for train in scan.files("train")
            ],
        },
    }


def _rates(level: dict[str, Any], checked: int, matched: int) -> dict[str, Any]:
    return {
        "status": level["status"],
        "threshold": level["threshold"],
        "checked": checked,
        "matched": matched,
        "rate": matched / checked if checked else None,
    }


def _found_at(scan: SavedScan) -> str | None:
    """When the scan was written; of one in a store in the words of the store."""
    summary = joined(scan.name, SUMMARY)
    return file_info(summary).modified if is_uri(summary) else _time(os.stat(summary).st_mtime)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
