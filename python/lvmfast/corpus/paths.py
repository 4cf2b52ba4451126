"""What the user points at becomes a list of data files: single files, quoted globs and folders."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lvmfast.corpus.trees import DiskTree, StoreTree, Tree
from lvmfast.errors import DataError
from lvmfast.parse import parse_json
from lvmfast.stores import FileInfo, is_uri, local_path, matching, object_or_folder, objects_under, same_place

_PLAIN = {
    ".npz": "npz",
    ".npy": "npy",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
}
_COMPRESSED = (".gz", ".zst")
_PASSED_OVER = "quarantined, passed over"

#: What a folder that `lvmfast clean` or `lvmfast split` wrote holds beside data.
CERTIFICATE = "clean.json"
LEDGER = "_dropped.parquet"


@dataclass
class Expansion:
    """The files behind some paths, in reading order, and what was passed over on the way."""

    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    listed: dict[str, FileInfo] = field(default_factory=dict)  #: what stores said of objects, by URI


def format_of(path: str) -> str | None:
    """The format that a file's name says it has, or None for a name that says nothing."""
    stem, suffix = os.path.splitext(path.lower())
    if suffix in _COMPRESSED:
        inner = _PLAIN.get(os.path.splitext(stem)[1])
        return inner if inner in ("jsonl", "csv") else None
    return _PLAIN.get(suffix)


def expand(paths: Sequence[str]) -> Expansion:
    """Files behind `paths`: each path in turn, globs and folders sorted by name.

    A folder stands for every data file under it, at any depth; names that begin with ``_`` or ``.`` are
    skipped, and so are files of no known format and quarantines inside the folder, which notes list. A
    folder that HF ``datasets`` saved stands for the Arrow files that its ``state.json`` lists.

    Raises:
        DataError: a path does not exist, a glob matches nothing, a folder holds no data or both sides of a
            split, a file has no known format or is a ledger, or one file is given twice.
    """
    expansion = Expansion()
    for given in paths:
        path, before = local_path(given), len(expansion.files)
        if is_uri(path):
            is_folder, is_pattern = _add_from_store(path, expansion)
        elif os.path.isdir(path):
            is_folder, is_pattern = True, False
            _add_folder(DiskTree(), path, expansion)
        else:
            is_folder, is_pattern = False, glob.has_magic(path) and not os.path.lexists(path)
            (_add_matches if is_pattern else _add_file)(path, expansion)
        if len(expansion.files) > before:
            continue
        quarantined = [note for note in expansion.notes if _PASSED_OVER in note]
        if is_folder and quarantined:
            raise DataError(quarantined[0])
        if is_folder:
            raise DataError(f"{path}: no data file in this folder (known: {_known()})")
        if is_pattern:
            raise DataError(f"{path}: the pattern matches no data file (known: {_known()})")
    _refuse_repeats(expansion.files)
    return expansion


def _add_file(path: str, expansion: Expansion) -> None:
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file")
    if not os.path.isfile(path):
        raise DataError(f"{path}: expected a file or a folder")
    _append(path, expansion)


def _append(path: str, expansion: Expansion) -> None:
    if os.path.basename(path) == LEDGER:
        raise DataError(f"{path}: the ledger of what `lvmfast clean` dropped, never read as data")
    if format_of(path) is None:
        raise DataError(f"{path}: unknown format (known: {_known()})")
    expansion.files.append(path)


def _add_matches(pattern: str, expansion: Expansion) -> None:
    matches = sorted(glob.glob(pattern, recursive=True))
    _add_each(DiskTree(), pattern, matches, expansion)


