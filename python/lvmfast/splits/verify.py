"""`verify`: does the certificate of a clean split still hold?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from lvmfast.corpus.budget import limited
from lvmfast.corpus.formats import format_of
from lvmfast.corpus.leftovers import CERTIFICATE, DECISIONS_KEPT
from lvmfast.corpus.paths import Expansion, Paths, expanded
from lvmfast.errors import DataError
from lvmfast.leaks.progress import Progress
from lvmfast.parse import as_documented
from lvmfast.report.leak_report import LeakReport
from lvmfast.report.progress import shows_progress
from lvmfast.report.summary import options_of
from lvmfast.splits.certificate import intact, read_certificate, stated_levels
from lvmfast.splits.closing import closing_scan
from lvmfast.stores import Folder, Identity, is_uri, joined, objects_under
from lvmfast.stores import folder as folder_at
from lvmfast.stores.staging import local_copy


@dataclass(frozen=True)
class Verification:
    """What was found out about a certificate."""

    certificate: Mapping[str, Any]
    failures: tuple[str, ...]  #: what does not hold, a sentence each
    missing: tuple[str, ...]  #: why a closing scan could not be repeated, a sentence each

    @property
    def verified(self) -> bool:
        """Whether all of it was checked again and holds."""
        return not self.failures and not self.missing


@shows_progress
@limited
def verify(
    directory: str | PathLike[str],
    *,
    train: Paths | None = None,
    eval: Paths | None = None,
    payload: Paths | None = None,
    train_payload: Paths | None = None,
    eval_payload: Paths | None = None,
    threads: int = 0,
    memory_limit: int | None = None,
    progress: Progress | bool = False,
) -> Verification:
    """Checks a folder that `clean` or `split` wrote: its certificate, its files, and the scans, run again.

    A side that is not in the folder, and payloads, are looked for where the certificate says they were.

    Args:
        directory: the folder with `clean.json`.
        train: where the training side is now, if it is not in the folder and was moved.
        eval: the same of the evaluation side.
        payload: where the texts of all sides are now, if they were moved.
        train_payload: those of train alone.
        eval_payload: those of eval alone.
        threads: 0 for one per available core.
        memory_limit: bytes; scans that would need more are refused.
        progress: True shows how far it is; or what is called as (phase, rows done, rows in all or None).

    Raises:
        DataError: no certificate, or one of another version; or a side was named that is in the folder.

    Examples:
        >>> import lvmfast
        >>> from pathlib import Path
        >>> lines = "".join(f'{{"text": "the text of row {n} and no other"}}\\n' for n in range(40))
        >>> _ = Path("data.jsonl").write_text(lines)
        >>> made = lvmfast.split("data.jsonl", out="divided", eval_docs=8)
        >>> lvmfast.verify("divided").verified
        True
        >>> _ = Path("divided/eval.jsonl").write_text('{"text": "another text"}\\n')
        >>> lvmfast.verify("divided").failures
        ('divided/eval.jsonl: not the bytes that were certified (BLAKE3 differs)',)
    """
    assert callable(progress)
    folder = folder_at(os.fspath(directory))
    certificate = read_certificate(folder)
    if not intact(certificate):
        return Verification(certificate, (f"{CERTIFICATE} was altered: its SHA-256 is another",), ())
    given = {"train": (train, train_payload), "eval": (eval, eval_payload)}
    with as_documented(joined(folder.path, CERTIFICATE)):
        for name, (path, _) in given.items():
            side = certificate["sides"].get(name)
            if path is not None and side is not None and _inside(side):
                raise DataError(f"--{name}: the certificate is for the {name} files in {folder.path}")
        found = {
            name: _find_side(folder, name, side, *given.get(name, (None, None)), payload, threads)
            for name, side in certificate["sides"].items()
        }
        failures = [*_check_folder(folder, certificate, threads)]
        failures += [failure for side in found.values() for failure in side.failures]
        missing = [reason for side in found.values() for reason in side.missing]
        if not failures and not missing:
            options = options_of(certificate["options"])
            options = replace(options, threads=threads, memory_limit=memory_limit)
            for scan in certificate["scans"]:
                sides = found[scan["train"]], found[scan["eval"]]
                with _decisions(folder, certificate) as decisions:
                    report = closing_scan(
                        (sides[0].source, sides[1].source),
                        (sides[0].payload, sides[1].payload),
                        options,
                        certificate["options"]["columns"],
                        decisions=decisions,
                        progress=progress,
                    )
                failures += _differences(report, scan, folder.path)
    return Verification(certificate, tuple(failures), tuple(missing))


@dataclass(frozen=True)
class _Side:
    """Where the files of one side are, and what is wrong with them."""

    source: Paths  #: its files, as a scan takes them
    payload: list[str] | None
    failures: list[str]
    missing: list[str]


@contextmanager
def _decisions(folder: Folder, certificate: Mapping[str, Any]) -> Iterator[str | None]:
    """Where the decisions lie that were applied; None where there were none."""
    if DECISIONS_KEPT not in certificate["beside"]:
        yield None
        return
    with local_copy(joined(folder.path, DECISIONS_KEPT)) as copy:
        yield copy


def _inside(side: Mapping[str, Any]) -> bool:
    return all(file["file"] is not None for file in side["files"])


def _find_side(
    folder: Folder,
    name: str,
    side: Mapping[str, Any],
    moved: Paths | None,
    own_payload: Paths | None,
    common_payload: Paths | None,
    threads: int,
) -> _Side:
    if _inside(side):
        paths = [joined(folder.path, file["file"]) for file in side["files"]]
    else:
        paths = _paths(moved, [file["path"] for file in side["files"]])
    found = _Side(moved if isinstance(moved, Expansion) else paths, None, [], [])
    _compare(found, name, f"--{name}", paths, side["files"], threads)
    if side["payload"] is not None:
        moved_payload = common_payload if own_payload is None else own_payload
        paths = _paths(moved_payload, [file["path"] for file in side["payload"]])
        _compare(found, f"the payload of {name}", "--payload", paths, side["payload"], threads)
        return replace(found, payload=paths)
    return found


def _paths(moved: Paths | None, stated: list[str]) -> list[str]:
    if moved is None:
        return stated
    found = expanded(moved)
    if found is None:
        raise DataError(f"expected paths of the files that were certified, got {type(moved).__name__}")
    return found.files


def _compare(
    found: _Side, what: str, option: str, paths: list[str], files: list[dict[str, Any]], threads: int
) -> None:
    """Holds files to the hashes of the certificate."""
    if len(paths) != len(files):
        found.failures.append(f"{what}: expected {len(files)} files, found {len(paths)}")
        return
    for path, file in zip(paths, files, strict=True):
        stated = Identity.stated({**file, "path": path})
        try:
            if not is_uri(path) and not os.path.isfile(path):
                raise DataError(f"{path}: no such file")
            here = Identity.of(path, threads) if stated.blake3 is None else Identity.read(path, threads)
        except DataError as error:
            if file.get("file") is not None:
                found.failures.append(str(error))
            else:
                found.missing.append(f"{what} cannot be found: {error}; say where it is with {option}")
            return
        same = here.same_as(stated)
        if same is None:
            found.missing.append(
                f"{what}: {path}: certified with {stated.told}, and there is {here.told} now"
            )
        elif not same:
            by = "ETag" if stated.blake3 is None else "BLAKE3"
            found.failures.append(f"{path}: not the bytes that were certified ({by} differs)")


def _check_folder(folder: Folder, certificate: Mapping[str, Any], threads: int) -> Iterator[str]:
    """What belongs to the folder beside data, and data that does not belong there."""
    for name, blake3 in certificate["beside"].items():
        path = joined(folder.path, name)
        if not folder.exists(name):
            yield f"{path}: no such file"
        elif Identity.read(path, threads).blake3 != blake3:
            yield f"{path}: not the bytes that were certified (BLAKE3 differs)"
    known = {file["file"] for side in certificate["sides"].values() for file in side["files"]}
    known |= {CERTIFICATE, *certificate["beside"]}
    for name in _names_below(folder.path):
        if format_of(name) and name not in known:
            yield f"{joined(folder.path, name)}: data that the certificate does not know"


def _names_below(folder: str) -> Iterator[str]:
    """Every file of a folder, at any depth, by its name in there."""
    if is_uri(folder):
        yield from (uri[len(folder.rstrip("/")) + 1 :] for uri in objects_under(folder))
        return
    for below, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(below, name).relative_to(folder).as_posix() for name in sorted(names))


def _differences(report: LeakReport, scan: Mapping[str, Any], folder: str) -> Iterator[str]:
    """What a scan now says, and the certificate says otherwise."""
    names = f"{scan['train']} and {scan['eval']}"
    # A certificate proves nothing of levels that there were not when it was written.
    levels = {name: finding for name, finding in report.levels.items() if name in scan["levels"]}
    verdict = replace(report.findings, levels=levels).verdict
    if verdict != scan["verdict"]:
        yield f"{names}: certified {scan['verdict']}, the scan now says {verdict}"
    now = stated_levels(report, folder)
    for level, stated in scan["levels"].items():
        for field, value in stated.items():
            found = now[level].get(field)
            if field != "reason" and found != value:
                yield f"{names}: {level}: certified {field} {value}, the scan now says {found}"
