"""Quarantined files, known by their content: the look-up that stands before every file that is opened.

A quarantine is a folder with a `manifest.json` that `splits/quarantine.py` writes. Those that count for a
file are its own folder and each folder above it, their `LEAKED_EVAL_SETS`, and the folders that the
environment variable `LVMFAST_QUARANTINE` lists.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lvmfast import _core
from lvmfast.corpus.failures import reading
from lvmfast.corpus.pointers import refuse_pointer
from lvmfast.errors import DataError
from lvmfast.parse import Fields, parse_json, read_json
from lvmfast.shown import percent
from lvmfast.stores import FileInfo, Identity, Source, as_source, is_uri

QUARANTINE = "LEAKED_EVAL_SETS"
MANIFEST = "manifest.json"
WARNING = "README_LEAK_WARNING.md"
VARIABLE = "LVMFAST_QUARANTINE"
MANIFEST_VERSION = 1
#: Bytes of a manifest: those of some 25,000 files. What is larger, other programs wrote.
MOST_MANIFEST = 16 << 20
#: Other programs write files called manifest.json, too.
MANIFEST_KIND = "lvmfast quarantine"


class HasEntry(Protocol):
    """What has an entry of a manifest."""

    @property
    def entry(self) -> Mapping[str, Any]:
        """As `docs/output.md` has it."""
        ...


@dataclass(frozen=True)
class QuarantinedFile:
    """One entry of a quarantine's manifest: what `docs/output.md` says of it."""

    folder: Path  #: the quarantine
    entry: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """Where the file lies in quarantine."""
        return self.folder / str(self.entry["file"])

    @property
    def original(self) -> Path:
        """Where it lay before."""
        return Path(self.entry["original_path"])

    @property
    def content(self) -> tuple[int, str]:
        """Size in bytes and BLAKE3: what the file is known by."""
        return int(self.entry["bytes"]), str(self.entry["blake3"])

    def check(self, where: str) -> None:
        """Holds the entry to be what `docs/output.md` says of it.

        Raises:
            DataError: it is not; `where` names it.
        """
        entry = Fields(where, self.entry)
        for name in ("original_path", "blake3", "quarantined_at"):
            entry.text(name)
        entry.integer("bytes")
        if self.entry["pending"] not in (None, "quarantine", "restore"):
            raise DataError(f"{where}: pending: expected a move, got {self.entry['pending']!r:.60}")
        levels = entry.fields("levels")
        for level in levels.values:
            count = levels.fields(level)
            if count.integer("matched"):
                count.number("rate")

    @property
    def pending(self) -> str | None:
        """The move that was begun and not finished: ``quarantine``, ``restore``, or None."""
        pending: str | None = self.entry["pending"]
        return pending


def read_manifest(folder: Path) -> tuple[QuarantinedFile, ...] | None:
    """The entries of the quarantine `folder`; None where it is none.

    Raises:
        DataError: its manifest is broken, or of another version: then nobody can say what leaked.
    """
    file = folder / MANIFEST
    if not file.is_file():
        return None
    surely = folder.name == QUARANTINE or (folder / WARNING).exists()
    try:
        manifest = read_json(file, MOST_MANIFEST)
    except DataError as error:
        if surely:
            raise DataError(f"{error}; expected a quarantine manifest there") from error
        return None
    if not isinstance(manifest, dict) or manifest.get("kind") != MANIFEST_KIND:
        if surely:
            raise DataError(f"{file}: kind: expected {MANIFEST_KIND!r}, so a quarantine manifest")
        return None
    return tuple(QuarantinedFile(folder, entry) for entry in _checked(str(file), manifest))


