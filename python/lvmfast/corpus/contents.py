"""What there is behind one folder or pattern: data, what is passed over, and what nobody can tell."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice

from lvmfast.corpus.columns import ALIASES
from lvmfast.corpus.formats import format_of, known_formats, required_format
from lvmfast.corpus.leftovers import (
    CERTIFICATE,
    DECISIONS_KEPT,
    LEDGER,
    OF_REPORTS,
    REPORT,
    is_cache,
    is_lock,
    is_marker,
    is_of_a_tool,
    is_plainly_no_data,
)
from lvmfast.corpus.trees import DiskTree, Tree
from lvmfast.errors import DataError
from lvmfast.parse import parse_json
from lvmfast.stores import joined

_NAMED = 5  # files that a message names; how many more there are it says
_UNKNOWN = "in no format that is read, and not known to be no data"
_BESIDE = "text, which need not be part of it, beside data in another format"
_HIDDEN = "data under a name that hidden or unfinished files have"
_UNLISTED = "data that state.json does not list"
_NOWHERE = "links that lead nowhere"
_NEITHER = "neither files nor folders"
_REMEDY = "--ignore GLOB (in Python ignore=[...]) passes over what is not part of it"


class Contents:
    """What there is behind one folder or pattern, sorted into what is read, passed over and refused."""

    def __init__(self, tree: Tree, where: str, ignore: Sequence[str]) -> None:
        """Looks nowhere yet."""
        self._tree, self._where, self._ignore = tree, where, ignore
        self._files: list[str] = []
        self._none: list[str] = []  # plainly no data
        self._ignored: list[str] = []
        self._refused: dict[str, list[str]] = {}  # by the reason
        self._notes: list[str] = []

    def add(self, path: str, *, named: bool = False, listed: bool = True) -> None:
        """Sorts in a file. `named`: by a pattern; not `listed`: its folder has a list of data without it."""
        name = os.path.basename(path)
        format = format_of(name)
        if self._is_ignored(path):
            self._ignored.append(path)
        elif not self._tree.is_file(path):
            self._refuse(_NOWHERE if os.path.islink(path) else _NEITHER, path)
        elif is_marker(name) or (name == CERTIFICATE and _is_certificate(self._tree, path)):
            self._none.append(path)
        elif format is None or (format.commonplace and is_plainly_no_data(name)):
            if is_plainly_no_data(name):
                if not is_lock(name):
                    self._none.append(path)
            else:
                self._refuse(_UNKNOWN, path)
        elif not listed:
            self._refuse(_UNLISTED, path)
        elif name.startswith(("_", ".")) and not named:
            self._refuse(_HIDDEN, path)
        else:
            self._files.append(path)

    def walk(self, folder: str, above: frozenset[str] = frozenset(), *, listed: bool = True) -> None:
        """Sorts in what is in `folder`; `above` holds the identities of its parents, against link cycles."""
        real = self._tree.identity(folder)
        if real in above:
            return
        names = self._tree.names(folder)
        if "dataset_dict.json" in names and len(splits := _splits(self._tree, folder)) != 1:
            given = f"give one of its splits: {', '.join(splits)}" if splits else "it has no splits"
            raise DataError(f"{folder}: a DatasetDict; {given}")
        if CERTIFICATE in names and _is_certificate(self._tree, joined(folder, CERTIFICATE)):
            _refuse_both_sides(self._tree, folder)
            names = [name for name in names if name not in (CERTIFICATE, LEDGER, DECISIONS_KEPT)]
        if names and REPORT.issubset(names):
            self._notes.append(f"{folder}: a report of lvmfast, passed over")
            names = [name for name in names if name not in OF_REPORTS]
        if "state.json" in names and "dataset_info.json" in names:
            files = saved_dataset_files(folder, self._tree)
            self._files += files
            saved = {os.path.basename(file) for file in files}
            self._none += [joined(folder, name) for name in names if is_cache(name)]
            names = [name for name in names if name not in saved and not is_cache(name)]
            listed = False
        for name in names:
            path = joined(folder, name)
            if self._tree.is_folder(path):
                self.enter(path, above | {real}, listed=listed)
            if self._tree.is_file(path) or not self._tree.is_folder(path):
                self.add(path, listed=listed)

    def enter(
        self,
        folder: str,
        above: frozenset[str] = frozenset(),
        *,
        named: bool = False,
        listed: bool = True,
    ) -> None:
        """Sorts in what is in `folder`, unless it is one that is passed over; as `walk` and `add`."""
        name = os.path.basename(folder)
        if self._is_ignored(folder):
            self._ignored.append(f"{folder}/")
        elif self._tree.quarantined(folder):
            self._notes.append(f"{folder}: quarantined, passed over")
        elif is_of_a_tool(name):
            inside = list(islice(self._data_below(folder, above), _NAMED + 1))
            if inside:
                names = self._listed(inside)
                self._notes.append(f"{folder}: passed over, with what may be data in it: {names}")
            else:
                self._none.append(f"{folder}/")
        elif name.startswith(("_", ".")) and not named:
            inside = list(self._data_below(folder, above))
            for path in inside:
                self._refuse(_HIDDEN, path)
            if not inside:
                self._none.append(f"{folder}/")
        else:
            self.walk(folder, above, listed=listed)

    def _data_below(self, folder: str, above: frozenset[str]) -> Iterator[str]:
        """Files under `folder` that look like data."""
        real = self._tree.identity(folder)
        if real in above:
            return
        for name in self._tree.names(folder):
            path = joined(folder, name)
            if self._is_ignored(path):
                self._ignored.append(path)
            elif self._tree.is_folder(path):
                yield from self._data_below(path, above | {real})
            elif format_of(name) and not is_marker(name):
                yield path

    def settled(self, nothing: str) -> tuple[list[str], list[str]]:
        """The data files, and what is to be said of the rest.

        Raises:
            DataError: something is refused, or there is no file; then it says `nothing`, and why.
        """
        commonplace = [path for path in self._files if required_format(path).commonplace]
        if len(commonplace) < len(self._files):
            for path in commonplace:
                self._refuse(_BESIDE, path)
        if self._refused:
            found = "; ".join(f"{reason}: {self._listed(paths)}" for reason, paths in self._refused.items())
            raise DataError(f"{self._where}: {found}; {_REMEDY}")
        notes = self._notes
        partitions = self._partitions()
        if partitions:
            notes.append(f"{self._where}: not read: {', '.join(partitions)}, in names of folders")
        if self._none:
            notes.append(f"{self._where}: passed over as no data: {self._listed(self._none)}")
        if self._ignored:
            notes.append(f"{self._where}: ignored as asked: {self._listed(self._ignored)}")
        if not self._files:
            why = f"; {'; '.join(notes)}" if notes else ""
            raise DataError(f"{self._where}: {nothing} (known: {known_formats()}){why}")
        return self._files, notes

    def _partitions(self) -> list[str]:
        """Columns that folders are named by, ``doc_id=7``, instead of standing in the files below them."""
        below = len(self._where.rstrip("/")) + 1
        folders = {part for path in self._files for part in path[below:].split("/")[:-1]}
        names = {name for name, sign, _ in (folder.partition("=") for folder in folders) if sign}
        return sorted(name for name in names if any(name in aliases for aliases in ALIASES.values()))

    def _refuse(self, reason: str, path: str) -> None:
        self._refused.setdefault(reason, []).append(path)

    def _is_ignored(self, path: str) -> bool:
        name = os.path.basename(path)
        return any(
            fnmatchcase(name, pattern) or fnmatchcase(path, f"*/{pattern}") for pattern in self._ignore
        )

    def _listed(self, paths: Sequence[str]) -> str:
        """The first of `paths`, as they are called below the folder, and how many more there are."""
        start = f"{self._where.rstrip('/')}/"
        names = ", ".join(path.removeprefix(start) for path in paths[:_NAMED])
        return names + (f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else "")


def _is_certificate(tree: Tree, path: str) -> bool:
    """Whether a clean.json is that of `lvmfast clean` or `split`, and not somebody's clean data."""
    return '"certificate_version"' in tree.start(path, 100)


