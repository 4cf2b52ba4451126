"""The folder of an `ingest`: what it was asked for, which stages are done, and what of them still holds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lvmfast import __version__
from lvmfast.durable import write_text
from lvmfast.errors import DataError, naming
from lvmfast.leaks.journal import stamp_text
from lvmfast.parse import Fields, read_json
from lvmfast.stores.locks import INSIDE

RECORD = "ingest.json"
ARTICLES, CHUNKS = "articles.parquet", "chunks.parquet"
EMBEDDINGS, SEQUENCES, UNPROVEN = "embeddings.npz", "sequences.npz", "_sequences.npz"
FRESH, REPORT = "fresh", "report"

#: Stage by stage, what it makes of what is asked for, and the files that it leaves.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "articles": ("source", "selection", "domains"),
    "chunks": ("chunks", "language"),
    "embeddings": ("encoder",),
    "sequences": ("context", "layout", "proof"),
    "proof": ("against",),
}
_MAKES: Mapping[str, tuple[str, ...]] = {
    "articles": (ARTICLES,),
    "chunks": (CHUNKS,),
    "embeddings": (EMBEDDINGS, f".{EMBEDDINGS}.parts"),
    "sequences": (SEQUENCES, UNPROVEN),
    "proof": (FRESH, REPORT),
}


@dataclass
class Run:
    """The record of a run. Where an error ends it before a stage is done, nothing is left of it."""

    folder: Path
    asked: dict[str, Any]
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    goes_on: bool = False  #: what a stage that was not through has left is of this run, too
    failed: bool = False  #: an error ended it, and not a kill

    def stage(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of a stage: an earlier run's, or that of doing it now."""
        if name not in self.stages:
            try:
                self.stages[name] = work()
            except BaseException as error:
                if not self.stages:
                    (self.folder / RECORD).unlink(missing_ok=True)
                elif isinstance(error, DataError):
                    self.failed = True
                    self.save()
                    done = ", ".join(self.stages)
                    raise DataError(
                        f"{error}; {done}: kept, and the corrected command continues from there"
                    ) from error
                raise
            self.failed = False
            self.save()
        return self.stages[name]

    def start(self) -> None:
        """Makes the folder and the record, and removes what earlier runs left of the stages to be done.

        Raises:
            DataError: it cannot be written or removed.
        """
        names = {name for stage in _MAKES if stage not in self.stages for name in _MAKES[stage]}
        if self.goes_on:
            names -= set(_MAKES["embeddings"])
        with naming(self.folder, "cannot write there"):
            self.folder.mkdir(parents=True, exist_ok=True)
            for path in [*map(self.folder.joinpath, names), *_begun(self.folder)]:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
        self.save()

    def save(self) -> None:
        """Writes the record.

        Raises:
            DataError: it cannot be written.
        """
        path = self.folder / RECORD
        record = {"version": __version__, "asked": self.asked, "stages": self.stages, "failed": self.failed}
        with naming(path, "cannot be written"):
            write_text(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def begin(folder: Path, asked: dict[str, Any], resume: bool) -> Run:
    """The run in `folder`, or a new one; nothing is written or removed yet.

    A run that ended with an error goes on from the stages that do as they are asked for now.

    Raises:
        DataError: the folder holds something else, a run that was cut off or is whole and is not to be
            resumed, or one that was asked for something else.
    """
    path = folder / RECORD
    if not path.exists():
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder}: expected a folder, or nothing, to write to; this is a file")
        if folder.is_dir() and {*folder.iterdir()} - {*_begun(folder), folder / INSIDE}:
            raise DataError(f"{folder}: is not empty and holds no earlier run")
        return Run(folder, asked)
    earlier = _read(path)
    if not (resume or earlier.failed):
        raise DataError(f"{folder}: holds an earlier run: continue it with --resume, or give another --out")
    kept = {}
    for stage, needs in _NEEDS.items():
        if stage == "chunks" and asked["chunks"]["unit"] == "tokens":
            needs = (*needs, "encoder")
        if stage not in earlier.stages or any(earlier.asked.get(need) != asked[need] for need in needs):
            break
        kept[stage] = earlier.stages[stage]
    if resume and (kept != earlier.stages or (not earlier.failed and earlier.asked != asked)):
        raise DataError(
            f"{folder}: the run there is another: {_difference(earlier.asked, asked)}; --resume needs what "
            "the run was begun with, and another --out begins a new one"
        )
    if list(kept) == ["articles", "chunks", "embeddings"] and not (folder / EMBEDDINGS).exists():
        del kept["embeddings"]  # its vectors stood in sequences that are to be made anew
    same = resume or (list(kept)[1:] == ["chunks"] and earlier.asked.get("encoder") == asked["encoder"])
    return Run(folder, asked, kept, same, earlier.failed)


def _begun(folder: Path) -> list[Path]:
    """What a killed run had not finished writing."""
    names = [RECORD, *(name for makes in _MAKES.values() for name in makes)]
    return [path for name in names for path in folder.glob(f".{name}.*.part")]


def _read(path: Path) -> Run:
    record = Fields(str(path), read_json(path))
    made_by = record.text("version")
    asked, stages = record.fields("asked").values, record.fields("stages")
    for name in stages.values:
        stages.fields(name)
    if made_by != __version__:
        raise DataError(f"{path}: was made by lvmfast {made_by}, this is {__version__}: start again")
    failed = record.boolean("failed", False) or not stages.values
    return Run(path.parent, asked, stages.values, failed=failed)


def _difference(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first thing that differs, in words."""
    for name, value in now.items():
        old = was.get(name)
        if old == value:
            continue
        if isinstance(old, dict) and isinstance(value, dict):
            if "modified" in value and old.get("path") == value["path"]:
                sizes = (stamp_text((of["size"], of["modified"])) for of in (old, value))
                return "{}: was {}, is {}".format(value["path"], *sizes)
            return f"{name}: {_difference(old, value)}"
        if isinstance(old, list) and isinstance(value, list) and len(old) == len(value):
            pairs = [(a, b) for a, b in zip(old, value, strict=True) if a != b]
            if isinstance(pairs[0][0], dict) and isinstance(pairs[0][1], dict):
                return _difference({name: pairs[0][0]}, {name: pairs[0][1]})
        return f"{name}: was {_told(old)}, is {_told(value)}"
    return "it was asked for more"


def _told(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, list) else f"{len(value)} of them"
