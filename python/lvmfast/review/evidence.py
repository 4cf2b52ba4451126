"""The evidence of a saved scan in a file of DuckDB: filtered, searched and sorted at any size."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lvmfast import _core
from lvmfast.corpus.sides import SIDES
from lvmfast.errors import DataError
from lvmfast.leaks.findings import DECISIONS
from lvmfast.levels import LEVELS
from lvmfast.report.carried import Carried, benchmark_of, described
from lvmfast.report.decisions import Decision, DecisionLog, match_ids, scan_digest
from lvmfast.report.lines import Lines
from lvmfast.report.marked import Alike, alike
from lvmfast.report.saved import SavedScan
from lvmfast.report.tables import MATCH
from lvmfast.report.write import MATCHES, OVERLAPS, TABLES
from lvmfast.stores import is_uri, joined

#: Characters of a text that a list of matches has; the whole text is asked for by itself.
MOST_CHARS = 20_000
#: Matches that are told at once, and runs of each.
MOST_ROWS, MOST_RUNS = 200, 200
_ROWS_AT_ONCE = 1 << 16
_FILES = pa.schema(
    [("side", pa.string()), ("name", pa.string()), ("number", pa.int64()), ("benchmark", pa.string())]
)
#: What undecided matches are asked for by.
UNDECIDED = "none"

#: What each order goes by, from the first on.
_ORDERS: Mapping[str, str] = {
    "score": "score DESC, rows_behind DESC, place ASC",
    "rows": "rows_behind DESC, score DESC, place ASC",
    "train": "train_number DESC NULLS LAST, train_row DESC, place DESC",
    "eval": "eval_number DESC NULLS LAST, eval_row DESC, place DESC",
}
_OPPOSITE = {"ASC": "DESC", "DESC": "ASC", "LAST": "FIRST"}
#: Whether some text holds what is searched for, in any letter case.
_SEARCH = " OR ".join(f"contains(lower({side}_text), lower($search))" for side in SIDES)
_NAMED = " OR ".join(f"contains(lower({side}_file), lower($file))" for side in SIDES)
_CONDITIONS: Mapping[str, str] = {
    "level": "level = $level",
    "file": f"({_NAMED})",
    "field": "list_contains(fields, $field)",
    "benchmark": "benchmark = $benchmark",
    "min": "score >= $min",
    "max": "score <= $max",
    "search": f"({_SEARCH})",
    "decision": "decision = $decision",
}
_COLUMNS = (
    "m.* EXCLUDE (fields, train_text, eval_text), array_to_string(m.fields, ', ') AS field, m.train_text, "
    "m.eval_text, d.decision, d.note"
)
_JOINED = "matches AS m LEFT JOIN decided AS d ON m.id = d.match"


@dataclass(frozen=True)
class Asked:
    """Which matches are asked for, in which order, and from which on."""

    level: str | None = None
    file: str | None = None  #: a part of the name of either file
    field: str | None = None
    benchmark: str | None = None
    min: float | None = None
    max: float | None = None
    search: str | None = None
    decision: str | None = None  #: or `UNDECIDED`
    sort: str = "score"
    descending: bool = True
    offset: int = 0
    limit: int = 20

    def __post_init__(self) -> None:
        """Holds the request to its domain.

        Raises:
            DataError: it is outside.
        """
        if self.sort not in _ORDERS:
            raise DataError(f"sort: expected {', '.join(_ORDERS)}, got {self.sort!r:.60}")
        if not 0 <= self.offset < 2**62 or not 1 <= self.limit <= MOST_ROWS:
            raise DataError(f"offset and limit: expected from 0 on, and 1 to {MOST_ROWS}")
        if self.decision not in (None, UNDECIDED, *DECISIONS):
            raise DataError(f"decision: expected {', '.join((*DECISIONS, UNDECIDED))}")

    @property
    def conditions(self) -> tuple[str, dict[str, Any]]:
        """What holds of the matches, in SQL, and the values in it."""
        values = {name: getattr(self, name) for name in _CONDITIONS if getattr(self, name) is not None}
        told = [_CONDITIONS[name] for name in values]
        if values.get("decision") == UNDECIDED:
            del values["decision"]
            told = [condition.replace("decision = $decision", "decision IS NULL") for condition in told]
        return " AND ".join(told) or "true", values

    @property
    def order(self) -> str:
        """By which the matches come, in SQL."""
        order = _ORDERS[self.sort]
        return order if self.descending else " ".join(_opposite(word) for word in order.split())


@dataclass(frozen=True)
class _File:
    """A file of the scan, and which benchmark it is of."""

    side: str
    name: str
    number: int  #: in the order of the scan
    benchmark: str | None


def _opposite(word: str) -> str:
    bare = word.rstrip(",")
    return _OPPOSITE.get(bare, bare) + word[len(bare) :]


NAMES = tuple(field.name for field in fields(Asked))


class Evidence:
    """The matches of a report and what is decided of them. Its methods can be called from several threads."""

    def __init__(self, saved: SavedScan, log: DecisionLog, scratch: Path) -> None:
        """Copies the evidence into a file in `scratch`, with what each match is known by.

        Raises:
            DataError: the report is in a store, is broken, or the file of decisions is none.
        """
        import duckdb

        self._saved, self._log = saved, log
        inputs, options = saved.summary["inputs"], saved.summary["options"]
        self.scan = scan_digest(inputs, options)
        self._files, self._lines = _files(inputs), Lines(saved.summary)
        self._one_set = "eval" not in inputs
        self._lock = threading.Lock()
        self._known: Mapping[str, Decision] | None = None
        self.decided_here = 0  #: decisions that were kept since it was opened
        paths = {name: self._checked(name) for name in (MATCHES, OVERLAPS) if self._has(name)}
        settings: dict[str, Any] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        try:
            self._base = duckdb.connect(str(scratch / "review.duckdb"), config=settings)
            self._base.execute("SET preserve_insertion_order = true")
            self._base.execute(f"SET temp_directory = '{str(scratch).replace(chr(39), chr(39) * 2)}'")
            self._base.execute("CREATE TABLE decided (match VARCHAR, decision VARCHAR, note VARCHAR)")
            self._fill(paths, inputs, options["normalize"])
        except duckdb.Error as error:
            said = str(error).splitlines()[0]
            raise DataError(f"{saved.name}: the evidence cannot be read: {said}") from error
        self.read()

    def _has(self, name: str) -> bool:
        return name == MATCHES or name in self._saved.summary.get(TABLES, {})

    def _checked(self, name: str) -> str:
        """The path of a table, whose bytes are those that the summary states."""
        if is_uri(self._saved.name):
            raise DataError(f"{self._saved.name}: a report in a store; copy it to this machine to review it")
        path = joined(self._saved.name, name)
        stated = self._saved.summary.get(TABLES, {}).get(name)
        try:
            found = _core.blake3_file(path, 0)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        if stated not in (None, found):
            raise DataError(f"{path}: not the table of its summary.json: its bytes have another digest")
        return path

    def _fill(self, paths: Mapping[str, str], inputs: Mapping[str, Any], normalize: str) -> None:
        nothing = pa.table({"id": pa.array([], pa.string())})
        known = pa.concat_tables([nothing, *_ids(paths[MATCHES], inputs, normalize)])
        self._base.register("known", known.append_column("place", pa.array(np.arange(len(known)))))
        columns = ("side", "name", "number", "benchmark")
        told = [{name: getattr(file, name) for name in columns} for file in self._files.values()]
        self._base.register("files", pa.Table.from_pylist(told, _FILES))
        self._base.execute(
            "CREATE TABLE told AS SELECT file_row_number AS n, * EXCLUDE (file_row_number) "
            f"FROM read_parquet($path, file_row_number = true) WHERE strength = '{MATCH}'"
            if OVERLAPS in paths
            else "CREATE TABLE told (n BIGINT, fields VARCHAR[])",
            {"path": paths[OVERLAPS]} if OVERLAPS in paths else None,
        )
        excerpts = ", ".join(f"'{name}'" for name, level in LEVELS.items() if level.excerpts)
        rows = "read_parquet($path, file_row_number = true)"
        within = "train" if self._one_set else "eval"
        self._base.execute(
            "CREATE TABLE matches AS SELECT k.id, k.place, m.* EXCLUDE (file_row_number), t.fields, "
            "t.n AS told, coalesce(m.train_count, 1)::DOUBLE * coalesce(m.eval_count, 1)::DOUBLE "
            "AS rows_behind, f.number AS train_number, g.number AS eval_number, g.benchmark "
            f"FROM {rows} AS m JOIN known AS k ON k.place = m.file_row_number "
            f"LEFT JOIN told AS t ON m.level IN ({excerpts}) AND t.n = m.file_row_number - (SELECT "
            f"min(file_row_number) FROM {rows} WHERE level IN ({excerpts})) "
            "LEFT JOIN files AS f ON f.side = 'train' AND f.name = m.train_file "
            f"LEFT JOIN files AS g ON g.side = '{within}' AND g.name = m.eval_file "
            "ORDER BY k.place",
            {"path": paths[MATCHES]},
        )
        self._base.unregister("known")
        self._base.unregister("files")

    @property
    def served(self) -> Carried:
        """What the page has to know, but for how it asks."""
        cursor = self._base.cursor()
        there = {level for (level,) in cursor.execute("SELECT DISTINCT level FROM matches").fetchall()}
        named = cursor.execute("SELECT DISTINCT array_to_string(fields, ', ') FROM matches").fetchall()
        config = {
            "source": "server",
            "one_set": self._one_set,
            "carried": self.total,
            "levels": [described(name) for name in LEVELS if name in there],
            "fields": sorted(name for (name,) in named if name),
            "files": [
                {
                    "name": file.name,
                    "first_line": self._lines.first(file.side, file.name),
                    "benchmark": file.benchmark,
                }
                for file in self._files.values()
            ],
        }
        said = f"All {self.total:,} matches that the scan kept. Decisions are kept in {self._log.path}."
        return Carried(config, said=said)

    @property
    def total(self) -> int:
        """Matches that there are."""
        found = self._base.cursor().execute("SELECT count(*) FROM matches").fetchone()
        return int(found[0]) if found else 0

    def read(self) -> None:
        """Takes notice of what was decided meanwhile, by whomever.

        Raises:
            DataError: the file of decisions is broken.
        """
        with self._lock:
            known = self._log.read().by_match
            if known == self._known:
                return
            table = pa.table(
                {
                    name: pa.array([getattr(one, name) for one in known.values()], pa.string())
                    for name in ("match", "decision", "note")
                }
            )
            cursor = self._base.cursor()
            cursor.register("new", table)
            cursor.execute("CREATE OR REPLACE TABLE decided AS SELECT * FROM new")
            cursor.unregister("new")
            self._known = known

    def query(self, asked: Asked) -> dict[str, Any]:
        """How many matches there are as asked, and those from the offset on (docs/review.md)."""
        self.read()
        where, values = asked.conditions
        cursor = self._base.cursor()
        found = cursor.execute(f"SELECT count(*) FROM {_JOINED} WHERE {where}", values).fetchone()
        rows = _rows_of(
            cursor.execute(
                f"SELECT {_COLUMNS} FROM {_JOINED} WHERE place IN (SELECT place FROM {_JOINED} WHERE {where} "
                f"ORDER BY {asked.order} LIMIT {asked.limit} OFFSET {asked.offset}) ORDER BY {asked.order}",
                values,
            )
        )
        return {"total": int(found[0]) if found else 0, "rows": [self._told(row) for row in rows]}

    def texts(self, match: str) -> dict[str, str | None]:
        """Both whole texts of a match.

        Raises:
            DataError: there is no such match.
        """
        found = self._base.cursor().execute(
            f"SELECT {_COLUMNS} FROM {_JOINED} WHERE m.id = $match ORDER BY place LIMIT 1", {"match": match}
        )
        for row in _rows_of(found):
            both = self._alike(row)
            return {"train": both.train, "eval": both.eval}
        raise DataError("there is no such match in this report")

    def decide(self, match: str | None, decision: str | None, note: str | None, reviewer: str | None) -> None:
        """Keeps what was decided of a match; it is on disk when this returns.

        Raises:
            DataError: there is no such match or decision, or it cannot be written.
        """
        if match is None:
            raise DataError(
                "nothing is known of this match that would last: a row of it was an array in memory, or is "
                "known by a fingerprint alone"
            )
        found = self._base.cursor().execute("SELECT level FROM matches WHERE id = $id LIMIT 1", {"id": match})
        row = found.fetchone()
        if row is None:
            raise DataError("there is no such match in this report")
        self.read()  # nothing is written behind what is no decision
        one = Decision.now(match, row[0], decision, scan=self.scan, reviewer=reviewer, note=note)
        with self._lock:
            self._log.append([one])
            self.decided_here += 1
        self.read()

    def _told(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A match as the script of the page takes it."""
        both = self._alike(row)
        runs = [list(run) for run in both.runs]
        longest = max(runs, key=lambda run: run[1] - run[0], default=[0, 0, 0, 0])
        names = ("id", "level", "score", "benchmark", "decision", "note", "train_count", "eval_count")
        return {
            **{name: row[name] for name in names},
            "coverage": row["score"] if LEVELS[row["level"]].excerpts else None,
            "field": row["field"] or None,
            "train": self._side(row, "train", both.train, longest[0] + longest[1]),
            "eval": self._side(row, "eval", both.eval, longest[2] + longest[3]),
            "runs": runs[:MOST_RUNS],
            "runs_found": len(runs),
            "answer": both.answer,
        }

    def _side(self, row: Mapping[str, Any], side: str, text: str | None, ends: int) -> dict[str, Any]:
        """The row of a match on one side, with what is around the middle of two places of a long text."""
        begin, length = 0, None
        if text is not None and len(text) > MOST_CHARS:
            length = len(text)
            begin = max(0, min((ends - MOST_CHARS) // 2, length - MOST_CHARS))
            text = text[begin : begin + MOST_CHARS]
        names = ("file", "row", "doc_id", "chunk_id", "position")
        told = {name: row[f"{side}_{name}"] for name in names}
        return {**told, "line": self._lines.of(row, side), "text": text, "begin": begin, "length": length}

    def _alike(self, row: Mapping[str, Any]) -> Alike:
        """Both texts of a match, and where they are alike."""
        if row["told"] is None:
            return Alike(row["train_text"], row["eval_text"])
        found = self._base.cursor().execute("SELECT * FROM told WHERE n = $n", {"n": row["told"]})
        (told,) = _rows_of(found)
        runs = [
            (run["train_start"], run["train_end"], run["eval_start"], run["eval_end"]) for run in told["runs"]
        ]
        return alike(told, runs).within(told["train_before"], told["train_after"])

    def close(self) -> None:
        """Ends the work of the engine."""
        self._base.close()


def _rows_of(found: Any) -> list[dict[str, Any]]:
    """What a query found."""
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _files(inputs: Mapping[str, Any]) -> dict[tuple[str, str], _File]:
    """The files of a scan by side and name."""
    found: dict[tuple[str, str], _File] = {}
    for side, of_side in inputs.items():
        for file in of_side["files"]:
            name = file["path"]
            benchmark = benchmark_of(name) if side == "eval" else None
            found.setdefault((side, name), _File(side, name, len(found), benchmark))
    return found


def _ids(path: str, inputs: Mapping[str, Any], normalize: str) -> Iterator[pa.Table]:
    """What the matches of a table are known by, some of them at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS_AT_ONCE):
            yield pa.table({"id": match_ids(pa.Table.from_batches([batch]), inputs, normalize)})
