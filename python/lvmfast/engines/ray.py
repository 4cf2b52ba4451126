"""A scan on a Ray cluster: the indexed side goes to every worker, cuts of the streamed side come back.

The rest is the scan of one machine: the driver keeps the cuts in the journal and folds them in the order of
rows. What does not fit in memory is shuffled by `ray_partitions.py`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from lvmfast.corpus.budget import reading_within
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.vector_column import VectorColumn
from lvmfast.engines.cluster import WORKER_BYTES, connected, workers
from lvmfast.engines.ray_partitions import shuffled
from lvmfast.engines.spans import opened_span, span_items
from lvmfast.engines.spread import spread
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from lvmfast.leaks.cuts import Span, pack, unpack
from lvmfast.leaks.options import LevelName
from lvmfast.leaks.results import LevelResult
from lvmfast.scan.context import ScanContext
from lvmfast.scan.plan import Plan, Sides
from lvmfast.scan.running import Comparison, RunningLevels


class SpanScanner:
    """The work of a worker: it indexes one side once, and turns spans of the other into cuts."""

    def __init__(self, indexed: Any, comparison: Comparison) -> None:
        """`indexed` refers to the batches of the indexed side in Ray's object store."""
        import ray

        self._running = RunningLevels(comparison)
        for batch in ray.get(indexed):
            self._running.take(comparison.indexed, batch)
        self._running.close_index()

    def __call__(self, item: dict[str, Any]) -> bytes:
        """The cut of a span."""
        comparison = self._running.comparison
        with reading_within(None, comparison.options.threads):
            span, dataset = opened_span(item)
            file = dataset.files[0]
            self._running.turn(span.block)
            columns = comparison.columns(self._running.streamed, span.block)
            rows = memory.block_rows(dataset, columns, comparison.options)
            return pack({}, self._running.cut_of(span, file, span.batches(file, columns, rows)))


class OnRay:
    """The work of a scan on a Ray cluster; see `context.Executor`."""

    on_cluster = True

    def __init__(self, address: str | None) -> None:
        """Connects to nothing yet.

        Args:
            address: as `ray.init` takes it; None for a cluster of this machine that ends with the scan.
        """
        self._address = address

    def stream(
        self, running: RunningLevels, sides: Sides, todo: Sequence[Span], planned: Plan, context: ScanContext
    ) -> bool:
        """As `Executor.stream`, span by span on the workers.

        Raises:
            DataError: no cluster is at the address, it cannot give a worker the memory it needs, a worker has
                another version or cannot read a file, or the streamed side is no file that workers can open.
        """
        comparison, options, journal = running.comparison, context.options, context.journal
        assert journal is not None
        side = running.streamed
        indexed, dataset = sides[comparison.indexed], sides[side]
        if dataset.coverage is not None:
            raise DataError("the engine ray has no texts by payload on the side that it reads: use --shard")
        items = span_items(dataset, todo)
        phase, done = f"scan {side}", journal.rows_done
        context.progress(phase, done, dataset.rows)
        if not todo:
            return True
        with connected(self._address) as ray, context.resumable():
            those = workers(ray, planned.need + WORKER_BYTES, options.threads)
            sent = context.read(indexed, comparison.columns(comparison.indexed), f"send {comparison.indexed}")
            batches = [_whole(batch) for batch in sent]
            of_workers = replace(options, threads=those.cpus, scratch=None)
            arguments = (ray.put(batches), replace(comparison, options=of_workers))
            for number, result in spread(ray, items, SpanScanner, arguments, those):
                _, cut = unpack("a cut from a worker", result)
                journal.add([todo[number]], cut, last=False)
                done += int(cut["seen"]["rows"].sum())
                context.progress(phase, done, dataset.rows)
        return True

    def shuffle(
        self, levels: Sequence[LevelName], sides: Sides, budget: int, context: ScanContext
    ) -> Generator[LevelResult, None, None]:
        """As `Executor.shuffle`, by Ray's group-by; see `ray_partitions.shuffled`."""
        context.announce(f"{', '.join(levels)}: parted on the cluster")
        return shuffled(self._address, levels, sides, context)


def _whole(batch: Batch) -> Batch:
    """A batch whose arrays own their values: blocks are read into memory that is used again."""
    columns: dict[str, Any] = {
        name: replace(column, values=column.values.copy())
        for name, column in batch.stored().items()
        if isinstance(column, VectorColumn)
    }
    return replace(batch, keeper=None, **columns)
