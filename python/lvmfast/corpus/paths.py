"""What the user points at becomes a list of data files: single files, quoted globs and folders."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lvmfast.corpus.contents import Contents
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.dead_ends import nearest
from lvmfast.corpus.formats import format_of, required_format
from lvmfast.corpus.leftovers import LEDGER
from lvmfast.corpus.quarantined import moved_away
from lvmfast.corpus.trees import DiskTree, StoreTree, Tree
from lvmfast.errors import DataError
from lvmfast.stores import FileInfo, is_uri, local_path, matching, object_or_folder, objects_under, same_place


@dataclass(frozen=True)
class Named:
    """How a file is called in reports instead of by its path, and read instead of as its side is."""

    name: str
    columns: Mapping[Column, str]  #: field or expression by column, and nothing else is read


@dataclass
class Expansion:
    """The files behind some paths, in reading order, and what was passed over on the way."""

    given: tuple[str, ...] = ()  #: the paths
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    listed: dict[str, FileInfo] = field(default_factory=dict)  #: what stores said of objects, by URI
    named: dict[str, Named] = field(default_factory=dict)  #: those that are known by another name, by path

    def and_then(self, other: Expansion) -> Expansion:
        """These files and those of `other` behind them.

        Raises:
            DataError: both have one.
        """
        both = Expansion(
            (*self.given, *other.given),
            [*self.files, *other.files],
            [*self.notes, *other.notes],
            {**self.listed, **other.listed},
            {**self.named, **other.named},
        )
        _refuse_repeats(both.files)
        return both


#: What names files: a path, quoted glob, folder or URI, or several of them.
Paths: TypeAlias = str | os.PathLike[str] | Sequence[str] | Sequence[os.PathLike[str]] | Expansion


def expand(paths: Sequence[str], ignore: Sequence[str] = ()) -> Expansion:
    """Files behind `paths`: each path in turn, globs and folders sorted by name.

    A folder stands for every data file under it, at any depth, and so does one that a glob matches. What else
    is in it is an error that names it, unless it is plainly no data (a README, a marker, the cache of a tool)
    or `ignore` says so; notes list what was passed over. A folder that HF ``datasets`` saved stands for the
    Arrow files that its ``state.json`` lists, and one in quarantine is passed over.

    Args:
        paths: as given.
        ignore: globs of the names of files and folders, or of ends of paths (``logs/*``), in what `paths`
            lead to; a file that `paths` names itself is read.

    Raises:
        DataError: a path does not exist, a glob matches nothing, a folder holds no data, both sides of a
            split or what is neither data nor plainly none, a file has no known format or is a ledger, or one
            file is given twice.
    """
    expansion = Expansion(tuple(paths))
    for given in paths:
        path = local_path(given)
        if is_uri(path):
            _add_from_store(path, ignore, expansion)
        elif os.path.isdir(path):
            _add_folder(DiskTree(), path, ignore, expansion)
        elif glob.has_magic(path) and not os.path.lexists(path):
            _add_matches(DiskTree(), path, glob.glob(path, recursive=True), ignore, expansion)
        else:
            _add_file(path, expansion)
    _refuse_repeats(expansion.files)
    return expansion


def expanded(source: Any, ignore: Sequence[str] = ()) -> Expansion | None:
    """`expand` of a path or of several; what was expanded before as it is; None for anything else."""
    if isinstance(source, Expansion):
        return source
    paths = source if isinstance(source, (list, tuple)) else [source]
    if not paths or not all(isinstance(path, (str, os.PathLike)) for path in paths):
        return None
    if isinstance(source, (list, tuple)) and are_texts(source):
        return None
    return expand([os.fspath(path) for path in paths], ignore)


def are_texts(values: Sequence[Any]) -> bool:
    """Whether strings are texts and no paths: one has a blank in it, and none could be the path of data.

    A ``Path`` is a path for certain, and a text for certain is one of ``{"text": [...]}``.
    """
    strings = all(isinstance(value, str) for value in values)
    return strings and any(" " in value for value in values) and not any(map(_could_be_data, values))


def _could_be_data(value: str) -> bool:
    if is_uri(value) or format_of(value) is not None or (glob.has_magic(value) and " " not in value):
        return True
    try:
        return os.path.lexists(value)
    except (ValueError, OSError):  # too long for a path, or a NUL in it
        return False


def given_paths(source: Any) -> Sequence[Any]:
    """What the user gave as a source: paths as they were, or the one thing in memory."""
    if isinstance(source, Expansion):
        return source.given
    return source if isinstance(source, (list, tuple)) else [source]


def _add_file(path: str, expansion: Expansion) -> None:
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file{moved_away(path) or _beside(path)}")
    if not os.path.isfile(path):
        raise DataError(f"{path}: expected a file or a folder")
    _append(path, expansion)


def _beside(path: str) -> str:
    """What there is of a name much like that of `path`."""
    folder, name = os.path.split(path)
    try:
        return nearest(name, os.listdir(folder or "."))
    except (OSError, ValueError):
        return ""


def _append(path: str, expansion: Expansion) -> None:
    if os.path.basename(path) == LEDGER:
        raise DataError(f"{path}: the ledger of what `lvmfast clean` dropped, never read as data")
    required_format(path)
    expansion.files.append(path)


def _add_from_store(uri: str, ignore: Sequence[str], expansion: Expansion) -> None:
    """Adds an object, what is in a folder, or what a pattern names."""
    if glob.has_magic(uri):
        objects, folders = matching(uri)
        for folder in folders:
            objects = {**objects, **objects_under(folder)}
        expansion.listed.update(objects)
        tree = StoreTree(objects)
        _add_matches(tree, uri, [*objects, *filter(tree.is_folder, folders)], ignore, expansion)
        return
    info = object_or_folder(uri)
    if info is not None:
        expansion.listed[uri] = info
        _append(uri, expansion)
        return
    objects = objects_under(uri.rstrip("/"))
    expansion.listed.update(objects)
    _add_folder(StoreTree(objects), uri.rstrip("/"), ignore, expansion)


def _add_matches(
    tree: Tree, pattern: str, matches: Sequence[str], ignore: Sequence[str], expansion: Expansion
) -> None:
    """Adds the files that `pattern` matches, and what is in the folders that it matches."""
    matches = sorted({match.rstrip("/") or "/" for match in matches})
    folders = {match for match in matches if tree.is_folder(match)}
    found = Contents(tree, pattern, ignore)
    for match in matches:
        if not _is_below(match, folders):
            (found.enter if match in folders else found.add)(match, named=True)
    _take(found, "the pattern matches no data file", expansion)


def _add_folder(tree: Tree, folder: str, ignore: Sequence[str], expansion: Expansion) -> None:
    found = Contents(tree, folder, ignore)
    found.walk(folder)
    _take(found, "no data file in this folder", expansion)


def _take(found: Contents, nothing: str, expansion: Expansion) -> None:
    files, notes = found.settled(nothing)
    expansion.files += files
    expansion.notes += notes


def _is_below(path: str, folders: set[str]) -> bool:
    """Whether a folder above `path` is one of `folders`."""
    while (above := os.path.dirname(path)) != path:
        if above in folders:
            return True
        path = above
    return False


def _refuse_repeats(files: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for path in files:
        real = same_place(path) if is_uri(path) else os.path.realpath(path)
        if real in seen:
            also = "" if seen[real] == path else f" (also as {seen[real]})"
            raise DataError(f"{path}: given twice{also}")
        seen[real] = path
