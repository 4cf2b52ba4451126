"""What a scan prints."""

from __future__ import annotations

import json
from pathlib import Path

from lvmfast.report.leak_report import LeakReport
from lvmfast.report.sentences import closing_line, leaked_sentence, verdict_sentence


def render(report: LeakReport, out: str | Path | None, *, as_json: bool, quiet: bool) -> None:
    """Prints a scan: JSON alone, or the table, the verdict and the closing line."""
    if as_json:
        print(json.dumps(report.summary, indent=2, ensure_ascii=False))
        return
    if not quiet:
        from rich.console import Console

        from lvmfast.report.terminal import show

        console = Console()
        if report.findings.part is not None:
            print(verdict_sentence(report.findings))
            print(closing_line(report.findings))
            return
        show(report.findings, console)
        console.print(verdict_sentence(report.findings), highlight=False, markup=False, soft_wrap=True)
        if out is not None:
            nearest = "" if report.nearest is None else ", nearest.parquet"
            undecided = "" if report.undecided is None else ", undecided.parquet"
            files = f"report.html, summary.json, matches.parquet, matched_rows.parquet{nearest}{undecided}"
            console.print(f"Report: {out}/ {files}", highlight=False, markup=False, soft_wrap=True)
    if report.run.leaked:
        print(leaked_sentence(report.run.leaked))
    print(closing_line(report.findings))
