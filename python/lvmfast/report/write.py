"""Writing a scan's files: whole under temporary names, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lvmfast.durable import flush
from lvmfast.errors import DataError

SUMMARY = "summary.json"
MATCHES = "matches.parquet"
MATCHED_ROWS = "matched_rows.parquet"
UNDECIDED = "undecided.parquet"


def prepare_directory(directory: str | PathLike[str]) -> Path:
    """Makes sure that `directory` exists and can be written, before hours of work depend on it.

    Raises:
        DataError: it cannot.
    """
    path = Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise DataError(f"{path}: cannot write there: {error.strerror}") from error
    return path


def write_scan(
    directory: str | PathLike[str],
    summary: dict[str, Any],
    matched_rows: pa.Table,
    matches: pa.Table,
    undecided: pa.Table | None = None,
) -> None:
    """Writes the files of a scan into `directory`, the summary last.

    An earlier scan's summary is removed first, so that a summary never stands beside another scan's tables.

    Raises:
        DataError: the directory cannot be written, or the disk is full.
    """
    path = prepare_directory(directory)
    tables = {MATCHED_ROWS: matched_rows, MATCHES: matches}
    if undecided is not None:
        tables[UNDECIDED] = undecided
    staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=path))
    try:
        # One row-group size and no compression choice left to defaults: equal tables are equal bytes.
        for name, table in tables.items():
            pq.write_table(table, staging / name, compression="zstd", row_group_size=1 << 20)
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (staging / SUMMARY).write_text(text, "utf-8")
        for name in (*tables, SUMMARY):
            flush(staging / name)
        (path / SUMMARY).unlink(missing_ok=True)
        (path / UNDECIDED).unlink(missing_ok=True)
        for name in (*tables, SUMMARY):
            os.replace(staging / name, path / name)
        flush(path)
    except OSError as error:
        raise DataError(f"{path}: cannot write the report: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
