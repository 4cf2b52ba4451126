"""`merge`: the report of a scan from its parts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np

from lvmfast._core import __version__
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.errors import DataError, IncompleteError
from lvmfast.leaks.cuts import Cut, Span, unpack
from lvmfast.leaks.findings import Findings, Lacking, SideInfo
from lvmfast.leaks.journal import (
    FORM,
    INDEX,
    NAMED,
    RECORDS,
    RUN,
    check_same,
    digest_of,
    run_id,
    starts_of_files,
)
from lvmfast.leaks.named import named_rows
from lvmfast.parse import parse_json
from lvmfast.report.documents import matched_documents
from lvmfast.report.leak_report import LeakReport
from lvmfast.report.overlaps import overlaps
from lvmfast.report.record import environment
from lvmfast.report.summary import RunRecord, options_of
from lvmfast.report.tables import matches
from lvmfast.report.write import PART, SUMMARY
from lvmfast.scan.judged import judged_findings
from lvmfast.scan.running import Comparison, RunningLevels
from lvmfast.stores import Folder, folder

_KNOWN_BY = ("path", "bytes", "etag")


@dataclass(frozen=True)
class Part:
    """One part of a scan, as `leakscan` with a shard wrote it."""

    path: str
    place: Folder
    share: int
    run: Cut
    summary: dict[str, Any]
    headers: Mapping[str, Cut]  #: of the cuts, by name
    index: Cut  #: what was indexed
    named: Cut  #: the rows that a report may name

    def cut(self, name: str) -> Cut:
        """One of its cuts.

        Raises:
            DataError: it is not whole, or no longer the one that was there.
        """
        header, cut = _unpacked(self.path, self.place, name)
        if header != self.headers[name]:
            raise DataError(f"{self.path}: {PART}{name}: was written over while it was read")
        return cut


def merge(parts: Sequence[str | PathLike[str]]) -> LeakReport:
    """The report of the scan that `parts` are the shards of: that of one machine.

    Args:
        parts: folders or URIs, in any order, of all shards. The inputs need not be at hand.

    Raises:
        IncompleteError: a part is missing or not finished; the message names it.
        DataError: a part is there twice, or damaged, or parts are of different scans.

    Examples:
        >>> import lvmfast
        >>> from pathlib import Path
        >>> lines = "".join(f'{{"text": "the text of row {n} and no other"}}\\n' for n in range(40))
        >>> _ = Path("train.jsonl").write_text(lines)
        >>> for share in (1, 2):
        ...     part = lvmfast.leakscan("train.jsonl", ["the text of row 7 and no other"], levels=["text"],
        ...                             shard=(share, 2), out=f"part-{share}")
        ...     part.save(f"part-{share}")
        >>> lvmfast.merge(["part-1", "part-2"])
        <LeakReport LEAK: text=1/1>
    """
    opened = [_open(os.fspath(path)) for path in parts]
    if not opened:
        raise DataError("merge: no part was given")
    ordered = _all_of_one_scan(opened)
    first, run = ordered[0], ordered[0].run
    digest = digest_of(first.index)
    cuts = sorted(
        ((part, name, header) for part in ordered for name, header in part.headers.items()),
        key=lambda cut: cut[2]["spans"][0][:2],
    )
    for part, _, header in cuts:
        if header["index"] != digest:
            raise DataError(
                f"{part.path}: its evaluation set has the same file names as that of "
                f"{first.path}, but other rows"
            )
    headers = [header for *_, header in cuts]
    _check_blocks(ordered)
    spans = [Span(*span) for header in headers for span in header["spans"]]
    _check_contiguous([span for span in spans if span.block == 0], len(run["names"]["train"]))
    options = options_of(run["options"])
    starts = starts_of_files(headers, len(run["names"]["train"]))
    files: dict[Side, int] = {side: len(run["names"][side]) for side in ("train", "eval")}
    running = RunningLevels(Comparison(tuple(run["levels"]), "eval", 1, files, options))
    running.restore(first.index)
    for part, name, _ in cuts:
        running.fold(part.cut(name), starts)
    info: dict[Side, SideInfo] = {
        side: SideInfo(tuple(run["names"][side]), running.seen[side].count().file_rows) for side in SIDES
    }
    missing = {level: Lacking(**why) for level, why in run["missing"].items()}
    findings = judged_findings(Findings(running.findings(), info), missing, options)
    sides = named_rows([part.named for part in ordered], starts, run["columns"])
    record = RunRecord(
        _inputs([part.summary["inputs"] for part in ordered]),
        run["options"]["columns"],
        {**environment(options), "engine": "merge"},
        _timings([part.summary["timings"] for part in ordered]),
        tuple(run["leaked"]),
    )
    documents = matched_documents(findings, "eval", sides["eval"])
    stretches = overlaps(findings, sides)
    return LeakReport(findings, options, record, matches(findings, sides, stretches), stretches, documents)


def _open(path: str) -> Part:
    place = folder(path)
    if not place.exists(SUMMARY):
        raise IncompleteError(f"{path}: not finished: no {SUMMARY} there; run its command with --resume")
    summary = _summary(path, place)
    if summary.get("verdict") != "part" or not place.exists(PART + INDEX):
        raise DataError(f"{path}: no part of a scan: the verdict there is {summary.get('verdict')!r}")
    own, index = _unpacked(path, place, INDEX)
    of_rows, named = _unpacked(path, place, NAMED)
    run, _ = _unpacked(path, place, RUN + str(own.get("run")))
    headers = {name: _unpacked(path, place, name)[0] for name in own.get("cuts", ())}
    known = {own.get("run"), run_id(run), of_rows.get("run"), *(of.get("run") for of in headers.values())}
    if len(known) > 1 or own.get("by") != of_rows.get("by") or not _is_summary_of(summary, run):
        raise DataError(f"{path}: holds files of several scans; run the command of this part again")
    return Part(path, place, run["share"], run, summary, headers, index, named)


def _is_summary_of(summary: Mapping[str, Any], run: Cut) -> bool:
    """Whether a summary has the options and the input files of a scan."""
    for side in SIDES:
        told = [[file[key] for key in _KNOWN_BY] for file in summary["inputs"][side]["files"]]
        if told != [[file[key] for key in _KNOWN_BY] for file in run[side][: len(told)]]:
            return False
    return bool(summary["options"] == run["options"])


def _unpacked(path: str, place: Folder, name: str) -> tuple[Cut, Cut]:
    return unpack(f"{path}: {PART}{name}", place.read(PART + name))


def _summary(path: str, place: Folder) -> dict[str, Any]:
    try:
        summary = parse_json(path, place.read(SUMMARY), nan=False)
        if isinstance(summary, dict):
            return summary
    except ValueError:
        pass
    raise DataError(f"{path}: {SUMMARY}: expected a JSON object")


def _all_of_one_scan(parts: Sequence[Part]) -> list[Part]:
    """The parts by number.

    Raises:
        DataError, IncompleteError: as `merge`.
    """
    first = parts[0]
    if first.run["version"] != __version__:
        raise DataError(f"{first.path}: written by lvmfast {first.run['version']}, this is {__version__}")
    if first.run.get(FORM) != RECORDS:
        raise DataError(f"{first.path}: records in the form of an earlier lvmfast: scan its shards again")
    by_share: dict[int, Part] = {}
    for part in parts:
        asked = {name: value for name, value in first.run.items() if name != "share"}
        check_same(f"{part.path}: of another scan than {first.path}", part.run, asked)
        if part.share in by_share:
            also = by_share[part.share].path
            raise DataError(
                f"{part.path}: part {part.share} of {part.run['shards']} is there twice, also {also}"
            )
        by_share[part.share] = part
    shards = first.run["shards"]
    missing = [share for share in range(1, shards + 1) if share not in by_share]
    if missing:
        named = ", ".join(map(str, missing[:10])) + (" and more" if len(missing) > 10 else "")
        which = "part" if len(missing) == 1 else "parts"
        raise IncompleteError(f"merge: {which} {named} of {shards} missing; {len(by_share)} were given")
    return [by_share[share] for share in sorted(by_share)]


def _check_contiguous(spans: Sequence[Span], files: int) -> None:
    """Holds the pieces to be all of every file, each row once."""
    expected = (0, 0)
    for span in spans:
        if (span.file, span.start) != expected:
            raise DataError(f"merge: file {expected[0]} of the training side is not whole: a cut is missing")
        expected = (span.file + 1, 0) if span.stop is None else (span.file, span.stop)
    if expected != (files, 0):
        raise DataError(f"merge: file {expected[0]} of the training side is not whole: a cut is missing")


def _check_blocks(parts: Sequence[Part]) -> None:
    """Holds the pieces of each part to have gone by every block of the evaluation side."""
    for part in parts:
        spans = {Span(*span) for header in part.headers.values() for span in header["spans"]}
        blocks = max((header["blocks"] for header in part.headers.values()), default=1)
        first = {span for span in spans if span.block == 0}
        if spans != {replace(span, block=block) for span in first for block in range(blocks)}:
            raise DataError(f"{part.path}: a block of the evaluation side is not whole: a cut is missing")


def _inputs(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The inputs with the hash of every file, each from a part that read it."""
    merged = parts[0]
    for other in parts[1:]:
        for side, of_side in merged.items():
            for file, also in zip(of_side["files"], other[side]["files"], strict=True):
                file["blake3"] = file["blake3"] or also["blake3"]
    return merged


def _timings(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Seconds per phase, of all parts together."""
    phases = dict.fromkeys(phase for part in parts for phase in part)
    return {phase: float(np.sum([part.get(phase, 0.0) for part in parts])) for phase in phases}