def _refuse_both_sides(tree: Tree, folder: str) -> None:
    """Refuses a folder of `lvmfast split`: read as one, its sides would be mixed again."""
    text = tree.text(folder, CERTIFICATE)
    try:
        sides = [
            [file["file"] for file in side["files"]] for side in parse_json(folder, text)["sides"].values()
        ]
        inside = [joined(folder, files[0]) for files in sides if files[0] is not None]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return  # of another version
    if len(inside) > 1:
        raise DataError(f"{folder}: the sides of a split; give one of them: {', '.join(inside)}")


def _splits(tree: Tree, folder: str) -> list[str]:
    """Paths of the splits of a DatasetDict that was saved to `folder`."""
    text = tree.text(folder, "dataset_dict.json")
    try:
        names = parse_json(folder, text)["splits"]
        return [joined(folder, str(name)) for name in names]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: dataset_dict.json: expected a list of splits") from error


def saved_dataset_files(folder: str, tree: Tree | None = None) -> list[str]:
    """The Arrow files, in order, of the Dataset that HF ``datasets`` saved to `folder`.

    The list in ``state.json`` counts: the folder may also hold caches of earlier transformations.

    Raises:
        DataError: ``state.json`` is broken or names a file outside the folder.
    """
    tree = tree or DiskTree()
    text = tree.text(folder, "state.json")
    try:
        names = [str(entry["filename"]) for entry in parse_json(folder, text)["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: state.json: expected a list of data files") from error
    for name in names:
        if os.path.basename(name) != name or name in ("", ".", ".."):
            raise DataError(f"{folder}: state.json: {name!r} is not a file of this folder")
        if not tree.is_file(joined(folder, name)):
            raise DataError(f"{folder}: {name}: listed in state.json, but no such file")
    return [joined(folder, name) for name in names]
