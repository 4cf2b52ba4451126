"""`clean.json`: what a clean split states of itself, so that anyone who has the files can check it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from lvmfast import _core
from lvmfast.corpus.leftovers import CERTIFICATE
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.durable import write_text
from lvmfast.errors import DataError
from lvmfast.leaks.findings import outcome_of
from lvmfast.parse import Fields, as_documented, parse_json
from lvmfast.report.leak_report import LeakReport
from lvmfast.stores import Folder, Identity, joined

CERTIFICATE_VERSION = 1

#: What the certificate repeats of a level of the closing scan; all its counts of matches are zero, but for
#: those that a review set aside, which are told beside them.
LEVEL_FIELDS = ("status", "reason", "threshold", *(f"{side}_rows_checked" for side in SIDES), "unchecked")


@dataclass(frozen=True)
class ClosingScan:
    """A scan of two sides of the result."""

    sides: Mapping[Side, str]  #: which side of the split stood on each side of the scan
    report: LeakReport

    def told_of(self, staged: Path, place: str | PathLike[str]) -> ClosingScan:
        """The same scan; what people read of it names files of the folder `staged` where they come to be."""

        def named(text: str) -> str:
            return text.replace(str(staged), fspath(place))

        findings = self.report.findings
        sides = {
            side: replace(info, names=tuple(map(named, info.names))) for side, info in findings.sides.items()
        }
        levels = {
            level: replace(found, reason=found.reason and named(found.reason))
            for level, found in findings.levels.items()
        }
        return replace(
            self, report=replace(self.report, findings=replace(findings, sides=sides, levels=levels))
        )


def told_of(
    scans: Sequence[ClosingScan], staged: Path, place: str | PathLike[str]
) -> tuple[ClosingScan, ...]:
    """The same scans; what people read of them names files of the folder `staged` where they come to be."""
    return tuple(scan.told_of(staged, place) for scan in scans)


def certificate_of(
    made_by: str,
    scans: Sequence[ClosingScan],
    folder: Path,
    beside: Sequence[str],
    details: Mapping[str, Any],
    threads: int,
) -> dict[str, Any]:
    """The certificate of the split in `folder`, whose closing scans all passed.

    Args:
        made_by: the command.
        scans: at least one; together they name every side.
        folder: holds the files of at least one side.
        beside: names of files in it that are no data but belong to it.
        details: what else there is to say: what was dropped, or how the sides were chosen.
        threads: 0 for one per available core.
    """
    sides: dict[str, Any] = {}
    for scan in scans:
        for role, name in scan.sides.items():
            sides[name] = _side(scan.report.summary, role, folder)
    return sealed(
        {
            "certificate_version": CERTIFICATE_VERSION,
            "made_by": made_by,
            "version": _core.__version__,
            "sides": sides,
            "scans": [
                {
                    **scan.sides,
                    "verdict": scan.report.findings.verdict,
                    "levels": stated_levels(scan.report, folder),
                }
                for scan in scans
            ],
            "options": scans[0].report.summary["options"],
            **details,
            "beside": {name: _core.blake3_file(folder / name, threads) for name in beside},
        }
    )


def stated_levels(report: LeakReport, folder: str | PathLike[str]) -> dict[str, Any]:
    """What a certificate repeats of a scan, level by level; files of `folder` without it."""
    levels: Mapping[str, Mapping[str, Any]] = report.summary["levels"]
    stated = {level: {name: found[name] for name in LEVEL_FIELDS} for level, found in levels.items()}
    for name, level in stated.items():
        if "review" in levels[name]:
            level["set_aside"] = levels[name]["review"]["set_aside"]
        level["reason"] = level["reason"] and level["reason"].replace(f"{fspath(folder).rstrip('/')}/", "")
    return stated


def _side(summary: Mapping[str, Any], role: Side, folder: Path) -> dict[str, Any]:
    stated = summary["inputs"][role]
    rows = [file["rows"] for file in summary["files"] if file["side"] == role]
    files = []
    for file, count in zip(stated["files"], rows, strict=True):
        path = Path(file["path"])
        inside = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else None
        where = {"file": inside, "path": file["path"] if inside is None else None}
        files.append({**where, "rows": count, **Identity.stated(file).fields()})
    payload = stated["payload"] and [
        {"path": file["path"], **Identity.stated(file).fields()} for file in stated["payload"]["files"]
    ]
    return {"rows": sum(rows), "files": files, "payload": payload}


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """`content` with the SHA-256 of all of it: damage shows. It is no signature; anyone can make one."""
    plain = {key: value for key, value in content.items() if key != "sha256"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return {**plain, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def write_certificate(folder: Path, certificate: Mapping[str, Any]) -> None:
    """Puts the certificate into `folder`.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(certificate, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(folder / CERTIFICATE, text)


def intact(certificate: Mapping[str, Any]) -> bool:
    """Whether the certificate is as it was written."""
    return bool(certificate.get("sha256") == sealed(certificate)["sha256"])


def read_certificate(folder: Folder) -> dict[str, Any]:
    """The certificate of `folder`, as it stands there; whether it is `intact` is another question.

    Raises:
        DataError: there is none, it is no certificate, or it is of another version.
    """
    path = joined(folder.path, CERTIFICATE)
    if not folder.exists(CERTIFICATE):
        raise DataError(f"{path}: no such file; `lvmfast clean` and `lvmfast split` write it")
    content = parse_json(path, folder.read(CERTIFICATE), nan=False)
    version = content.get("certificate_version") if isinstance(content, dict) else None
    if version != CERTIFICATE_VERSION:
        raise DataError(f"{path}: expected certificate_version {CERTIFICATE_VERSION}, found {version}")
    with as_documented(path):
        if intact(content):
            _check_names(path, content)
            _check_scans(path, content)
    return dict(content)


def _check_scans(path: str, content: Mapping[str, Any]) -> None:
    """A certificate without a scan, or of a scan without a level, would be verified by doing nothing."""
    scans = Fields(path, content).list("scans")
    for place, scan in enumerate(scans):
        stated = Fields(f"{path}: scans: {place}", scan)
        levels = stated.fields("levels")
        states = [levels.fields(level).text("status") for level in levels.values]
        if outcome_of(stated.text("verdict")) == "clean" and not {"clean", "reviewed"}.intersection(states):
            raise DataError(f"{levels.where}: expected a level that is clean, as the verdict is")
    if not scans:
        raise DataError(f"{path}: scans: expected the scans that were certified, got none")


def _check_names(path: str, content: Mapping[str, Any]) -> None:
    names = [file["file"] for side in content["sides"].values() for file in side["files"]]
    for name in (*names, *content["beside"]):
        if name is not None and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise DataError(f"{path}: {name!r}: expected a name inside the folder")
