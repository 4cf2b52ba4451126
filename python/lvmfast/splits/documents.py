"""The documents of a split: their rows, their ids, and the place that chance gives each."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus import Dataset
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.keys import id_keys, newly_inserted
from lvmfast.corpus.looks import LackingError
from lvmfast.errors import DataError
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Progress, read
from lvmfast.leaks.tally import NO_ROWS, Rows, starts_of


@dataclass(frozen=True)
class Documents:
    """Documents numbered by first appearance; a row without an id is a document of its own, numbered last."""

    of_row: Rows  #: (n,) the document of each row
    ids: tuple[str, ...]  #: as decimal text, of the documents that have one
    rows: Rows  #: (documents,) rows of each
    file_starts: Rows  #: the row at which each file starts

    @property
    def unnamed(self) -> int:
        """Rows without an id."""
        return len(self.rows) - len(self.ids)


def read_documents(split: Dataset, options: ScanOptions, progress: Progress) -> Documents:
    """Reads the ids of all rows.

    Raises:
        DataError: a file has no document ids, or no row has one.
    """
    for file in split.files:
        empty = not file.fields and not file.unreadable and not file.estimated_rows()  # Spark writes such
        if "doc_id" not in file.fields and not empty:
            why = file.unreadable.get("doc_id", f"{file.name}: no doc_id to split by")
            raise LackingError(f"{why}; --by FIELD or --column doc_id=FIELD names it")
    table = _core.KeyTable(2, options.threads)
    ids: list[str] = []
    slots, file_rows = [NO_ROWS], np.zeros(len(split.files), np.int64)
    for batch in read(split, ("doc_id",), "read documents", options, progress):
        keys, valid = id_keys(batch.doc_id, options.threads)
        rows = np.flatnonzero(valid)
        known = len(table)
        slot = np.full(batch.rows, -1, np.int64)
        slot[rows] = table.insert(np.ascontiguousarray(keys[rows]))
        fresh = rows[newly_inserted(slot[rows], known)]
        assert batch.doc_id is not None
        ids.extend(batch.doc_id.take(pa.array(fresh)).cast(pa.large_string()).to_pylist())
        slots.append(slot)
        file_rows[batch.file] += batch.rows
    of_row = np.concatenate(slots)
    if not len(of_row):
        raise DataError(f"{split.files[0].name}: no rows")
    if not ids:
        named = next(file for file in split.files if "doc_id" in file.fields)
        raise DataError(f"{named.name}: {named.fields['doc_id']}: every id is null")
    unnamed = np.flatnonzero(of_row < 0)
    of_row[unnamed] = len(ids) + np.arange(len(unnamed))
    return Documents(of_row, tuple(ids), np.bincount(of_row), starts_of(file_rows))


def has_documents(split: Dataset) -> bool:
    """Whether a file has document ids, or a field of that name that cannot be read as ids."""
    return any("doc_id" in file.fields or "doc_id" in file.unreadable for file in split.files)


def rows_as_documents(split: Dataset, options: ScanOptions, progress: Progress) -> Documents:
    """Each row a document of its own, whose id is ``row`` and its place among the rows of all files.

    Raises:
        DataError: there is no row, or nothing in which rows can be compared.
    """
    columns: tuple[Column, ...] = ("chunk_id", "text", "vector", "context")
    known = next((column for column in columns if column in split.columns), None)
    if known is None:
        raise LackingError(f"{split.files[0].name}: no text and no vector: rows cannot be compared")
    file_rows = np.zeros(len(split.files), np.int64)
    for batch in read(split, (known,), "count rows", options, progress):
        file_rows[batch.file] += batch.rows
    count = int(file_rows.sum())
    if not count:
        raise DataError(f"{split.files[0].name}: no rows")
    ids = tuple(f"row {row}" for row in range(count))
    return Documents(np.arange(count), ids, np.ones(count, np.int64), starts_of(file_rows))


@dataclass(frozen=True)
class Lots:
    """What chance says of each document: two independent numbers of its id and the seed, and nothing else."""

    place: npt.NDArray[np.float64]  #: uniform in [0, 1); decides the side
    rank: npt.NDArray[np.uint64]  #: decides who speaks for a component


def draw_lots(ids: tuple[str, ...], seed: int) -> Lots:
    """The two halves of BLAKE2b-128 over ``seed:id``, the id as decimal text in UTF-8."""
    digests = b"".join(hashlib.blake2b(f"{seed}:{id_}".encode(), digest_size=16).digest() for id_ in ids)
    words = np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)
    # 53 bits are what a float64 holds, so that no place rounds up to 1.
    return Lots((words[:, 0] >> np.uint64(11)) / 2.0**53, words[:, 1])
