"""A saved scan, read back: what acts on a report, or draws it, starts here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lvmfast import _core
from lvmfast.corpus.failures import reading
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.errors import DataError
from lvmfast.leaks.findings import outcome_of
from lvmfast.leaks.journal import RUN
from lvmfast.parse import Fields, as_documented, parse_json
from lvmfast.report.decisions import DECIDED as DECIDED_SCHEMA
from lvmfast.report.files import ITEMS as ITEMS_SCHEMA
from lvmfast.report.overlaps import OVERLAPS as OVERLAPS_SCHEMA
from lvmfast.report.summary import SCHEMA_VERSION
from lvmfast.report.tables import MATCHED_ROWS as MATCHED_ROWS_SCHEMA
from lvmfast.report.tables import MATCHES as MATCHES_SCHEMA
from lvmfast.report.tables import UNDECIDED as UNDECIDED_SCHEMA
from lvmfast.report.write import (
    DECIDED,
    ITEMS,
    MATCHED_ROWS,
    MATCHES,
    OVERLAPS,
    PARTIAL,
    SUMMARY,
    TABLES,
    UNDECIDED,
)
from lvmfast.stores import Folder, Identity, folder, is_uri, joined

_REQUIRED: Mapping[str, type] = {"verdict": str, "levels": dict, "files": list, "inputs": dict}


@dataclass(frozen=True)
class ScannedFile:
    """One input file of a saved scan, as its summary describes it."""

    side: Side
    name: str  #: the path as it was given to the scan
    identity: Identity  #: neither BLAKE3 nor ETag for arrays in memory
    rows: int
    levels: Mapping[str, Mapping[str, int]]  #: level -> {"checked", "matched" and "set_aside": rows}

    @property
    def matched_levels(self) -> tuple[str, ...]:
        """The levels at which a row of this file matched."""
        return tuple(level for level, count in self.levels.items() if count["matched"])


@dataclass(frozen=True)
class SavedScan:
    """A report directory. The summary is in memory; the tables are read when they are asked for."""

    folder: Folder
    summary: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The directory as it was given."""
        return self.folder.path

    @staticmethod
    def open(directory: str | PathLike[str]) -> SavedScan:
        """Reads `summary.json` of a directory that ``lvmfast leakscan --out`` wrote.

        Raises:
            DataError: there is none, it is broken, or it has another schema version.
        """
        place = folder(directory)
        path, file = place.path, joined(place.path, SUMMARY)
        if not is_uri(path) and not os.path.isdir(path):
            raise DataError(f"{path}: no such folder; expected a report (lvmfast leakscan --out)")
        if not place.exists(SUMMARY):
            raise DataError(f"{path}: no {SUMMARY} there, so no finished scan")
        content = place.read(SUMMARY)
        summary = Fields(file, parse_json(file, content, nan=False)).values
        version = summary.get("schema_version")
        if version != SCHEMA_VERSION:
            raise DataError(
                f"{file}: schema_version: expected {SCHEMA_VERSION}, got {version!r}; "
                "scan again with this version of lvmfast"
            )
        for field, kind in _REQUIRED.items():
            if not isinstance(summary.get(field), kind):
                raise DataError(f"{file}: {field}: expected {kind.__name__}, got {summary.get(field)!r:.60}")
        if summary["verdict"] == "part":
            raise DataError(f"{path}: one part of a scan; `lvmfast merge` of all parts makes the report")
        if outcome_of(summary["verdict"]) == "incomplete" and place.names(PARTIAL + RUN):
            raise DataError(f"{path}: the scan is not at its end; the same command with --resume continues")
        scan = SavedScan(place, summary)
        try:
            _ = [scan.files(side) for side in SIDES]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{file}: files and inputs do not describe the same files") from error
        return scan

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides that were scanned: train alone, or both."""
        return tuple(side for side in SIDES if side in self.summary["inputs"])

    @property
    def complete(self) -> bool:
        """Whether the scan saw every row of all of its inputs."""
        return outcome_of(self.summary["verdict"]) not in ("incomplete", "part")

    def files(self, side: Side) -> tuple[ScannedFile, ...]:
        """The input files of one side, in reading order; none if the side was not scanned."""
        if side not in self.summary["inputs"]:
            return ()
        inputs = self.summary["inputs"][side]["files"]
        counted = [file for file in self.summary["files"] if file["side"] == side]
        return tuple(
            ScannedFile(
                side,
                str(file["path"]),
                Identity.stated(file),
                int(counts["rows"]),
                {
                    level: {key: int(count.get(key) or 0) for key in ("checked", "matched", "set_aside")}
                    for level, count in counts["levels"].items()
                },
            )
            for file, counts in zip(inputs, counted, strict=True)
        )

    def require_complete(self) -> None:
        """Does nothing when the scan is whole.

        Raises:
            DataError: it is not, and what it did not see cannot be acted on.
        """
        if not self.complete:
            raise DataError(f"{self.name}: the scan is {self.summary['verdict']}; finish it first")

    def check_inputs(
        self, side: Side, paths: Sequence[str | PathLike[str]], *, threads: int = 0
    ) -> list[ScannedFile]:
        """The scanned file behind each of `paths`, found by content: the path may have changed since.

        Raises:
            DataError: a path cannot be read, or its bytes were not among the inputs of `side`.
        """
        scanned = self.files(side)
        found = []
        for path in [os.fspath(given) for given in paths]:
            with reading(path):
                here = Identity.of(path, threads)
            same = [file for file in scanned if here.same_as(file.identity)]
            if not same:
                names = ", ".join(file.name for file in scanned[:3]) or "nothing"
                more = f" and {len(scanned) - 3} more" if len(scanned) > 3 else ""
                raise DataError(
                    f"{path}: not what {self.name} scanned as {side} (no input has this content; "
                    f"it scanned {names}{more}); scan again, or give the report that belongs to it"
                )
            # Equal files have equal counts, so the name decides only which of them is meant.
            found.append(next((file for file in same if file.name == path), same[0]))
        return found

    @cached_property
    def matched_rows(self) -> pa.Table:
        """`matched_rows.parquet`: level, side, file, row; every matched row of both sides.

        Raises:
            DataError: it is missing or broken, or is not the table of this summary.
        """
        table = self._table(MATCHED_ROWS, MATCHED_ROWS_SCHEMA)
        counts = table.group_by(["level", "side"]).aggregate([([], "count_all")])
        found = {(row["level"], row["side"]): row["count_all"] for row in counts.to_pylist()}
        with as_documented(joined(self.name, SUMMARY)):
            for level, finding in self.summary["levels"].items():
                aside = finding.get("review", {}).get("set_aside", {})
                for side in SIDES:
                    expected = (finding[f"{side}_rows_matched"] or 0) + aside.get(f"{side}_rows", 0)
                    if found.get((level, side), 0) != expected:
                        raise DataError(
                            f"{joined(self.name, MATCHED_ROWS)}: {level}: expected {expected:,} {side} rows "
                            f"as in {SUMMARY}, got {found.get((level, side), 0):,}"
                        )
        return table

    @cached_property
    def matches(self) -> pa.Table:
        """`matches.parquet`: the evidence; its columns are in docs/output.md.

        Raises:
            DataError: it is missing or broken, or is not the table of this summary.
        """
        table = self._table(MATCHES, MATCHES_SCHEMA)
        with as_documented(joined(self.name, SUMMARY)):
            for level, finding in self.summary["levels"].items():
                kept = pc.sum(pc.equal(table["level"], level)).as_py() or 0
                if kept != finding["evidence"]["kept"]:
                    raise DataError(
                        f"{joined(self.name, MATCHES)}: {level}: expected "
                        f"{finding['evidence']['kept']:,} matches as in {SUMMARY}, got {kept:,}"
                    )
        return table

    @cached_property
    def overlaps(self) -> pa.Table | None:
        """`overlaps.parquet`: the evidence of matches by a stretch of a text; None where none was looked for.

        Raises:
            DataError: it is missing or broken, or is not the table of this summary.
        """
        return self._table_if_there(OVERLAPS, OVERLAPS_SCHEMA)

    @cached_property
    def items(self) -> pa.Table | None:
        """`items.parquet`: a row for each evaluation row, in order; None where overlap was not scanned.

        Raises:
            DataError: it is missing or broken, or is not the table of this summary.
        """
        return self._table_if_there(ITEMS, ITEMS_SCHEMA)

    @cached_property
    def decided(self) -> pa.Table | None:
        """`decided.parquet`: what people decided of the matches; None where no decisions were given.

        Raises:
            DataError: it is missing or broken, or is not the table of this summary.
        """
        return self._table_if_there(DECIDED, DECIDED_SCHEMA)

    @cached_property
    def undecided(self) -> pa.Table | None:
        """`undecided.parquet`: evaluation rows that a fingerprint leaves undecided; None without one.

        Raises:
            DataError: it is missing or broken, or is not the table of this summary.
        """
        return self._table_if_there(UNDECIDED, UNDECIDED_SCHEMA)

    def _table_if_there(self, name: str, schema: pa.Schema) -> pa.Table | None:
        return self._table(name, schema) if name in self.summary.get(TABLES, {}) else None

    def _table(self, name: str, schema: pa.Schema) -> pa.Table:
        path = joined(self.name, name)
        content = self.folder.read(name) if is_uri(self.name) else None
        stated = self.summary.get(TABLES, {}).get(name)  # of later versions alone
        try:
            found = _core.blake3_file(path, 0) if content is None else _core.blake3_bytes(content, 0)
            if stated not in (None, found):
                raise DataError(f"{path}: not the table of this {SUMMARY}: its bytes have another digest")
            table = pq.read_table(path if content is None else pa.BufferReader(content))
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
        if table.schema.names != schema.names:
            raise DataError(f"{path}: expected the columns {', '.join(schema.names)}, got others")
        return table
