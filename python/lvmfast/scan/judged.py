"""A status for every level."""

from __future__ import annotations

from collections.abc import Mapping

from lvmfast.errors import DataError
from lvmfast.leaks.findings import Findings, Lacking, LevelFinding, judge
from lvmfast.leaks.options import LevelName as Level
from lvmfast.leaks.options import ScanOptions
from lvmfast.levels import LEVELS
from lvmfast.scan.checkable import no_rows, nothing_checkable


def judged_findings(found: Findings, missing: Mapping[Level, Lacking], options: ScanOptions) -> Findings:
    """What was found with a status for every level, those that could not run included.

    Raises:
        DataError: a side turned out to have no rows, or a level asked for by name no row to check.
    """
    for side, info in found.sides.items():
        if info.rows == 0:
            raise no_rows(side, info.names)
    judged: dict[Level, LevelFinding] = {}
    for level in LEVELS:
        if level in missing:
            why = missing[level]
            judged[level] = LevelFinding(level, "not_checkable", reason=why.reason, lacks=why.columns or None)
        elif level in found.levels:
            judged[level] = judge(found.levels[level], options.allow)
            if options.levels and judged[level].status == "not_checkable":
                raise DataError(f"level {level}: {judged[level].reason}")
    if all(finding.status == "not_checkable" for finding in judged.values()):
        raise nothing_checkable({level: finding.reason for level, finding in judged.items()})
    return Findings(judged, found.sides)
