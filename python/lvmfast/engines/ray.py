"""The streamed side of a scan on a Ray cluster: the indexed side goes to every worker, cuts come back.

Ray Data distributes the spans, restarts what died with its node, and hands over the cuts as they come. The
rest is the scan of one machine: the driver keeps the cuts in the journal and folds them in the order of rows.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa

from lvmfast._core import __version__
from lvmfast.corpus.dataset import Batch, Dataset, SplitFile
from lvmfast.corpus.load import load_split
from lvmfast.corpus.vector_column import VectorColumn
from lvmfast.errors import DataError, missing_extra
from lvmfast.leaks import memory
from lvmfast.leaks.cuts import Span, pack, unpack
from lvmfast.leaks.engine import Progress, Streamed, read, resumable
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.levels import SIDES, Side
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.running import RunningLevels

#: Of a worker, beside what a scan on one machine holds: Ray's own.
WORKER_BYTES = 200 << 20
LISTENING_SECONDS = 10.0


class SpanScanner:
    """A worker: it indexes one side once, and turns spans of the other into cuts."""

    def __init__(
        self,
        version: str,
        indexed: Any,
        streamed: Streamed,
        fields: Mapping[str, str],
        files: Mapping[Side, int],
        options: ScanOptions,
    ) -> None:
        """`indexed` refers to the batches of the indexed side in Ray's object store."""
        self._fault = ""
        if version != __version__:
            self._fault = f"a worker has lvmfast {__version__}, the driver {version}: put one on all nodes"
            return
        import ray

        self._streamed, self._fields, self._options = streamed, fields, options
        self._running = RunningLevels(
            streamed.levels, streamed.indexed, streamed.dim, files, options, cuts=True
        )
        for batch in ray.get(indexed):
            self._running.take(streamed.indexed, batch)
        self._running.close_index()

    def __call__(self, spans: pa.Table) -> pa.Table:
        """The cut of each span, or what is wrong with its file."""
        cuts, faults = [], []
        for row in spans.to_pylist():
            cut, fault = b"", self._fault
            if not fault:
                try:
                    cut = self._scan(Span(row["file"], row["start"], row["stop"]), row["path"])
                except DataError as error:
                    fault = f"{error} (on node {os.uname().nodename})"
            cuts.append(cut)
            faults.append(fault)
        return spans.append_column("cut", pa.array(cuts, pa.large_binary())).append_column(
            "fault", pa.array(faults, pa.string())
        )

    def _scan(self, span: Span, path: str) -> bytes:
        # What is quarantined was settled by the driver, whose quarantines a worker need not see.
        dataset = load_split([path], columns=self._fields, allow_leaked=True)
        columns = self._streamed.columns
        rows = memory.block_rows(dataset, columns, self._options)
        for batch in span.batches(dataset.files[0], columns, rows):
            self._running.take(self._running.streamed, batch)
        return pack({}, self._running.cut())


class RayStreamer:
    """Streams spans through the workers of a cluster; see `engine.Streamer`."""

    def __init__(self, address: str | None, fields: Mapping[str, str]) -> None:
        """Connects to nothing yet.

        Args:
            address: as `ray.init` takes it; None for a cluster of this machine that ends with the scan.
            fields: column -> field, as the splits were opened with.

        Raises:
            DataError: Ray is not installed.
        """
        try:
            import ray.data  # noqa: F401
        except ImportError as error:
            raise missing_extra("the engine ray", "ray", error) from error
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
        """As `engine.Streamer`.

        Raises:
            DataError: no cluster is at the address, it cannot give a worker the memory it needs, a worker has
                another version or cannot read a file, or the streamed side is no file that workers can open.
        """
        indexed, dataset = sides[streamed.indexed], sides[running.streamed]
        if dataset.coverage is not None:
            raise DataError("the engine ray has no texts by payload on the side that it reads: use --shard")
        paths = [_path(dataset.files[span.file]) for span in todo]
        side = running.streamed
        phase, done = f"scan {side}", journal.rows_done
        progress(phase, done, dataset.rows)
        if not todo:
            return True
        with _cluster(self._address) as ray, resumable(journal):
            need = memory.working_bytes(options) + WORKER_BYTES
            need += memory.index_bytes(streamed.levels, indexed, dataset, options)
            cpus, workers = _workers(ray, options, need)
            batches = [
                _whole(batch)
                for batch in read(
                    indexed, streamed.indexed_columns, f"send {streamed.indexed}", options, progress
                )
            ]
            files: dict[Side, int] = {name: len(sides[name].files) for name in SIDES}
            spans = ray.data.from_arrow(
                [
                    pa.table(
                        {
                            "file": [span.file],
                            "start": [span.start],
                            "stop": pa.array([span.stop], pa.int64()),
                            "path": [path],
                        }
                    )
                    for span, path in zip(todo, paths, strict=True)
                ]
            )
            cuts = spans.map_batches(
                SpanScanner,
                batch_size=1,
                batch_format="pyarrow",
                concurrency=(1, workers) if workers > 1 else 1,
                num_cpus=cpus,
                memory=need,
                fn_constructor_args=(
                    __version__,
                    ray.put(batches),
                    streamed,
                    dict(self._fields),
                    files,
                    replace(options, threads=cpus, scratch=None),
                ),
            )
            left = len(todo)
            for table in cuts.iter_batches(batch_size=None, batch_format="pyarrow"):
                for row in table.to_pylist():
                    if row["fault"]:
                        raise DataError(row["fault"])
                    _, cut = unpack("a cut from a worker", row["cut"])
                    left -= 1
                    journal.add([Span(row["file"], row["start"], row["stop"])], cut, last=False)
                    done += int(cut["seen"]["rows"].sum())
                    progress(phase, done, dataset.rows)
            if left:
                raise DataError(f"the cluster gave {len(todo) - left} of {len(todo)} cuts back")
        return True


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
    if file.origin is not None:
        return file.name
    if file.path is None:
        raise DataError(f"{file.name}: the engine ray reads files; data in memory is scanned by engine local")
    return os.path.abspath(file.path)


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    """Ray, connected; what was started here is stopped."""
    import ray
    import ray.data

    mine = not ray.is_initialized()
    if mine:
        _check_listening(address)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        local: dict[str, Any] = {"include_dashboard": False} if address is None else {}
        try:
            ray.init(address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **local)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise DataError(f"ray: {' '.join(str(error).split())[:200]}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        if mine:
            with suppress(Exception):
                ray.shutdown()


def _check_listening(address: str | None) -> None:
    """Holds an address to have somebody at it: Ray itself would ask for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=LISTENING_SECONDS).close()
    except OSError as error:
        raise DataError(f"ray: no cluster at {address}: {error.strerror or error}") from error


def _workers(ray: Any, options: ScanOptions, need: int) -> tuple[int, int]:
    """Processors of a worker, and how many workers there can be.

    Raises:
        DataError: no node has the memory that a worker needs.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    largest = max((node.get("memory", 0) for node in nodes), default=0)
    if largest < need:
        raise DataError(
            f"a worker needs about {need / 2**30:.2f} GiB, and no node of the cluster gives more than "
            f"{largest / 2**30:.2f} GiB"
        )
    cpus = options.threads or int(min(node["CPU"] for node in nodes))
    fitting = [min(int(node["CPU"]) // cpus, int(node.get("memory", 0)) // need) for node in nodes]
    if not sum(fitting):
        raise DataError(
            f"no node of the cluster has {cpus} processors and {need / 2**30:.2f} GiB for a worker"
        )
    return cpus, sum(fitting)
