"""`summary.json`: everything a program wants to know of a scan, held to `docs/summary.schema.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from lvmfast.corpus.columns import ColumnsOfSides
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.leaks.findings import Findings, LevelFinding, Verdict
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.published import rows_by_rule
from lvmfast.leaks.rules import RULES
from lvmfast.report.documents import MatchedDocuments
from lvmfast.report.files import counts_by_file
from lvmfast.report.nearest import distribution
from lvmfast.report.sentences import verdict_sentence
from lvmfast.report.summary_types import LevelSummary, Summary

SCHEMA_VERSION = 1
#: On whatever was made from a quarantined file.
STAMP = "LEAKED"

EXIT_CODES: Mapping[Verdict, int] = {
    "clean": 0,
    "clean, reviewed": 0,
    "allowed": 0,
    "allowed, reviewed": 0,
    "part": 0,
    "leak": 1,
    "leak, reviewed": 1,
    "incomplete": 3,
    "incomplete, reviewed": 3,
}


@dataclass(frozen=True)
class RunRecord:
    """How a scan was run: what it read, on what, and for how long."""

    inputs: Mapping[str, Any]
    columns: ColumnsOfSides
    environment: Mapping[str, Any]
    timings: Mapping[str, float]
    leaked: tuple[str, ...] = ()  #: quarantined files that it read all the same
    records: str = ""  #: what its records in a folder are known by; empty where it kept none


def summarize(
    findings: Findings, options: ScanOptions, run: RunRecord, documents: MatchedDocuments | None
) -> Summary:
    """The summary as plain JSON values."""
    verdict = findings.verdict
    summary: Summary = {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict,
        "exit_code": EXIT_CODES[verdict],
        "sentence": verdict_sentence(findings),
        "stamp": STAMP if run.leaked else None,
        "leaked_inputs": list(run.leaked),
        "levels": {level: _level(finding) for level, finding in findings.levels.items()},
        "documents": None if documents is None else documents.described(findings),
        "files": counts_by_file(findings),
        "inputs": dict(run.inputs),
        "options": summarized_options(options, run.columns),
        "environment": dict(run.environment),
        "timings": {phase: round(seconds, 6) for phase, seconds in run.timings.items()},
    }
    if findings.strange is not None:
        summary["review"] = {"decided": findings.decided, "of_no_match": findings.strange}
    return summary


def _level(finding: LevelFinding) -> LevelSummary:
    level: dict[str, Any] = {
        "status": finding.status,
        "reason": finding.reason,
        **({} if finding.lacks is None else {"lacks": finding.lacks}),
        "threshold": finding.threshold,
        "pairs": finding.pairs,
    }
    for side in SIDES:
        level |= _side(side, finding)
    level["unchecked"] = {side: dict(count.unchecked) for side, count in finding.sides.items()}
    if finding.keys is not None:
        level |= {f"{side}_keys": finding.keys[side] for side in SIDES}
        level["shared_keys"] = finding.shared_keys
    if finding.pairs_at:
        level["histogram"] = [{"cosine": edge, "pairs": n} for edge, n in finding.pairs_at.items()]
    for name, beside in finding.beside.items():
        if name not in RULES:
            level[name] = {f"{side}_rows": count.matched for side, count in beside.sides.items()}
    if by_rule := rows_by_rule(finding):
        level["rules"] = {rule: len(rows) for rule, rows in by_rule.items()}
    if finding.rule is not None:
        level["rule"] = finding.rule
    if finding.continued is not None:
        level["joined_rows"] = finding.continued
    if finding.undecided is not None:
        level["eval_rows_undecided"] = len(finding.undecided.rows)
    if finding.padding is not None:
        level["padding"] = dict(finding.padding)
    if finding.nearest is not None:
        level["nearest"] = distribution(finding.nearest)
    level["evidence"] = {"found": finding.match_count, "kept": len(finding.matches)}
    if finding.review is not None:
        level["review"] = {
            **finding.review.counts,
            "set_aside": {
                "pairs": finding.review.pairs,
                **{f"{side}_rows": finding.set_aside(side) for side in finding.sides},
            },
            "stays": finding.review.stays,
        }
    return cast(LevelSummary, level)


def _side(side: Side, finding: LevelFinding) -> dict[str, Any]:
    count = finding.sides.get(side)
    return {
        f"{side}_rows_checked": count.checked if count else None,
        f"{side}_rows_unchecked": sum(count.unchecked.values()) if count else None,
        f"{side}_rows_matched": finding.matched(side),
        f"{side}_rate": finding.rate(side),
    }


def summarized_options(options: ScanOptions, columns: ColumnsOfSides) -> dict[str, Any]:
    """The part `options` of the summary: what changes the answer."""
    return {
        "levels": list(options.levels) if options.levels else None,
        "threshold": options.threshold,
        "normalize": options.normalize,
        "min_chars": options.min_chars,
        "max_df": options.max_df,
        "overlap_rule": options.overlap_rule,
        "overlap_short": options.overlap_short,
        "join_chunks": options.join_chunks,
        "encoder": options.encoder,
        "nearest": options.nearest,
        "max_pairs": options.max_pairs,
        "allow": dict(options.allow),
        "columns": dict(columns),
    }


#: Options that earlier summaries and certificates lack: those scans were as their defaults are.
LATER = ("overlap_rule", "overlap_short", "join_chunks", "encoder")


def options_of(summarized: Mapping[str, Any]) -> ScanOptions:
    """The options that `summarized_options` told of: those that change the answer."""
    names = [name for name in summarized_options(ScanOptions(), {}) if name != "columns"]
    given = {name: summarized[name] for name in names if name in summarized or name not in LATER}
    return ScanOptions(**{**given, "levels": tuple(given["levels"]) if given["levels"] else None})