def _add_from_store(uri: str, expansion: Expansion) -> tuple[bool, bool]:
    """Adds an object, a folder or what a pattern names; whether it was taken for a folder, for a pattern."""
    if glob.has_magic(uri):
        objects, folders = matching(uri)
        for folder in folders if "**" not in uri else []:
            objects = {**objects, **objects_under(folder)}
        expansion.listed.update(objects)
        tree = StoreTree(objects)
        named = [path for path in objects if not any(path.startswith(f"{folder}/") for folder in folders)]
        _add_each(tree, uri, sorted(named if "**" in uri else [*named, *folders]), expansion)
        return False, True
    info = object_or_folder(uri)
    if info is not None:
        expansion.listed[uri] = info
        _append(uri, expansion)
        return False, False
    objects = objects_under(uri.rstrip("/"))
    expansion.listed.update(objects)
    _add_folder(StoreTree(objects), uri.rstrip("/"), expansion)
    return True, False


def _add_each(tree: Tree, pattern: str, matches: Sequence[str], expansion: Expansion) -> None:
    """Adds the files and the folders that `pattern` matches."""
    skipped: list[str] = []
    for match in matches:
        if os.path.basename(match) in (CERTIFICATE, LEDGER):
            continue
        if tree.is_file(match):
            (expansion.files if format_of(match) else skipped).append(match)
        elif "**" not in pattern:
            _add_folder(tree, match, expansion)
    _note_skipped(pattern, skipped, expansion)


def _add_folder(tree: Tree, folder: str, expansion: Expansion) -> None:
    skipped: list[str] = []
    for path in _walk(tree, folder, frozenset(), expansion.notes):
        (expansion.files if format_of(path) else skipped).append(path)
    _note_skipped(folder, skipped, expansion)


def _walk(tree: Tree, folder: str, above: frozenset[str], notes: list[str]) -> Iterator[str]:
    """Files under `folder`, sorted; `above` holds the identities of its parents, against link cycles."""
    real = tree.identity(folder)
    if real in above:
        return
    names = tree.names(folder)
    if "dataset_dict.json" in names:
        splits = ", ".join(_splits(tree, folder))
        raise DataError(f"{folder}: a DatasetDict; give one of its splits: {splits}")
    if CERTIFICATE in names:
        _refuse_both_sides(tree, folder)
    if "state.json" in names and "dataset_info.json" in names:
        yield from saved_dataset_files(folder, tree)
        return
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith(("_", ".")) or name == CERTIFICATE:
            continue
        if tree.is_folder(path):
            if tree.quarantined(path):
                notes.append(f"{path}: {_PASSED_OVER}")
                continue
            yield from _walk(tree, path, above | {real}, notes)
        elif tree.is_file(path):
            yield path


def _refuse_both_sides(tree: Tree, folder: str) -> None:
    """Refuses a folder of `lvmfast split`: read as one, its sides would be mixed again."""
    text = tree.text(folder, CERTIFICATE)
    try:
        sides = [
            [file["file"] for file in side["files"]] for side in parse_json(folder, text)["sides"].values()
        ]
        inside = [os.path.join(folder, files[0]) for files in sides if files[0] is not None]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return  # somebody else's clean.json
    if len(inside) > 1:
        raise DataError(f"{folder}: the sides of a split; give one of them: {', '.join(inside)}")


def _splits(tree: Tree, folder: str) -> list[str]:
    """Paths of the splits of a DatasetDict that was saved to `folder`."""
    text = tree.text(folder, "dataset_dict.json")
    try:
        names = parse_json(folder, text)["splits"]
        return [os.path.join(folder, str(name)) for name in names]
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
        if not tree.is_file(os.path.join(folder, name)):
            raise DataError(f"{folder}: {name}: listed in state.json, but no such file")
    return [os.path.join(folder, name) for name in names]


def _refuse_repeats(files: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for path in files:
        real = same_place(path) if is_uri(path) else os.path.realpath(path)
        if real in seen:
            also = "" if seen[real] == path else f" (also as {seen[real]})"
            raise DataError(f"{path}: given twice{also}")
        seen[real] = path


def _note_skipped(where: str, skipped: Sequence[str], expansion: Expansion) -> None:
    if skipped:
        names = ", ".join(os.path.basename(path) for path in skipped[:5])
        more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        expansion.notes.append(f"{where}: not data, skipped: {names}{more}")


def _known() -> str:
    return ", ".join(_PLAIN) + "; jsonl and csv also with .gz or .zst"
