"""The parquet tables of a scan: the evidence, and every matched row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Column
from lvmfast.corpus.plain import arrow_numbers, arrow_scalar, arrow_texts, distinct_numbers, numpy_numbers
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.leaks.evidence import NO_POSITION, NO_ROW
from lvmfast.leaks.findings import Findings, LevelFinding, SideInfo
from lvmfast.leaks.options import LevelName
from lvmfast.leaks.tally import Rows
from lvmfast.levels import LEVELS

MATCHED_ROWS = pa.schema(
    [("level", pa.string()), ("side", pa.string()), ("file", pa.string()), ("row", pa.int64())]
)
MATCHES = pa.schema(
    [
        ("level", pa.string()),
        ("score", pa.float64()),
        ("train_count", pa.int64()),
        ("eval_count", pa.int64()),
        ("train_file", pa.string()),
        ("train_row", pa.int64()),
        ("train_doc_id", pa.string()),
        ("train_chunk_id", pa.string()),
        ("train_position", pa.int64()),
        ("eval_file", pa.string()),
        ("eval_row", pa.int64()),
        ("eval_doc_id", pa.string()),
        ("eval_chunk_id", pa.string()),
        ("eval_position", pa.int64()),
        ("train_text", pa.large_string()),
        ("eval_text", pa.large_string()),
    ]
)
NEAREST = pa.schema(
    [
        ("eval_file", pa.string()),
        ("eval_row", pa.int64()),
        ("cosine", pa.float64()),
        ("train_file", pa.string()),
        ("train_row", pa.int64()),
    ]
)
UNDECIDED = pa.schema(
    [("level", pa.string()), ("file", pa.string()), ("row", pa.int64()), ("bound", pa.float64())]
)
#: What matches by a stretch of a text are that are leaks.
MATCH = "match"
#: Rows of a row group of a table that is written.
GROUP_ROWS = 1 << 20
LOOKED_UP: tuple[Column, ...] = ("doc_id", "chunk_id", "text")


def matched_rows(findings: Findings) -> pa.Table:
    """Every matched row, by level, side (train first), file and row."""
    return pa.concat_tables(matched_row_groups(findings)).combine_chunks()


def matched_row_groups(findings: Findings) -> Iterator[pa.Table]:
    """`matched_rows` in tables of `GROUP_ROWS` rows, but for the last: one of all may not fit in memory."""
    parts, room = [pa.Table.from_batches([], schema=MATCHED_ROWS)], GROUP_ROWS
    for level, finding in findings.levels.items():
        for side in SIDES:
            if side not in finding.sides or finding.status == "not_checkable":
                continue
            rows = finding.sides[side].matched_rows
            while len(rows):
                taken, rows = rows[:room], rows[room:]
                files, file_rows = locate(taken, findings.sides[side])
                columns = [_same(level, len(taken)), _same(side, len(taken)), files, file_rows]
                parts.append(pa.table(columns, schema=MATCHED_ROWS))
                room -= len(taken)
                if room == 0:
                    yield pa.concat_tables(parts)
                    parts, room = [], GROUP_ROWS
    if parts:
        yield pa.concat_tables(parts)


def nearest_rows(findings: Findings) -> pa.Table | None:
    """The nearest training row of every eval row that was compared, by eval row; None if not asked for."""
    found = next((f.nearest for f in findings.levels.values() if f.nearest is not None), None)
    if found is None:
        return None
    columns = (
        *locate(found.eval_row, findings.sides["eval"]),
        arrow_numbers(found.cosine),
        *locate(found.train_row, findings.sides["train"]),
    )
    return pa.table(list(columns), schema=NEAREST)


def undecided_rows(findings: Findings) -> pa.Table | None:
    """The eval rows that a fingerprint leaves undecided, by level and row; None where none was scanned."""
    parts = []
    for level, finding in findings.levels.items():
        if finding.undecided is not None:
            rows, bounds = finding.undecided.rows, finding.undecided.bounds
            files, file_rows = locate(rows, findings.sides["eval"])
            columns = [_same(level, len(rows)), files, file_rows, arrow_numbers(bounds)]
            parts.append(pa.table(columns, schema=UNDECIDED))
    return pa.concat_tables(parts).combine_chunks() if parts else None


class LooksUp(Protocol):
    """One side of a scan that tells ids and texts of its rows: a `Dataset`, or what was saved of one."""

    @property
    def columns(self) -> frozenset[Column]:
        """The columns that at least one file has."""
        ...

    def take(self, rows: Rows, columns: Sequence[Column]) -> pa.Table:
        """As `Dataset.take`."""
        ...

    def taken(self, rows: Rows, columns: Sequence[Column]) -> Iterator[pa.Table]:
        """As `Dataset.taken`."""
        ...


def no_matches() -> pa.Table:
    """The evidence of a scan that has none."""
    return pa.Table.from_batches([], schema=MATCHES)


def matches(
    findings: Findings, datasets: Mapping[Side, LooksUp], overlaps: pa.Table | None = None
) -> pa.Table:
    """The evidence: each match with files, rows, ids and texts, by level and rows.

    Ids and texts are fetched in a second look at the files, for the matched rows alone. Of a training row
    that is matched by a stretch of it, the text is that stretch, from `overlaps`.
    """
    within = "eval" not in datasets
    sides: Mapping[Side, SideInfo] = (
        {"train": findings.sides["train"], "eval": findings.sides["train"]} if within else findings.sides
    )
    found = [f for f in findings.levels.values() if len(f.matches)]
    whole = [f for f in found if not LEVELS[f.level].excerpts]
    details = {side: _look_up(datasets["train" if within else side], side, whole) for side in SIDES}
    parts = [no_matches()]
    for finding in found:
        columns: dict[str, pa.Array] = {
            "level": _same(finding.level, len(finding.matches)),
            "score": arrow_numbers(finding.matches.score),
        }
        for side in SIDES:
            looked_up = details[side]
            if LEVELS[finding.level].excerpts:
                looked_up = _look_up(datasets[side], side, [finding], ("doc_id", "chunk_id"))
            columns |= _side_columns(side, finding, sides[side], looked_up)
        if LEVELS[finding.level].excerpts and overlaps is not None:
            import pyarrow.compute as pc

            told = overlaps.filter(pc.equal(overlaps["strength"], arrow_scalar(MATCH)))
            columns |= {f"{side}_text": told[f"{side}_text"].combine_chunks() for side in SIDES}
        parts.append(pa.table([columns[name] for name in MATCHES.names], schema=MATCHES))
    return pa.concat_tables(parts).combine_chunks()


def _side_columns(
    side: Side, finding: LevelFinding, info: SideInfo, details: pa.Table | None
) -> dict[str, pa.Array]:
    rows: Rows = getattr(finding.matches, f"{side}_row")
    absent = rows == NO_ROW
    files, file_rows = locate(rows, info)
    looked_up = {}
    if details is not None:
        place = np.searchsorted(numpy_numbers(details["row"].combine_chunks()), rows)
        looked_up = dict(zip(details.column_names, details.take(arrow_numbers(place, absent)), strict=True))
    position = getattr(finding.matches, f"{side}_position")
    count = getattr(finding.matches, f"{side}_count")
    columns = {
        "count": arrow_numbers(count, absent),
        "file": files,
        "row": file_rows,
        "position": arrow_numbers(position, position == NO_POSITION),
    }
    for name in LOOKED_UP:
        kind = pa.large_string() if name == "text" else pa.string()
        column = looked_up.get(name)
        columns[name] = pa.nulls(len(rows), kind) if column is None else column.combine_chunks().cast(kind)
    return {f"{side}_{name}": column for name, column in columns.items()}


def _look_up(
    dataset: LooksUp, side: Side, found: list[LevelFinding], columns: Sequence[Column] = LOOKED_UP
) -> pa.Table | None:
    columns = [name for name in columns if name in dataset.columns]
    if not columns or not found:
        return None
    wanted = [getattr(f.matches, f"{side}_row") for f in found]
    rows = distinct_numbers(wanted)
    return dataset.take(rows[rows != NO_ROW], columns)


def locate(rows: Rows, info: SideInfo) -> tuple[pa.Array, pa.Array]:
    """The file name and the row within the file of each dataset row; nulls for NO_ROW."""
    absent: npt.NDArray[np.bool_] = rows == NO_ROW
    files = np.maximum(np.searchsorted(info.file_starts, rows, side="right") - 1, 0)
    return arrow_texts(info.names, files, absent), arrow_numbers(rows - info.file_starts[files], absent)


def _same(value: LevelName | Side, rows: int) -> pa.Array:
    return arrow_texts([value], np.zeros(rows, np.int64))
