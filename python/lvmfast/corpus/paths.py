"""What the user points at becomes a list of data files: single files, quoted globs and folders."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lvmfast.corpus.failures import reading
from lvmfast.corpus.quarantined import read_manifest
from lvmfast.errors import DataError

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
    for path in paths:
        before = len(expansion.files)
        if os.path.isdir(path):
            _add_folder(path, expansion)
            if len(expansion.files) == before:
                quarantined = [note for note in expansion.notes if _PASSED_OVER in note]
                raise DataError(
                    quarantined[0]
                    if quarantined
                    else f"{path}: no data file in this folder (known: {_known()})"
                )
        elif os.path.lexists(path) or not glob.has_magic(path):
            _add_file(path, expansion)
        else:
            _add_matches(path, expansion)
            if len(expansion.files) == before:
                raise DataError(f"{path}: the pattern matches no data file (known: {_known()})")
    _refuse_repeats(expansion.files)
    return expansion


def _add_file(path: str, expansion: Expansion) -> None:
    if not os.path.exists(path):
        raise DataError(f"{path}: no such file")
    if not os.path.isfile(path):
        raise DataError(f"{path}: expected a file or a folder")
    if os.path.basename(path) == LEDGER:
        raise DataError(f"{path}: the ledger of what `lvmfast clean` dropped, never read as data")
    if format_of(path) is None:
        raise DataError(f"{path}: unknown format (known: {_known()})")
    expansion.files.append(path)


def _add_matches(pattern: str, expansion: Expansion) -> None:
    skipped: list[str] = []
    for match in sorted(glob.glob(pattern, recursive=True)):
        if os.path.basename(match) in (CERTIFICATE, LEDGER):
            continue
        if os.path.isfile(match):
            (expansion.files if format_of(match) else skipped).append(match)
        elif "**" not in pattern:
            _add_folder(match, expansion)
    _note_skipped(pattern, skipped, expansion)


def _add_folder(folder: str, expansion: Expansion) -> None:
    skipped: list[str] = []
    for path in _walk(folder, frozenset(), expansion.notes):
        (expansion.files if format_of(path) else skipped).append(path)
    _note_skipped(folder, skipped, expansion)


def _walk(folder: str, above: frozenset[str], notes: list[str]) -> Iterator[str]:
    """Files under `folder`, sorted; `above` holds the real paths of its parents, against link cycles."""
    real = os.path.realpath(folder)
    if real in above:
        return
    with reading(folder):
        names = sorted(os.listdir(folder))
    if "dataset_dict.json" in names:
        raise DataError(f"{folder}: a DatasetDict; give one of its splits: {', '.join(_splits(folder))}")
    if CERTIFICATE in names:
        _refuse_both_sides(folder)
    if "state.json" in names and "dataset_info.json" in names:
        yield from saved_dataset_files(folder)
        return
    for name in names:
        path = os.path.join(folder, name)
        if name.startswith(("_", ".")) or name == CERTIFICATE:
            continue
        if os.path.isdir(path):
            if read_manifest(Path(path)):
                notes.append(f"{path}: {_PASSED_OVER}")
                continue
            yield from _walk(path, above | {real}, notes)
        elif os.path.isfile(path):
            yield path


def _refuse_both_sides(folder: str) -> None:
    """Refuses a folder of `lvmfast split`: read as one, its sides would be mixed again."""
    with reading(folder):
        text = Path(folder, CERTIFICATE).read_text(encoding="utf-8", errors="replace")
    try:
        sides = [[file["file"] for file in side["files"]] for side in json.loads(text)["sides"].values()]
        inside = [os.path.join(folder, files[0]) for files in sides if files[0] is not None]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return  # somebody else's clean.json
    if len(inside) > 1:
        raise DataError(f"{folder}: the sides of a split; give one of them: {', '.join(inside)}")


def _splits(folder: str) -> list[str]:
    """Paths of the splits of a DatasetDict that was saved to `folder`."""
    with reading(folder):
        text = Path(folder, "dataset_dict.json").read_text(encoding="utf-8")
    try:
        names = json.loads(text)["splits"]
        return [os.path.join(folder, str(name)) for name in names]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: dataset_dict.json: expected a list of splits") from error


def saved_dataset_files(folder: str) -> list[str]:
    """The Arrow files, in order, of the Dataset that HF ``datasets`` saved to `folder`.

    The list in ``state.json`` counts: the folder may also hold caches of earlier transformations.

    Raises:
        DataError: ``state.json`` is broken or names a file outside the folder.
    """
    with reading(folder):
        text = Path(folder, "state.json").read_text(encoding="utf-8")
    try:
        names = [str(entry["filename"]) for entry in json.loads(text)["_data_files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: state.json: expected a list of data files") from error
    for name in names:
        if os.path.basename(name) != name or name in ("", ".", ".."):
            raise DataError(f"{folder}: state.json: {name!r} is not a file of this folder")
        if not os.path.isfile(os.path.join(folder, name)):
            raise DataError(f"{folder}: {name}: listed in state.json, but no such file")
    return [os.path.join(folder, name) for name in names]


def _refuse_repeats(files: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for path in files:
        real = os.path.realpath(path)
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
