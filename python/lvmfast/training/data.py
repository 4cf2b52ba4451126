"""The two sides of a run: opened, divided by document, and scanned for leaks before anything is trained."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.api import leakscan
from lvmfast.corpus import Dataset, load_payload, load_split
from lvmfast.corpus.dataset import Rows
from lvmfast.corpus.documents import Documents, chunks_of
from lvmfast.corpus.finite import check_finite
from lvmfast.corpus.selection import select_rows
from lvmfast.corpus.sequences import Sequences
from lvmfast.errors import DataError
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Progress
from lvmfast.levels import LEVELS
from lvmfast.report.leak_report import LeakReport
from lvmfast.shown import counted
from lvmfast.splits.hold_out import HeldOut, hold_out
from lvmfast.training.config import TrainConfig

CLEAN, LEAKED = "clean", "LEAKED"


@dataclass(frozen=True)
class Side:
    """Rows of a sequence set: windows, or the targets of documents."""

    sequences: Sequences | Documents
    rows: Rows  #: ascending

    def __len__(self) -> int:
        """Sequences on this side."""
        return len(self.rows)

    @property
    def pieces(self) -> Rows | None:
        """(n,) the piece of a document that each row belongs to, ascending; None of windows."""
        whole = self.sequences
        return whole.pieces[self.rows] if isinstance(whole, Documents) else None


@dataclass(frozen=True)
class Sides:
    """What a run trains on and validates on."""

    train: Side
    val: Side
    train_split: Dataset  #: the training rows alone, as a split, with texts where a payload was given
    val_split: Dataset
    documents: pa.Table | None  #: doc_id, part and rows, by first appearance, where documents were held out
    notes: tuple[str, ...]  #: what stood in the way of holding out, a sentence each


def open_sides(config: TrainConfig, documents: pa.Table | None, progress: Progress) -> Sides:
    """Opens the data of a run, divided by document where no validation file is given.

    Args:
        config: which data.
        documents: what an earlier call gave as `Sides.documents`, to divide likewise; None to decide it.
        progress: as for a scan.

    Raises:
        DataError: bad input; one document only; or too few can be held out.
    """
    if not config.train:
        raise DataError("train: nothing to train on: --train PATH is missing")
    train, train_split = _opened(config.train, config)
    if config.val:
        val, val_split = _opened(config.val, config)
        for name, mine, other in (("window", train.length, val.length), ("dimension", train.dim, val.dim)):
            if mine != other:
                raise DataError(
                    f"{config.val[0]}: {name}: expected {mine} as in {config.train[0]}, got {other}"
                )
        sides = Side(train, np.arange(train.n)), Side(val, np.arange(val.n))
        return Sides(*sides, train_split, val_split, None, tuple(_notes_of(train, val)))
    notes: tuple[str, ...] = ()
    if documents is None:
        held_out = hold_out(train_split, config.val_docs, config.seed, _scan_options(config), progress)
        documents, notes = _table(held_out), _notes(held_out)
    held = _held(train, documents)
    parts = []
    for keep in (~held, held):
        rows = np.flatnonzero(keep[train.at] if isinstance(train, Documents) else keep)
        if not len(rows):
            raise DataError(
                f"{config.train[0]}: one side has no document of two chunks that follow each other"
            )
        parts.append((Side(train, rows), select_rows(train_split, keep)))
    (side, split), (val_side, val_split) = parts
    return Sides(side, val_side, split, val_split, documents, (*notes, *_notes_of(train)))


def scan_sides(config: TrainConfig, sides: Sides, progress: Progress) -> LeakReport:
    """The scan of train against validation, at every level whose columns are there.

    Raises:
        DataError: as `leakscan`.
    """
    both = sides.train_split.columns & sides.val_split.columns
    # A row that holds its own answer was not thereby trained on.
    levels = tuple(n for n, level in LEVELS.items() if level.two_sided and both.issuperset(level.needs))
    options = replace(_scan_options(config), levels=levels)
    splits = sides.train_split, sides.val_split
    return leakscan(*splits, options, allow_leaked=config.allow_leaked, progress=progress)


def check_vectors(sides: Sides, report: LeakReport) -> None:
    """Refuses vectors that are no numbers, where the scan could not check some row.

    Raises:
        DataError: a row of either side has one.
    """
    found = [level["unchecked"].values() for level in report.summary["levels"].values()]
    unchecked = any(reasons for of_level in found for reasons in of_level)  # for this reason or another first
    if unchecked or not report.passed:  # a row that matches by what is left of it is not counted as unchecked
        for side in (sides.train, sides.val):
            check_finite(side.sequences, side.rows)


def _scan_options(config: TrainConfig) -> ScanOptions:
    return ScanOptions(threshold=config.threshold, threads=config.threads)


def file_stamps(sides: Sides) -> dict[str, tuple[int, int]]:
    """Size and time of every training file that is still there."""
    paths = [file.path for file in sides.train_split.files if file.path is not None]
    stats = {path: os.stat(path) for path in paths if os.path.exists(path)}
    return {path: (found.st_size, found.st_mtime_ns) for path, found in stats.items()}


def leak_status(report: LeakReport) -> str:
    """LEAKED for a run whose validation set was seen in training, or that read quarantined files."""
    return CLEAN if report.passed and not report.run.leaked else LEAKED


def input_files(report: LeakReport) -> dict[str, list[dict[str, Any]]]:
    """Path and BLAKE3 of every input file, by side."""
    described = report.summary["inputs"]
    names = {"train": "train", "val": "eval"}
    return {
        side: [{key: file[key] for key in ("path", "blake3")} for file in described[name]["files"]]
        for side, name in names.items()
    }


def content_hash(files: list[dict[str, Any]]) -> str:
    """BLAKE3 of the file; of the list of their hashes, where there are several."""
    found = [str(file["blake3"]) for file in files]
    return found[0] if len(found) == 1 else _core.blake3_bytes("\n".join(found).encode(), 1)


def _opened(paths: tuple[str, ...], config: TrainConfig) -> tuple[Sequences | Documents, Dataset]:
    columns = dict(_assignment(item) for item in config.columns)
    plain = load_split(list(paths), columns=columns, allow_leaked=config.allow_leaked, ignore=config.ignore)
    if config.layout == "documents":
        plain = chunks_of(plain)
    opened = Documents(plain, config.context) if config.layout == "documents" else Sequences(plain)
    if not config.payload:
        return opened, plain
    texts = load_payload(
        config.payload, columns=columns, allow_leaked=config.allow_leaked, ignore=config.ignore
    )
    return opened, load_split(plain, columns=columns, payload=texts)


def _notes_of(*opened: Sequences | Documents) -> list[str]:
    """What the documents of a run gave cause to say."""
    return [note for each in opened if isinstance(each, Documents) for note in each.notes]


def _held(sequences: Sequences | Documents, documents: pa.Table) -> npt.NDArray[np.bool_]:
    """Whether a row of a split is held out. Documents count by first appearance; those without id follow."""
    of_rows = sequences.chunk_doc_ids if isinstance(sequences, Documents) else sequences.doc_ids
    held = np.zeros(int(of_rows.max()) + 1, np.bool_)
    if len(documents) > len(held):
        raise DataError(f"{sequences.dataset.files[0].name}: not the documents that the run's split names")
    held[: len(documents)] = documents["part"].to_numpy() == "val"
    rows: npt.NDArray[np.bool_] = held[of_rows]
    return rows


def _table(held_out: HeldOut) -> pa.Table:
    documents, named = held_out.documents, len(held_out.documents.ids)
    return pa.table(
        {
            "doc_id": pa.array(documents.ids, pa.large_string()),
            "part": pa.array(np.where(held_out.held[:named], "val", "train").tolist(), pa.large_string()),
            "rows": documents.rows[:named],
        }
    )


def _notes(held_out: HeldOut) -> tuple[str, ...]:
    division = held_out.division
    found = []
    if division.joined:
        groups = counted(division.joined, "group")
        found.append(f"{groups} of documents with shared text or vectors: each on one side only")
    if division.with_answer:
        documents = counted(division.with_answer, "document")
        found.append(f"{documents} with a row's own answer, or joined to such a one: trained on")
    if division.too_large:
        documents = counted(sum(part.documents for part in division.too_large), "document")
        found.append(f"{documents} in groups too large to hold out: trained on")
    return tuple(found)


def _assignment(item: str) -> tuple[str, str]:
    name, equals, right = item.partition("=")
    if not (name and equals and right):
        raise DataError(f"columns: expected NAME=FIELD, got {item!r}")
    return name, right
