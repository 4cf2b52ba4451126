"""Writing a scan's files: whole under temporary names, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lvmfast.durable import flush
from lvmfast.errors import DataError
from lvmfast.report.page import PAGE, draw_page

SUMMARY = "summary.json"
MATCHES = "matches.parquet"
MATCHED_ROWS = "matched_rows.parquet"
NEAREST = "nearest.parquet"
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
    extra: Mapping[str, pa.Table],
) -> None:
    """Writes the files of a scan into `directory`, `extra` tables (by name) among them, the summary last.

    An earlier scan's summary is removed first, so that a summary never stands beside another scan's tables.

    Raises:
        DataError: the directory cannot be written, or the disk is full.
    """
    path = prepare_directory(directory)
    tables = {MATCHED_ROWS: matched_rows, MATCHES: matches, **extra}
    staging = Path(tempfile.mkdtemp(prefix=".writing-", dir=path))
    try:
        # One row-group size and no compression choice left to defaults: equal tables are equal bytes.
        for name, table in tables.items():
            pq.write_table(table, staging / name, compression="zstd", row_group_size=1 << 20)
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (staging / SUMMARY).write_text(text, "utf-8")
        # Drawn from the text and not from `summary`, as it is when it is drawn again.
        (staging / PAGE).write_text(draw_page(json.loads(text), matches), "utf-8")
        names = (*tables, PAGE, SUMMARY)
        for name in names:
            flush(staging / name)
        (path / SUMMARY).unlink(missing_ok=True)
        for name in {NEAREST, UNDECIDED} - tables.keys():
            (path / name).unlink(missing_ok=True)  # an earlier scan's
        for name in names:
            os.replace(staging / name, path / name)
        flush(path)
    except OSError as error:
        raise DataError(f"{path}: cannot write the report: {error.strerror or error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
