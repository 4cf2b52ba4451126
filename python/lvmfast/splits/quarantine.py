"""Quarantine: leaked files out of the way, back again, and what lies there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

from lvmfast.corpus.failures import one_line
from lvmfast.corpus.paths import expand
from lvmfast.corpus.quarantined import (
    MANIFEST,
    QUARANTINE,
    WARNING,
    QuarantinedFile,
    Quarantines,
    read_manifest,
)
from lvmfast.durable import flush
from lvmfast.errors import DataError, reason
from lvmfast.report.saved import SavedScan, ScannedFile
from lvmfast.splits.leaky import check_leaky, entry_of, leaked_levels
from lvmfast.splits.manifest import drop, locked, put, write_manifest
from lvmfast.splits.move import holds, move
from lvmfast.splits.stored_quarantine import (
    QuarantinedObject,
    quarantine_objects,
    quarantined_objects,
    restore_object,
    resume_objects,
)
from lvmfast.stores import is_uri


@dataclass(frozen=True)
class Quarantine:
    """What `quarantine` did: the files that lie in quarantine now, and those that it found clean and left."""

    moved: tuple[QuarantinedFile | QuarantinedObject, ...]
    clean: tuple[Path | str, ...]


def quarantine(
    paths: str | PathLike[str] | Sequence[str | PathLike[str]],
    report: str | PathLike[str],
    *,
    into: str | PathLike[str] = QUARANTINE,
    force: bool = False,
    ignore: Sequence[str] = (),
) -> Quarantine:
    """Moves evaluation files that a saved scan found leaky to where no one uses them by accident.

    All files are checked before the first is moved. A file that is named must have leaked; of a folder or a
    quoted glob those files move that leaked, each on its own.

    Args:
        paths: evaluation files, folders, quoted globs.
        report: the folder of the scan, ``lvmfast leakscan --out``.
        into: the quarantine; a relative one lies beside each file.
        force: move files that did not leak, too.
        ignore: globs of names that folders and globs hold beside the files, as for `leakscan`.

    Raises:
        DataError: the report is not about these files, is incomplete or of another schema version; a named
            file did not leak; a path is a symbolic link; another file has its name in the quarantine; or a
            folder cannot be written. A file whose move failed lies where it lay.

    Examples:
        >>> import lvmfast
        >>> from pathlib import Path
        >>> line = '{"text": "a text of the training set"}\\n'
        >>> _ = Path("train.jsonl").write_text(line)
        >>> _ = Path("eval.jsonl").write_text(line + '{"text": "a question that nobody has seen"}\\n')
        >>> lvmfast.leakscan("train.jsonl", "eval.jsonl", levels=["text"]).save("report")

        >>> moved = lvmfast.quarantine("eval.jsonl", "report")
        >>> Path("eval.jsonl").exists(), len(lvmfast.quarantined())
        (False, 1)
    """
    given = [paths] if isinstance(paths, (str, PathLike)) else list(paths)
    scan = SavedScan.open(report)
    scan.require_complete()
    if any(map(is_uri, given)):
        uris = [os.fspath(path) for path in given]
        return Quarantine(*quarantine_objects(uris, scan, os.fspath(into), force=force, ignore=ignore))
    found = [pair for path in given for pair in _scanned(os.fspath(path), scan, force, ignore)]
    leaky = {file: scanned for file, scanned in found if force or leaked_levels(scan, scanned)}
    if not leaky:
        names = ", ".join([os.fspath(path) for path in given])
        raise DataError(f"{names}: no file there leaked; --force moves clean files, too")
    targets = _targets(list(leaky), into)
    entries = [
        QuarantinedFile(targets[file].parent, entry_of(file.name, str(file), scanned.identity, scan, scanned))
        for file, scanned in leaky.items()
    ]
    for entry in entries:
        _check_target(entry)
    return Quarantine(tuple(map(_put_away, entries)), tuple(file for file, _ in found if file not in leaky))


def restore(file: str | PathLike[str]) -> Path | str:
    """Moves a quarantined file back to where it lay, and returns that path.

    Raises:
        DataError: it is not in a manifest, its content changed, another file has taken its place, the folder
            it lay in is gone, or its move was cut off.

    Examples:
        >>> import lvmfast
        >>> from pathlib import Path
        >>> line = '{"text": "a text of the training set"}\\n'
        >>> _ = Path("train.jsonl").write_text(line)
        >>> _ = Path("eval.jsonl").write_text(line + '{"text": "a question that nobody has seen"}\\n')
        >>> lvmfast.leakscan("train.jsonl", "eval.jsonl", levels=["text"]).save("report")

        >>> moved = lvmfast.quarantine("eval.jsonl", "report")
        >>> (entry,) = lvmfast.quarantined()
        >>> lvmfast.restore(entry.path).name
        'eval.jsonl'
    """
    if is_uri(file):
        return restore_object(os.fspath(file))
    path = Path(os.path.realpath(os.path.dirname(os.path.abspath(file))), os.path.basename(file))
    with _writing(path.parent), locked(path.parent):
        entry = next((e for e in read_manifest(path.parent) or () if e.path == path), None)
        if entry is None:
            raise DataError(f"{file}: not quarantined: no entry in {path.parent / MANIFEST}")
        if entry.pending:
            raise _cut_off(entry)
        if not holds(path, entry.content):
            raise DataError(
                f"{file}: expected BLAKE3 {entry.content[1]} as in {MANIFEST}, its content is another"
            )
        if os.path.lexists(entry.original):
            raise DataError(f"{file}: cannot go back to {entry.original}: another file is there")
        if not entry.original.parent.is_dir():
            raise DataError(f"{file}: cannot go back to {entry.original}: that folder is gone")
        _journalled(_pending(entry, "restore"))
    return entry.original


def resume(folder: str | PathLike[str]) -> tuple[QuarantinedFile | QuarantinedObject, ...]:
    """Finishes the moves in the quarantine `folder` that a crash cut off, and returns their entries.

    Raises:
        DataError: `folder` is no quarantine, cannot be written, or a file is in neither of its two places.

    Examples:
        >>> import lvmfast
        >>> lvmfast.resume_quarantine("leaked")  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        lvmfast.errors.DataError: leaked: no such folder
    """
    if is_uri(folder):
        return resume_objects(os.fspath(folder))
    path = Path(os.path.realpath(folder))
    if read_manifest(path) is None:
        raise DataError(f"{folder}: no quarantine there (no {MANIFEST} of one)")
    with _writing(path), locked(path):
        begun = tuple(entry for entry in read_manifest(path) or () if entry.pending)
        for entry in begun:
            _finish(entry)
        write_manifest(path, read_manifest(path) or ())  # the warning may be older than the manifest
    return begun


def quarantined(folder: str | PathLike[str] = ".") -> tuple[QuarantinedFile | QuarantinedObject, ...]:
    """The entries of every quarantine that counts for files of `folder`, nearest first.

    Raises:
        DataError: there is no such folder, or a manifest is broken.

    Examples:
        >>> import lvmfast
        >>> lvmfast.quarantined(".")
        ()
    """
    if is_uri(folder):
        return quarantined_objects(os.fspath(folder))
    if not os.path.isdir(folder):
        raise DataError(f"{os.fspath(folder)}: no such folder")
    return tuple(Quarantines().entries_near(folder))


def _scanned(
    path: str, scan: SavedScan, force: bool, ignore: Sequence[str]
) -> Iterator[tuple[Path, ScannedFile]]:
    """The files behind one path, each where it really lies, with what the scan says of it."""
    named = os.path.lexists(path) and not os.path.isdir(path)
    for file in expand([path], ignore).files:
        if os.path.islink(file):
            raise DataError(
                f"{file}: a symbolic link; quarantine what it points to: {os.path.realpath(file)}"
            )
        (scanned,) = scan.check_inputs("eval", [file])
        check_leaky(file, named, scan, scanned, force)
        yield Path(os.path.realpath(file)), scanned


def _targets(files: Sequence[Path], into: str | PathLike[str]) -> dict[Path, Path]:
    targets = {file: Path(os.path.realpath(file.parent / into)) / file.name for file in files}
    taken: dict[Path, Path] = {}
    for file, target in targets.items():
        if file == target:
            raise DataError(f"{file}: is in that quarantine already")
        if file.name in (MANIFEST, WARNING):
            raise DataError(f"{file}: {file.name} is a name that the quarantine needs")
        if target in taken:
            raise DataError(f"{file}: would take the place of {taken[target]} in {target.parent}")
        taken[target] = file
    return targets


def _check_target(entry: QuarantinedFile) -> None:
    entries = read_manifest(entry.folder)
    if entries is None and os.path.lexists(entry.folder / MANIFEST):
        raise DataError(
            f"{entry.folder}: {MANIFEST} there is no quarantine's; give another folder with --into"
        )
    for other in entries or ():
        if other.pending:
            raise _cut_off(other)
        if other.path == entry.path and other.content != entry.content:
            raise DataError(f"{entry.original}: another file of that name is quarantined in {entry.folder}")
    if os.path.lexists(entry.path) and not holds(entry.path, entry.content):
        raise DataError(f"{entry.original}: another file is at {entry.path}")


def _cut_off(entry: QuarantinedFile) -> DataError:
    return DataError(
        f"{entry.path}: its {entry.pending} was cut off; finish it first: "
        f"lvmfast quarantine --resume --into {entry.folder}"
    )


def _put_away(entry: QuarantinedFile) -> QuarantinedFile:
    with _writing(entry.folder), _given_up(entry.folder):
        if not entry.folder.is_dir():
            entry.folder.mkdir(parents=True, exist_ok=True)
            flush(entry.folder.parent)
        with locked(entry.folder):
            _check_target(entry)  # again: another process may have been here since
            here = next((e for e in read_manifest(entry.folder) or () if e.path == entry.path), None)
            if here is not None:  # a copy of what is quarantined under the same name: it has its entry
                move(entry.original, here.path, here.content)
                return here
            _journalled(_pending(entry, "quarantine"))
    return entry


def _pending(entry: QuarantinedFile, action: str | None) -> QuarantinedFile:
    return replace(entry, entry={**entry.entry, "pending": action})


def _journalled(begun: QuarantinedFile) -> None:
    """The manifest is the journal: the entry says what is under way before anything moves, and until it has.

    So the content is known as leaked at every moment, and `resume` knows from where to where it goes.
    """
    source = begun.original if begun.pending == "quarantine" else begun.path
    try:
        put(begun)
        _finish(begun)
    except BaseException:
        # What did not move needs no resuming; what did move stays in the manifest as begun.
        if holds(source, begun.content):
            if begun.pending == "quarantine":
                drop(begun)
            else:
                put(_pending(begun, None))
        raise


def _finish(begun: QuarantinedFile) -> None:
    if begun.pending == "quarantine":
        move(begun.original, begun.path, begun.content)
        put(_pending(begun, None))
    else:
        move(begun.path, begun.original, begun.content)
        drop(begun)


@contextmanager
def _given_up(folder: Path) -> Iterator[None]:
    """A quarantine that came to be within the block and holds nothing goes again when the block fails."""
    there = folder.is_dir()
    try:
        yield
    except BaseException:
        if not there and read_manifest(folder) in (None, ()):
            with suppress(OSError):
                (folder / MANIFEST).unlink(missing_ok=True)
                folder.rmdir()
        raise


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or folder
        raise DataError(f"{folder}: cannot move: {where}: {one_line(reason(error))}") from error
