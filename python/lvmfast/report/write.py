"""Writing a scan's files: whole under temporary names, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa

from lvmfast import _core
from lvmfast.durable import flush, scratch_folder
from lvmfast.errors import DataError, naming
from lvmfast.report.page import PAGE, draw_page
from lvmfast.report.tables import GROUP_ROWS
from lvmfast.stores import Folder, folder, is_uri

SUMMARY = "summary.json"
MATCHES = "matches.parquet"
MATCHED_ROWS = "matched_rows.parquet"
NEAREST = "nearest.parquet"
UNDECIDED = "undecided.parquet"
OVERLAPS = "overlaps.parquet"
ITEMS = "items.parquet"
SET_ASIDE = "set_aside.parquet"
DECIDED = "decided.parquet"
#: Tables that not every scan has.
EXTRA = frozenset({NEAREST, UNDECIDED, OVERLAPS, ITEMS, SET_ASIDE, DECIDED})
#: The field of a summary that has the BLAKE3 of each table that belongs to it.
TABLES = "tables"
#: Where a scan keeps what it needs to go on after it was stopped, and a part what a merge needs.
PARTIAL, PART = ".partial/", "part/"


def prepare_directory(directory: str | PathLike[str]) -> Folder:
    """Makes sure that `directory`, a path or a URI, can be written, before hours of work depend on it.

    Nothing is left there.

    Raises:
        DataError: it cannot.
    """
    place = folder(directory)
    place.check()
    return place


def write_scan(
    directory: str | PathLike[str],
    summary: Mapping[str, Any],
    matched_rows: Iterable[pa.Table],
    matches: pa.Table,
    extra: Mapping[str, pa.Table],
) -> None:
    """Writes the files of a scan into `directory`, `extra` tables (by name) among them, the summary last.

    `matched_rows` comes in tables of as many rows as a row group has; the last one may have fewer.

    An earlier scan's summary is removed first, so that a summary never stands beside another scan's tables;
    and it has their digests, so that where nobody can be kept out such a pair is known when it is read.
    What was put into a store is taken away again when not all of it can be put.

    Raises:
        DataError: the directory cannot be written, or the disk or the store is full.
    """
    place = prepare_directory(directory)
    tables = {MATCHED_ROWS: matched_rows, MATCHES: [matches]} | {
        name: [table] for name, table in extra.items()
    }
    if is_uri(place.path):
        _put(place, summary, tables, matches, extra)
        return
    path = Path(place.path)
    with naming(path, "cannot write the report"):
        path.mkdir(parents=True, exist_ok=True)
        with scratch_folder(path) as staging:
            for name, parts in tables.items():
                _write_table(parts, staging / name)
            digests = {name: _core.blake3_file(str(staging / name), 0) for name in tables}
            text = _as_text({**summary, TABLES: digests})
            (staging / SUMMARY).write_text(text, "utf-8")
            # Drawn from the text and not from `summary`, as it is when it is drawn again.
            (staging / PAGE).write_text(
                draw_page(json.loads(text), matches, extra.get(OVERLAPS), extra.get(DECIDED)), "utf-8"
            )
            names = (*tables, PAGE, SUMMARY)
            for name in names:
                flush(staging / name)
            (path / SUMMARY).unlink(missing_ok=True)
            for name in EXTRA - tables.keys():
                (path / name).unlink(missing_ok=True)  # an earlier scan's
            for name in names:
                os.replace(staging / name, path / name)
            flush(path)
        if not place.alone and not _stand(path, text, digests):
            raise DataError(f"{path}: another process wrote its report there meanwhile; scan again")


def _stand(path: Path, text: str, digests: Mapping[str, str]) -> bool:
    """Whether a summary and its tables are what stands in a folder."""
    with suppress(OSError):
        same = {name: _core.blake3_file(str(path / name), 0) for name in digests} == digests
        return same and (path / SUMMARY).read_text("utf-8") == text
    return False


def write_summary(directory: str | PathLike[str], summary: Mapping[str, Any]) -> None:
    """Writes the summary of a scan that has no more to say yet: it is not whole, or is one part of several.

    Raises:
        DataError: the directory cannot be written.
    """
    folder(directory).write(SUMMARY, _as_text(summary).encode())


def _put(
    place: Folder,
    summary: Mapping[str, Any],
    tables: Mapping[str, Iterable[pa.Table]],
    matches: pa.Table,
    extra: Mapping[str, pa.Table],
) -> None:
    files: dict[str, bytes] = {}
    for name, parts in tables.items():
        sink = pa.BufferOutputStream()
        _write_table(parts, sink)
        files[name] = sink.getvalue().to_pybytes()
    digests = {name: _core.blake3_bytes(content, 0) for name, content in files.items()}
    text = _as_text({**summary, TABLES: digests})
    files[PAGE] = draw_page(json.loads(text), matches, extra.get(OVERLAPS), extra.get(DECIDED)).encode()
    files[SUMMARY] = text.encode()
    for name in [SUMMARY, *(EXTRA - tables.keys())]:
        place.remove(name)
    done: list[str] = []
    try:
        for name, content in files.items():
            place.write(name, content)
            done.append(name)
    except BaseException:
        for name in done:
            with suppress(DataError):
                place.remove(name)
        raise


def _write_table(parts: Iterable[pa.Table], where: Any) -> None:
    import pyarrow.parquet as pq

    # One row-group size and no compression choice left to defaults: equal tables are equal bytes.
    parts = iter(parts)
    first = next(parts)
    with pq.ParquetWriter(where, first.schema, compression="zstd") as writer:
        for part in chain([first], parts):
            writer.write_table(part, row_group_size=GROUP_ROWS)


def _as_text(summary: Mapping[str, Any]) -> str:
    return json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
