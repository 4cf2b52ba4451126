"""Spans of files as items that any worker of a cluster can open."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from lvmfast.corpus.dataset import Dataset, SplitFile
from lvmfast.corpus.load import load_split
from lvmfast.errors import DataError
from lvmfast.leaks.cuts import Span

#: What a worker is told of a span.
_SPAN = pa.schema(
    [
        ("file", pa.int64()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("block", pa.int64()),
        ("path", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
        ("fields", pa.map_(pa.string(), pa.string())),  # of each column, as the driver found them
    ]
)


def span_items(dataset: Dataset, spans: Sequence[Span]) -> list[pa.Table]:
    """Spans as items that any worker can open.

    Raises:
        DataError: the dataset is no file that workers can open.
    """
    items = []
    for span in spans:
        file = dataset.files[span.file]
        size, version = (None, None) if file.origin is None else file.origin.info.version
        # Of lines a worker does not know how many there are, once the driver has read to their end.
        stop = file.rows if span.start and span.stop is None else span.stop
        row = [span.file, span.start, stop, span.block, _path(file), size, version, file.fields]
        items.append(pa.Table.from_pylist([dict(zip(_SPAN.names, row, strict=True))], _SPAN))
    return items


def opened_span(item: Mapping[str, Any]) -> tuple[Span, Dataset]:
    """The span of an item, and its file as a dataset.

    Raises:
        DataError: the file cannot be opened here, or is another one.
    """
    # What is quarantined was settled by the driver, whose quarantines a worker need not see.
    dataset = load_split([item["path"]], columns=dict(item["fields"]), allow_leaked=True, lenient=True)
    origin = dataset.files[0].origin
    if origin is not None and origin.info.version != (item["size"], item["version"]):
        size, version = origin.info.version
        raise DataError(
            f"{item['path']}: changed, or is another file here: expected {item['size']} bytes"
            f"{_version(item['version'])} as the driver found, got {size}{_version(version)}"
        )
    return Span(item["file"], item["start"], item["stop"], item["block"]), dataset


def _version(version: str | None) -> str:
    return "" if version is None else f" of version {version}"


def _path(file: SplitFile) -> str:
    """The name by which a worker opens a file."""
    if file.path is not None:
        return os.path.abspath(file.path)
    if file.origin is None:
        raise DataError(f"{file.name}: the engine ray reads files; data in memory is for the engine local")
    return file.name
