"""What a clean split leaves out, and the ledger that says why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lvmfast.corpus import Dataset
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.rewriters.rows import Stretch
from lvmfast.corpus.sides import Side, other_side
from lvmfast.errors import DataError
from lvmfast.leaks.options import LevelName
from lvmfast.leaks.tally import NO_ROWS, Rows
from lvmfast.levels import LEVELS
from lvmfast.splits.cut import Cut

_STRETCHES = pa.list_(pa.struct([("start", pa.int64()), ("end", pa.int64())]))
LEDGER_SCHEMA = pa.schema(
    [
        ("side", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
        ("levels", pa.list_(pa.string())),
        ("doc_id", pa.string()),
        ("chunk_id", pa.string()),
        ("partner_level", pa.string()),
        ("partner_score", pa.float64()),
        ("partner_file", pa.string()),
        ("partner_row", pa.int64()),
        ("fate", pa.string()),
        ("removed", _STRETCHES),
        ("pieces", _STRETCHES),
    ]
)
_IDS: tuple[Column, ...] = ("doc_id", "chunk_id")


@dataclass(frozen=True)
class Leaked:
    """Rows of one side that matched at any level."""

    side: Side
    files: tuple[str, ...]  #: as the report names them
    starts: Rows  #: the row of the side at which each file starts
    at: npt.NDArray[np.unsignedinteger[Any]]  #: (rows,) bit i is set where the row matched at LEVELS[i]

    @property
    def rows(self) -> Rows:
        """Ascending row numbers of the side."""
        return np.flatnonzero(self.at)

    @property
    def by_excerpts(self) -> Rows:
        """Ascending row numbers of those that matched by stretches of their texts alone."""
        bits = sum(1 << i for i, level in enumerate(LEVELS.values()) if level.excerpts)
        return np.flatnonzero((self.at > 0) & ((self.at | bits) == bits))

    def file_of(self, rows: Rows) -> Rows:
        """The place of the file of each of `rows`."""
        return np.searchsorted(self.starts, rows, side="right") - 1

    @property
    def by_level(self) -> Mapping[LevelName, int]:
        """Rows per level, no zeros; a row counts at each level that it matched at."""
        counts = {level: int(np.count_nonzero(self.at & (1 << i))) for i, level in enumerate(LEVELS)}
        return {level: n for level, n in counts.items() if n}


def without_set_aside(leaked: Leaked, aside: Mapping[LevelName, Rows]) -> Leaked:
    """Without the rows, by level, that a review set aside."""
    at = leaked.at.copy()
    for bit, level in enumerate(LEVELS):
        at[aside.get(level, NO_ROWS)] &= ~at.dtype.type(1 << bit)
    return replace(leaked, at=at)


def leaked_rows(matched: pa.Table, side: Side, files: tuple[str, ...], file_rows: Rows, where: str) -> Leaked:
    """Reads `matched_rows.parquet`.

    Args:
        matched: level, side, file, row.
        side: the one to look at.
        files: its files as the report names them.
        file_rows: rows of each.
        where: the report, for messages.

    Raises:
        DataError: the table names a file, a row or a level that the summary does not know.
    """
    starts = np.cumsum(file_rows) - file_rows
    at = np.zeros(int(file_rows.sum()), np.min_scalar_type((1 << len(LEVELS)) - 1))
    own = matched.filter(pc.equal(matched["side"], side))
    place = pc.index_in(own["file"], pa.array(files, pa.string())).fill_null(-1).to_numpy()
    level = pc.index_in(own["level"], pa.array(LEVELS, pa.string())).fill_null(-1).to_numpy()
    row = own["row"].to_numpy()
    wrong = np.flatnonzero((place < 0) | (level < 0) | (row < 0) | (row >= file_rows[place]))
    if len(wrong):
        found = own.slice(int(wrong[0]), 1).to_pylist()[0]
        raise DataError(f"{where}: matched_rows.parquet: {found} is not in summary.json")
    for bit in range(len(LEVELS)):
        hit = level == bit
        at[starts[place[hit]] + row[hit]] |= 1 << bit
    return Leaked(side, files, starts, at)


def ledger(leaked: Leaked, split: Dataset, matches: pa.Table, cuts: Mapping[int, Cut]) -> pa.Table:
    """One row per row that was dropped or cut, in order.

    It says where the row stood, its ids, its levels, a match if one is known, and what became of it.
    Evidence names groups and keys by their first rows, so a later row of a group has no partner here.
    """
    rows = leaked.rows
    place = leaked.file_of(rows)
    ids = split.take(rows, [column for column in _IDS if column in split.columns])
    combinations = [
        [level for i, level in enumerate(LEVELS) if bits & (1 << i)] for bits in range(1 << len(LEVELS))
    ]
    columns = {
        "side": pa.repeat(pa.scalar(leaked.side), len(rows)),
        "file": pa.array(leaked.files, pa.string()).take(pa.array(place)),
        "row": pa.array(rows - leaked.starts[place]),
        "levels": pa.array(combinations, pa.list_(pa.string())).take(pa.array(leaked.at[rows])),
    }
    for id_ in _IDS:
        known = id_ in ids.column_names
        columns[id_] = ids[id_].cast(pa.string()) if known else pa.nulls(len(rows), pa.string())
    partner = _partners(leaked, rows, matches)
    for name in ("level", "score", "file", "row"):
        columns[f"partner_{name}"] = partner[name].combine_chunks()
    of_rows = [cuts.get(row) for row in rows.tolist()]
    columns["fate"] = pa.array(["dropped" if cut is None else cut.fate for cut in of_rows], pa.string())
    columns["removed"] = _stretches(None if cut is None else cut.removed for cut in of_rows)
    columns["pieces"] = _stretches(None if cut is None else cut.pieces for cut in of_rows)
    return pa.table([columns[name] for name in LEDGER_SCHEMA.names], schema=LEDGER_SCHEMA)


def _stretches(of_rows: Iterable[Sequence[Stretch] | None]) -> pa.Array:
    told: list[list[dict[str, int]] | None] = [
        None if of_row is None else [{"start": start, "end": end} for start, end in of_row]
        for of_row in of_rows
    ]
    return pa.array(told, _STRETCHES)


def _partners(leaked: Leaked, rows: Rows, matches: pa.Table) -> pa.Table:
    """For each of `rows` the first match of the evidence that names it, or nulls."""
    own, other = leaked.side, other_side(leaked.side)
    place = pc.index_in(matches[f"{own}_file"], pa.array(leaked.files, pa.string()))
    row = matches[f"{own}_row"]
    usable = pc.and_(pc.is_valid(place), pc.is_valid(row))
    named = matches.filter(usable)
    at = leaked.starts[place.filter(usable).to_numpy()] + row.filter(usable).to_numpy()
    values, first = np.unique(at, return_index=True)
    if not len(values):
        first, found = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.bool_)
    else:
        slot = np.minimum(np.searchsorted(values, rows), len(values) - 1)
        found = values[slot] == rows
        first = first[slot]
    chosen = named.take(pa.array(first, pa.int64(), mask=~found))
    return pa.table(
        {
            "level": chosen["level"],
            "score": chosen["score"],
            "file": chosen[f"{other}_file"],
            "row": chosen[f"{other}_row"],
        }
    )


def write_ledger(path: Path, table: pa.Table) -> None:
    """Puts the ledger at `path`.

    Raises:
        OSError: it cannot be written.
    """
    pq.write_table(table, path, compression="zstd", row_group_size=1 << 20)
