"""What `clean` and `split` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvmfast.report.sentences import closing_line, no_match_sentence, verdict_sentence
from lvmfast.report.terminal import show
from lvmfast.shown import say, say_json, tell
from lvmfast.splits.certificate import ClosingScan
from lvmfast.splits.result import CleanSplit
from lvmfast.stores import joined


def show_split(result: CleanSplit, *, as_json: bool, quiet: bool) -> None:
    """Prints the sides, the closing scans and their closing lines; or the certificate alone."""
    if as_json and result.certificate is not None:
        say_json(result.certificate)
        return
    out = tell if as_json else say

    if result.certificate is not None and not quiet:
        for line in _made(result.certificate):
            out(line)
    for scan in result.scans:
        if not quiet:
            show(scan.report.findings, on_stderr=as_json)
            if scan is result.scans[0] or scan.report.findings.outcome != "clean":
                out(verdict_sentence(scan.report.findings))
        out(_closing(scan))
    if result.certificate is None:
        out(f"{result.folder}: not written: a closing scan still finds a leak")
    elif not quiet:
        certificate = joined(str(result.folder), "clean.json")
        out(f"Certified: {certificate}; `lvmfast verify {result.folder}` checks it again")


def _closing(scan: ClosingScan) -> str:
    names = (
        ""
        if scan.sides["eval"] == "eval" and scan.sides["train"] == "train"
        else (f"{scan.sides['train']} and {scan.sides['eval']}: ")
    )
    return names + closing_line(scan.report.findings)


def _made(certificate: Mapping[str, Any]) -> list[str]:
    if certificate["made_by"] == "clean":
        return _dropped(certificate)
    return _divided(certificate)


def _dropped(certificate: Mapping[str, Any]) -> list[str]:
    dropped = certificate["dropped"]
    side = dropped["side"]
    left = certificate["sides"][side]["rows"]
    by_level = ", ".join(f"{level} {rows:,}" for level, rows in dropped["levels"].items())
    rows = "1 row" if dropped["rows"] == 1 else f"{dropped['rows']:,} rows"
    lines = [f"{side}: dropped {rows} ({by_level or 'no match'}), {left:,} are left"]
    if review := certificate.get("review"):
        by_level = ", ".join(f"{level} {rows:,}" for level, rows in review["set_aside"].items())
        lines.append(f"{side}: rows that matched and stay, set aside by review: {by_level or 'none'}")
        lines += [f"{level}: no row set aside: {why}" for level, why in review["stays"].items()]
        if review["of_no_match"]:
            lines.append(no_match_sentence(review["of_no_match"]))
    if ignored := certificate.get("review_not_applied"):
        by_level = ", ".join(f"{level} {rows:,}" for level, rows in ignored.items())
        lines.append(
            f"{side}: rows that a review had set aside in the report were dropped, too ({by_level}); "
            "--decisions FILE keeps them"
        )
    if cut := certificate.get("cut"):  # those of earlier versions do not say
        lines.append(
            f"{side}: cut {cut['characters']:,} characters out of {cut['rows']:,} rows, which became "
            f"{cut['pieces']:,} pieces"
        )
        if lost := sum(cut["dropped"].values()):
            whole = "1 row was" if lost == 1 else f"{lost:,} rows were"
            lines[-1] += f"; {whole} dropped because too little was left, or too many pieces"
    lines += [f"{name}: nothing is left of it, so it was not written" for name in dropped["empty_files"]]
    return lines


def _divided(certificate: Mapping[str, Any]) -> list[str]:
    split = certificate["split"]
    what = "documents"
    lines = []
    if split["by"] is None:
        what = "rows"
        lines.append("no doc_id: each row is a document of its own; --by FIELD names what belongs together")
    for name, side in certificate["sides"].items():
        file = side["files"][0]["file"]
        counted = "" if what == "rows" else f"{split['documents'][name]:,} documents, "
        lines.append(f"{file}: {counted}{side['rows']:,} rows")
    if split["joined_components"]:
        lines.append(
            f"{split['joined_components']:,} sets of {what} share text or vectors; each was kept together"
        )
    kept = [
        (split["documents_too_small"], f"with fewer than {split['min_chunks_per_doc']} rows or no id"),
        (split["documents_with_answer"], "in which a row holds its own answer"),
    ]
    lines += [f"{n:,} {what} {why}, or joined to one: in train" for n, why in kept if n]
    for component in split["too_large"]:
        others = component["documents"] - len(component["examples"])
        names = ", ".join(component["examples"]) + (f" and {others:,} more" if others > 0 else "")
        lines.append(f"too large to hold out, in train: {names} ({component['rows']:,} rows)")
    unnamed = split["components_too_large"] - len(split["too_large"])
    return [*lines, *([f"and {unnamed:,} more that are too large"] if unnamed else [])]
