"""What a scan prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lvmfast.cli.formats import Format, say_checked
from lvmfast.report.leak_report import LeakReport
from lvmfast.report.sentences import closing_line, leaked_sentence, verdict_sentence
from lvmfast.shown import say, say_json

if TYPE_CHECKING:
    from lvmfast.report.checks import Checked


def render(report: LeakReport, out: str | Path | None, *, format: Format, quiet: bool) -> None:
    """Prints a scan: in the format of a program alone, or the table, the verdict and the closing line."""
    if format is Format.json:
        say_json(report.summary)
        return
    if say_checked(format, lambda: _checked(report)):
        return
    if not quiet:
        from lvmfast.report.terminal import show

        if report.findings.part is not None:
            say(verdict_sentence(report.findings))
            say(closing_line(report.findings))
            return
        show(report.findings)
        say(verdict_sentence(report.findings))
        if out is not None:
            more = {
                "overlaps": report.overlaps,
                "items": report.items,
                "nearest": report.nearest,
                "undecided": report.undecided,
                "set_aside": report.set_aside,
                "decided": report.decided,
            }
            tables = "".join(f", {name}.parquet" for name, table in more.items() if table is not None)
            files = f"report.html, summary.json, matches.parquet, matched_rows.parquet{tables}"
            say(f"Report: {out}/ {files}")
    if report.run.leaked:
        say(leaked_sentence(report.run.leaked))
    say(closing_line(report.findings))


def _checked(report: LeakReport) -> Checked:
    from lvmfast.report.checks import checks_of_scan

    return checks_of_scan(report.summary, report.matches, report.decided)
