"""The reading of a training set on a Ray cluster: what a fingerprint keeps of each span comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lvmfast.corpus import Dataset
from lvmfast.engines.cluster import WORKER_BYTES, connected, workers
from lvmfast.engines.spans import opened_span, span_items
from lvmfast.engines.spread import spread
from lvmfast.leaks import memory
from lvmfast.leaks.cuts import Cut, Span, pack, spans_of, unpack
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Progress
from lvmfast.splits.directions import WIDTH
from lvmfast.splits.kept import Keeping, Kept

#: Of each row and column a key of 16 bytes and its place, and of a vector its codes and two bounds; three
#: times over while they are joined and packed.
KEY_BYTES = 3 * (16 + 8)
SKETCH_BYTES = 3 * (WIDTH + 4)
#: Per byte of text: of a token of about five bytes a hash, three times over.
GRAMS_BYTES = 5


class SpanReader:
    """The work of a worker: what is kept of a span."""

    def __init__(self, keeping: Keeping, options: ScanOptions) -> None:
        """As `Kept`."""
        self._keeping, self._options = keeping, options

    def __call__(self, item: dict[str, Any]) -> bytes:
        """The cut of a span."""
        span, dataset = opened_span(item)
        kept = Kept(self._keeping, self._options, cuts=True)
        rows = memory.block_rows(dataset, self._keeping.columns, self._options)
        for batch in span.batches(dataset.files[0], self._keeping.columns, rows):
            kept.add(batch)
        return pack({}, kept.cut())


def cuts_from_cluster(
    address: str | None,
    dataset: Dataset,
    keeping: Keeping,
    options: ScanOptions,
    progress: Progress,
) -> Iterator[Cut]:
    """What `Kept.fold` takes of all rows, in their order.

    Raises:
        DataError: no cluster is at the address, it cannot give a worker the memory it needs, a worker has
            another version or cannot read a file, or the dataset is no files that workers can open.
    """
    spans = spans_of(dataset)
    items = span_items(dataset, spans)
    with connected(address) as ray:
        need = memory.working_bytes(options) + WORKER_BYTES + dataset.ahead_bytes
        need += max(_rows(span, dataset) for span in spans) * _row_bytes(keeping, dataset)
        those = workers(ray, need, options.threads)
        arguments = (keeping, replace(options, threads=those.cpus))
        done = 0
        progress("fingerprint", 0, dataset.rows)
        for place, (number, result) in enumerate(
            spread(ray, items, SpanReader, arguments, those, in_order=True)
        ):
            assert number == place
            _, cut = unpack("a cut from a worker", result)
            yield cut
            done += sum(cut["rows"].values())
            progress("fingerprint", done, dataset.rows)


def _rows(span: Span, dataset: Dataset) -> int:
    stop = dataset.files[span.file].estimated_rows() if span.stop is None else span.stop
    return stop - span.start


def _row_bytes(keeping: Keeping, dataset: Dataset) -> int:
    columns = keeping.columns
    grams = GRAMS_BYTES * memory.text_bytes(dataset) if keeping.blocks else 0
    return len(columns) * KEY_BYTES + ("vector" in columns) * SKETCH_BYTES + grams
