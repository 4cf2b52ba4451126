"""The two sides of a run: opened, divided by document, and scanned for leaks before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.api import leakscan
from lvmfast.corpus import Dataset, load_split
from lvmfast.corpus.dataset import Rows
from lvmfast.corpus.selection import select_rows
from lvmfast.corpus.sequences import Sequences
from lvmfast.errors import DataError
from lvmfast.leaks.engine import Progress
from lvmfast.leaks.levels import NEEDS, Level
from lvmfast.leaks.options import ScanOptions
from lvmfast.report.leak_report import LeakReport
from lvmfast.splits.divide import Division
from lvmfast.splits.documents import Documents
from lvmfast.splits.hold_out import hold_out
from lvmfast.training.config import TrainConfig

CLEAN, LEAKED = "clean", "LEAKED"
#: What makes a validation set leak. A row that holds its own answer (oracle) was not thereby trained on.
_SCANNED: tuple[Level, ...] = ("doc", "chunk", "text", "vector", "context")


@dataclass(frozen=True)
class Side:
    """Rows of a sequence set."""

    sequences: Sequences
    rows: Rows  #: ascending

    def __len__(self) -> int:
        """Sequences on this side."""
        return len(self.rows)


@dataclass(frozen=True)
class Sides:
    """What a run trains on and validates on."""

    train: Side
    val: Side
    train_split: Dataset  #: the training rows alone, as a split, with texts where a payload was given
    report: LeakReport  #: of train against validation
    documents: pa.Table | None  #: doc_id, part, rows, where documents were held out
    division: Division | None

    @property
    def leak_status(self) -> str:
        """Whether what is written carries the stamp."""
        return CLEAN if self.report.passed and not self.report.run.leaked else LEAKED

    @property
    def hashes(self) -> dict[str, list[Mapping[str, Any]]]:
        """Path, bytes and BLAKE3 of every input file, by side."""
        described = self.report.summary["inputs"]
        return {
            side: [{key: file[key] for key in ("path", "bytes", "blake3")} for file in described[side]["files"]]
            for side in ("train", "eval")
        }

    @property
    def train_hash(self) -> str:
        """BLAKE3 of the training file; of the list of their hashes, where there are several."""
        found = [str(file["blake3"]) for file in self.hashes["train"]]
        return found[0] if len(found) == 1 else _core.blake3_bytes("\n".join(found).encode(), 1)


def open_sides(config: TrainConfig, progress: Progress) -> Sides:
    """Opens the data of a run, divides it where no validation file is given, and scans side against side.

    Raises:
        DataError: bad input; one document only; or nothing of a file can be held out.
    """
    columns = dict(_assignment(item) for item in config.columns)
    options = ScanOptions(threshold=config.threshold, threads=config.threads)
    if not config.train:
        raise DataError("train: nothing to train on: --train PATH is missing")
    payload = config.payload or None

    def opened(paths: tuple[str, ...]) -> tuple[Sequences, Dataset]:
        plain = load_split(list(paths), columns=columns, allow_leaked=config.allow_leaked)
        sequences = Sequences(plain)
        texts = load_split(
            list(paths), columns=columns, payload=payload, allow_leaked=config.allow_leaked
        ) if payload else plain
        return sequences, texts

    train, train_split = opened(config.train)
    division, documents = None, None
    if config.val:
        val, val_split = opened(config.val)
        for name, mine, other in (("window", train.length, val.length), ("dimension", train.dim, val.dim)):
            if mine != other:
                raise DataError(f"{config.val[0]}: {name}: expected {mine} as in {config.train[0]}, got {other}")
        train_rows, val_rows = np.arange(train.n), np.arange(val.n)
    else:
        val, whole = train, train_split
        held = hold_out(whole, config.val_docs, config.seed, options, progress)
        division, documents = held.division, _documents(held.documents, held.held)
        train_rows, val_rows = np.flatnonzero(~held.rows), np.flatnonzero(held.rows)
        train_split, val_split = select_rows(whole, ~held.rows), select_rows(whole, held.rows)
    both = train_split.columns & val_split.columns
    levels = [level for level in _SCANNED if both.issuperset(NEEDS[level])]
    report = leakscan(
        train_split, val_split, levels=levels, threshold=config.threshold, threads=config.threads, progress=progress
    )
    return Sides(Side(train, train_rows), Side(val, val_rows), train_split, report, documents, division)


def _assignment(item: str) -> tuple[str, str]:
    name, equals, right = item.partition("=")
    if not (name and equals and right):
        raise DataError(f"columns: expected NAME=FIELD, got {item!r}")
    return name, right


def _documents(documents: Documents, held: npt.NDArray[np.bool_]) -> pa.Table:
    named = len(documents.ids)
    return pa.table(
        {
            "doc_id": pa.array(documents.ids, pa.large_string()),
            "part": pa.array(np.where(held[:named], "val", "train")),
            "rows": documents.rows[:named],
        }
    )
