"""The streamed side of a scan on a Ray cluster: the indexed side goes to every worker, cuts come back.

The rest is the scan of one machine: the driver keeps the cuts in the journal and folds them in the order of
rows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from lvmfast.corpus.dataset import Batch, Dataset, SplitFile
from lvmfast.corpus.load import load_split
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.corpus.vector_column import VectorColumn
from lvmfast.engines.cluster import WORKER_BYTES, connected, workers
from lvmfast.engines.spread import spread
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from lvmfast.leaks.cuts import Span, pack, unpack
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Progress, read
from lvmfast.leaks.running import RunningLevels
from lvmfast.leaks.streaming import Streamed, resumable

#: What a worker is told of a span.
_SPAN = pa.schema(
    [
        ("file", pa.int64()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("path", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
    ]
)


class SpanScanner:
    """The work of a worker: it indexes one side once, and turns spans of the other into cuts."""

    def __init__(
        self,
        indexed: Any,
        streamed: Streamed,
        fields: Mapping[str, str],
        files: Mapping[Side, int],
        options: ScanOptions,
    ) -> None:
        """`indexed` refers to the batches of the indexed side in Ray's object store."""
        import ray

        self._streamed, self._fields, self._options = streamed, fields, options
        self._running = RunningLevels(
            streamed.levels, streamed.indexed, streamed.dim, files, options, cuts=True
        )
        for batch in ray.get(indexed):
            self._running.take(streamed.indexed, batch)
        self._running.close_index()

    def __call__(self, item: dict[str, Any]) -> bytes:
        """The cut of a span."""
        span, dataset = opened_span(item, self._fields)
        columns = self._streamed.columns
        rows = memory.block_rows(dataset, columns, self._options)
        for batch in span.batches(dataset.files[0], columns, rows):
            self._running.take(self._running.streamed, batch)
        return pack({}, self._running.cut())


class RayStreamer:
    """Streams spans through the workers of a cluster; see `streaming.Streamer`."""

    def __init__(self, address: str | None, fields: Mapping[str, str]) -> None:
        """Connects to nothing yet.

        Args:
            address: as `ray.init` takes it; None for a cluster of this machine that ends with the scan.
            fields: column -> field, as the splits were opened with.
        """
        self._address, self._fields = address, fields

    def __call__(
        self,
        running: RunningLevels,
        sides: Mapping[Side, Dataset],
        streamed: Streamed,
        todo: Sequence[Span],
        journal: Journal,
        options: ScanOptions,
        progress: Progress,
        room: int | None,
    ) -> bool:
        """As `streaming.Streamer`.

        Raises:
            DataError: no cluster is at the address, it cannot give a worker the memory it needs, a worker has
                another version or cannot read a file, or the streamed side is no file that workers can open.
        """
        indexed, dataset = sides[streamed.indexed], sides[running.streamed]
        if dataset.coverage is not None:
            raise DataError("the engine ray has no texts by payload on the side that it reads: use --shard")
        items = span_items(dataset, todo)
        side = running.streamed
        phase, done = f"scan {side}", journal.rows_done
        progress(phase, done, dataset.rows)
        if not todo:
            return True
        with connected(self._address) as ray, resumable(journal):
            need = memory.working_bytes(options) + WORKER_BYTES
            need += memory.index_bytes(streamed.levels, indexed, dataset, options)
            those = workers(ray, need, options.threads)
            batches = [
                _whole(batch)
                for batch in read(
                    indexed, streamed.indexed_columns, f"send {streamed.indexed}", options, progress
                )
            ]
            files: dict[Side, int] = {name: len(sides[name].files) for name in SIDES}
            of_workers = replace(options, threads=those.cpus, scratch=None)
            arguments = (ray.put(batches), streamed, dict(self._fields), files, of_workers)
            for number, result in spread(ray, items, SpanScanner, arguments, those):
                _, cut = unpack("a cut from a worker", result)
                journal.add([todo[number]], cut, last=False)
                done += int(cut["seen"]["rows"].sum())
                progress(phase, done, dataset.rows)
        return True


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
        row = [span.file, span.start, stop, _path(file), size, version]
        items.append(pa.Table.from_pylist([dict(zip(_SPAN.names, row, strict=True))], _SPAN))
    return items


def opened_span(item: Mapping[str, Any], fields: Mapping[str, str]) -> tuple[Span, Dataset]:
    """The span of an item, and its file as a dataset.

    Raises:
        DataError: the file cannot be opened here, or is another one.
    """
    # What is quarantined was settled by the driver, whose quarantines a worker need not see.
    dataset = load_split([item["path"]], columns=fields, allow_leaked=True, lenient=True)
    origin = dataset.files[0].origin
    if origin is not None and origin.info.version != (item["size"], item["version"]):
        size, version = origin.info.version
        raise DataError(
            f"{item['path']}: changed, or is another file here: expected {item['size']} bytes"
            f"{_version(item['version'])} as the driver found, got {size}{_version(version)}"
        )
    return Span(item["file"], item["start"], item["stop"]), dataset


def _version(version: str | None) -> str:
    return "" if version is None else f" of version {version}"


def _whole(batch: Batch) -> Batch:
    """A batch whose arrays own their values: blocks are read into memory that is used again."""
    columns: dict[str, Any] = {
        name: replace(column, values=column.values.copy())
        for name, column in batch.stored().items()
        if isinstance(column, VectorColumn)
    }
    return replace(batch, **columns)


def _path(file: SplitFile) -> str:
    """The name by which a worker opens a file."""
    if file.path is not None:
        return os.path.abspath(file.path)
    if file.origin is None:
        raise DataError(f"{file.name}: the engine ray reads files; data in memory is for the engine local")
    return file.name
