"""Where the files of a clean split go: under the names they came in, in a folder of their own."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lvmfast import _core
from lvmfast.corpus import SplitFile
from lvmfast.corpus.contents import saved_dataset_files
from lvmfast.corpus.failures import reading
from lvmfast.errors import DataError, naming
from lvmfast.parse import read_json

SAVED_DATASET = ("state.json", "dataset_info.json")


def local_files(files: Sequence[SplitFile]) -> list[str]:
    """The paths of `files`.

    Raises:
        DataError: one is no local file.
    """
    for file in files:
        if file.path is None:
            raise DataError(
                f"{file.name}: expected a local file: what is written has the format and the name it came in"
            )
    return [str(file.path) for file in files]


def check_destination(out: Path, sources: Sequence[Any]) -> Path:
    """Where `out` really is, once it is known that files may be put there.

    Raises:
        DataError: it is there and no empty folder, or lies inside a folder of `sources`.
    """
    real = Path(os.path.realpath(out))
    if real.exists() and not real.is_dir():
        raise DataError(f"{out}: expected a folder, or nothing, to write to; this is a file")
    with naming(out, "cannot write there"):
        if real.is_dir() and any(real.iterdir()):
            raise DataError(f"{out}: not empty; nothing is written over")
    for source in sources:
        if isinstance(source, (str, os.PathLike)) and os.path.isdir(source):
            folder = Path(os.path.realpath(source))
            if real == folder or folder in real.parents:
                raise DataError(f"{out}: lies inside {source}, which would then hold its rows twice")
    return real


def names_below(paths: Sequence[str]) -> list[str]:
    """The name of each file in a new folder: what is left of its path below all their common folders.

    Raises:
        DataError: a name that readers of a folder refuse.
    """
    absolute = [os.path.abspath(path) for path in paths]
    common = os.path.commonpath([os.path.dirname(path) for path in absolute])
    names = [os.path.relpath(path, common) for path in absolute]
    for path, name in zip(paths, names, strict=True):
        hidden = next((part for part in Path(name).parts if part.startswith(("_", "."))), None)
        if hidden is not None:
            raise DataError(f"{path}: {hidden!r}: names that begin so are refused in a folder; rename it")
    return names


def write_saved_datasets(folder: Path, written: Mapping[str, str]) -> list[str]:
    """Makes folders of HF ``datasets`` whole again, where all their files were read.

    Args:
        folder: holds the new files.
        written: path of each source -> name of its new file in `folder`, "" where nothing was left of it.

    Returns:
        The names of the files that were added.

    Raises:
        DataError: what `datasets` wrote beside its files is broken.
        OSError: the folder cannot be written.
    """
    added = []
    for source in dict.fromkeys(os.path.dirname(path) or "." for path in written):
        if not all(os.path.isfile(os.path.join(source, name)) for name in SAVED_DATASET):
            continue
        files = saved_dataset_files(source)
        if not all(file in written for file in files):
            continue
        names = [written[file] for file in files if written[file]]
        if not names:
            continue
        beside = Path(names[0]).parent
        with reading(source):
            state = read_json(Path(source, "state.json"))
            info = Path(source, "dataset_info.json").read_bytes()
        state["_data_files"] = [{"filename": Path(name).name} for name in names]
        # datasets caches by fingerprint: other rows need another one.
        content = "".join(_core.blake3_file(folder / name, 0) for name in names)
        state["_fingerprint"] = hashlib.sha256(content.encode()).hexdigest()[:16]
        (folder / beside / "state.json").write_text(json.dumps(state, indent=2), "utf-8")
        (folder / beside / "dataset_info.json").write_bytes(info)
        added += [(beside / name).as_posix() for name in SAVED_DATASET]
    return added