def manifest_entries(where: str, content: bytes) -> tuple[Mapping[str, Any], ...] | None:
    """The entries of a manifest that was read from anywhere; None where it is no quarantine's.

    Raises:
        DataError: it is broken, or of another version; `where` names it.
    """
    manifest = parse_json(where, content, MOST_MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("kind") != MANIFEST_KIND:
        return None
    return _checked(where, manifest)


def _checked(where: str, manifest: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The entries of a manifest, held to what `docs/output.md` says of them."""
    if manifest.get("schema_version") != MANIFEST_VERSION:
        found = manifest.get("schema_version")
        raise DataError(f"{where}: schema_version: expected {MANIFEST_VERSION}, got {found!r}")
    try:
        entries = tuple(manifest["files"])
        for entry in entries:
            name = entry["file"]
            if os.path.basename(name) != name or name in ("", ".", ".."):
                raise ValueError(f"{name!r} is not a file of this folder")
            QuarantinedFile(Path(), entry).check(f"{where}: {name}")
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: files: expected entries as docs/output.md has them ({error!r})") from error
    return entries


def is_manifest(content: str) -> bool:
    """Whether a file called manifest.json is that of a quarantine."""
    try:
        manifest = parse_json(MANIFEST, content, MOST_MANIFEST)
    except DataError:
        return False
    return isinstance(manifest, dict) and manifest.get("kind") == MANIFEST_KIND


class Quarantines:
    """The quarantines that count for some files; each manifest is read once."""

    def __init__(self) -> None:
        """Reads what `LVMFAST_QUARANTINE` lists.

        Raises:
            DataError: it lists a folder that is no quarantine, so that a typing error protects nothing.
        """
        self._read: dict[Path, tuple[QuarantinedFile, ...] | None] = {}
        self._listed: list[Path] = []
        for name in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
            here = [
                folder for folder in (Path(name), Path(name, QUARANTINE)) if self._entries(folder) is not None
            ]
            if not here:
                raise DataError(f"{VARIABLE}: {name}: no quarantine there (no {MANIFEST} of one)")
            self._listed += [Path(os.path.realpath(folder)) for folder in here]

    def near(self, folder: str | os.PathLike[str]) -> list[Path]:
        """The quarantines that count for files of `folder`, nearest first."""
        above = dict.fromkeys(
            level
            for start in (os.path.abspath(folder), os.path.realpath(folder))
            for level in (Path(start), *Path(start).parents)
        )
        places = [place for level in above for place in (level, level / QUARANTINE)]
        found = [place for place in places if self._entries(place) is not None]
        unique: dict[str, Path] = {}  # one folder may be reached by several names
        for place in [*found, *self._listed]:
            unique.setdefault(os.path.realpath(place), place)
        return list(unique.values())

    def entries_near(self, folder: str | os.PathLike[str]) -> Iterator[QuarantinedFile]:
        """The entries of the quarantines that count for files of `folder`."""
        for place in self.near(folder):
            yield from self._entries(place) or ()

    def find(self, path: str) -> QuarantinedFile | None:
        """The entry whose content `path` has. It is hashed only where an entry has its size."""
        folders = {os.path.dirname(os.path.abspath(path)), os.path.dirname(os.path.realpath(path))}
        with reading(path):
            size = os.stat(path).st_size
            same = [e for folder in folders for e in self.entries_near(folder) if e.content[0] == size]
            if not same:
                return None
            content = size, _core.blake3_file(path, 0)
        return next((entry for entry in same if entry.content == content), None)

    def find_object(self, source: Source) -> QuarantinedFile | None:
        """The entry, of those that `LVMFAST_QUARANTINE` lists, whose content an object has.

        It is read as a whole to be hashed, and only where an entry has its size.
        """
        entries = [entry for folder in self._listed for entry in self._entries(folder) or ()]
        same = [entry for entry in entries if entry.content[0] == source.info.size]
        if not same:
            return None
        content = source.info.size, str(Identity.read(source.name).blake3)
        return next((entry for entry in same if entry.content == content), None)

    def _entries(self, folder: Path) -> tuple[QuarantinedFile, ...] | None:
        if folder not in self._read:
            self._read[folder] = read_manifest(folder)
        return self._read[folder]


def leaked_among(
    paths: Sequence[str], *, allow_leaked: bool | None, listed: Mapping[str, FileInfo] | None = None
) -> tuple[str, ...]:
    """Those of `paths` whose content is quarantined: none, unless `allow_leaked`.

    Objects, whose sizes are in `listed`, are held to the quarantines of `LVMFAST_QUARANTINE` alone, and to
    the names of their folders: one below a `LEAKED_EVAL_SETS` is quarantined.

    Args:
        paths: files and URIs.
        allow_leaked: None where nobody can allow it.
        listed: what stores said of objects, by URI.

    Raises:
        DataError: a file is quarantined, and that was not allowed; or a manifest is broken.
    """
    quarantines = Quarantines()
    leaked = []
    for path in paths:
        if is_uri(path):
            entry = quarantines.find_object(as_source(path, (listed or {}).get(path)))
        else:
            entry = quarantines.find(path)
        if entry is not None:
            when = f"quarantined {entry.entry['quarantined_at']}, see {entry.folder / MANIFEST}"
            why = f"{leak_sentence(entry)} ({when})"
        elif is_uri(path) and QUARANTINE in path.split("/")[:-1]:
            why = f"in quarantine: it lies in a folder {QUARANTINE}"
        else:
            continue
        if allow_leaked is None:
            raise DataError(f"{path}: {why}; nothing is made of it")
        if not allow_leaked:
            raise DataError(
                f"{path}: {why}; no score on it counts; allow_leaked=True or --allow-leaked reads it in "
                "spite of this, and stamps the result LEAKED"
            )
        leaked.append(path)
    return tuple(leaked)


def check_usable(path: str | os.PathLike[str]) -> None:
    """Holds a local file that something is to be made of to what `load_split` asks of files.

    Raises:
        DataError: it is a pointer to data elsewhere, or quarantined.
    """
    if os.path.isfile(path):  # what is not there is told by whoever opens it
        refuse_pointer(path)
        leaked_among([os.fspath(path)], allow_leaked=None)


def moved_away(path: str) -> str:
    """Where a file lies that is not there, if it was moved into a quarantine: the end of a sentence.

    Raises:
        DataError: a manifest is broken.
    """
    place = os.path.realpath(path)
    for entry in Quarantines().entries_near(os.path.dirname(place)):
        if os.path.realpath(entry.original) == place:
            return f": it was quarantined, as {entry.path}; `lvmfast quarantine restore` brings it back"
    return ""


def leak_sentence(entry: HasEntry) -> str:
    """At which levels the file leaked, and how much of it."""
    rates = [
        f"{level} ({percent(count['rate'])})"
        for level, count in entry.entry["levels"].items()
        if count["matched"]
    ]
    return f"seen in training at {', '.join(rates)}" if rates else "quarantined by force, with no row matched"
