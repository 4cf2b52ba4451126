"""Where the files of a clean split go: under the names they came in, in a folder of their own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from lvmfast import _core
from lvmfast.corpus import SplitFile
from lvmfast.corpus.contents import saved_dataset_files
from lvmfast.corpus.leftovers import CERTIFICATE
from lvmfast.corpus.trees import DiskTree, StoreTree
from lvmfast.errors import DataError, naming
from lvmfast.parse import parse_json
from lvmfast.stores import check_room, folder, is_uri, joined, objects_under, same_place
from lvmfast.stores.staging import COPIED_AHEAD

SAVED_DATASET = ("state.json", "dataset_info.json")


def stored_files(files: Sequence[SplitFile]) -> list[str]:
    """The paths and URIs of `files`.

    Raises:
        DataError: one is in memory.
    """
    for file in files:
        if file.path is None and file.origin is None:
            raise DataError(
                f"{file.name}: expected a file or an object in a store: what is written has the format and "
                "the name it came in"
            )
    return [file.path or file.name for file in files]


def check_destination(
    out: str, files: Sequence[SplitFile], given: Sequence[object], *, together: bool = False
) -> str:
    """Where `out` really is, once it is known that what is made of `files` may be put there.

    Args:
        out: a path or a URI.
        files: what is read.
        given: what the user gave for them.
        together: whether all of them are read at once, and not one after the other.

    Raises:
        DataError: it is there and no empty folder, or lies inside a folder that was given; or this machine
            has no room for what passes through it on the way into a store or out of one.
    """
    stored = [file.nbytes for file in files if file.path is None]
    copied = sum(stored) if together else (COPIED_AHEAD + 1) * max(stored, default=0)
    if is_uri(out):
        real = _in_store(out, given)
        check_room(sum(file.nbytes for file in files) + copied)
    else:
        real = _on_disk(out, given)
        if stored:
            check_room(copied)
    return real


def _on_disk(out: str, given: Sequence[object]) -> str:
    real = Path(os.path.realpath(out))
    if real.exists() and not real.is_dir():
        raise DataError(f"{out}: expected a folder, or nothing, to write to; this is a file")
    with naming(out, "cannot write there"):
        if real.is_dir() and any(real.iterdir()):
            raise DataError(f"{out}: not empty; nothing is written over")
    for source in given:
        if isinstance(source, (str, os.PathLike)) and os.path.isdir(source):
            folder = Path(os.path.realpath(source))
            if real == folder or folder in real.parents:
                raise DataError(f"{out}: lies inside {source}, which would then hold its rows twice")
    return str(real)


def _in_store(out: str, given: Sequence[object]) -> str:
    out = out.rstrip("/")
    for source in given:
        if isinstance(source, str) and is_uri(source):
            above = same_place(source).rstrip("/")
            if f"{same_place(out)}/".startswith(f"{above}/"):
                raise DataError(f"{out}: lies inside {source}, which would then hold its rows twice")
    there = objects_under(out)
    if there:
        left = "" if joined(out, CERTIFICATE) in there else (
            f" ({len(there)} objects and no {CERTIFICATE}: of a run that was killed they can be removed)"
        )  # fmt: skip
        raise DataError(f"{out}: not empty{left}; nothing is written over")
    folder(out).check()
    return out


def names_below(paths: Sequence[str]) -> list[str]:
    """The name of each file in a new folder: what is left of its path below all their common folders.

    Raises:
        DataError: a name that readers of a folder refuse.
    """
    absolute = [_absolute(path) for path in paths]
    common = os.path.commonpath([os.path.dirname(path) for path in absolute])
    names = [os.path.relpath(path, common) for path in absolute]
    for path, name in zip(paths, names, strict=True):
        hidden = next((part for part in Path(name).parts if part.startswith(("_", "."))), None)
        if hidden is not None:
            raise DataError(f"{path}: {hidden!r}: names that begin so are refused in a folder; rename it")
    return names


def _absolute(path: str) -> str:
    """A path on disk, also of a URI: names are cut from both alike."""
    return os.path.join(os.sep, *path.split("://")) if is_uri(path) else os.path.abspath(path)


def write_saved_datasets(out: Path, written: Mapping[str, str]) -> list[str]:
    """Makes folders of HF ``datasets`` whole again, where all their files were read.

    Args:
        out: holds the new files.
        written: path or URI of each source -> name of its new file in `out`, "" where nothing was left of it.

    Returns:
        The names of the files that were added.

    Raises:
        DataError: what `datasets` wrote beside its files is broken.
        OSError: the folder cannot be written.
    """
    added = []
    for source in dict.fromkeys(os.path.dirname(path) or "." for path in written):
        beside_source = folder(source)
        if not all(beside_source.exists(name) for name in SAVED_DATASET):
            continue
        tree = StoreTree(objects_under(source)) if is_uri(source) else DiskTree()
        files = saved_dataset_files(source, tree)
        if not all(file in written for file in files):
            continue
        names = [written[file] for file in files if written[file]]
        if not names:
            continue
        beside = Path(names[0]).parent
        state = parse_json(joined(source, "state.json"), beside_source.read("state.json"))
        info = beside_source.read("dataset_info.json")
        state["_data_files"] = [{"filename": Path(name).name} for name in names]
        # datasets caches by fingerprint: other rows need another one.
        content = "".join(_core.blake3_file(out / name, 0) for name in names)
        state["_fingerprint"] = hashlib.sha256(content.encode()).hexdigest()[:16]
        (out / beside / "state.json").write_text(json.dumps(state, indent=2), "utf-8")
        (out / beside / "dataset_info.json").write_bytes(info)
        added += [(beside / name).as_posix() for name in SAVED_DATASET]
    return added
