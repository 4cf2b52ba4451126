"""Keyed levels of two large sides, or texts of one, on a Ray cluster.

Workers read spans and give rows with their keys, Ray's group-by brings together what may be equal, and each
group is joined by `leaks/joins.py`, as a partition is on one machine. What the groups found comes back. Rows
go by numbers that hold their file and the row in it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lvmfast.corpus.dataset import Batch, Column, Dataset
from lvmfast.corpus.keys import Keys
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.engines.cluster import WORKER_BYTES, connected, workers
from lvmfast.engines.group_by import by_group
from lvmfast.engines.spans import opened_span, span_items
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from lvmfast.leaks.cuts import Rows, Span, numbered, pack, spans_of, unpack
from lvmfast.leaks.joins import PartitionJoin, joined_bytes, keyed_result, merged_partitions
from lvmfast.leaks.keyed_by import KeyedBy
from lvmfast.leaks.options import LevelName, ScanOptions
from lvmfast.leaks.records import Records
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.spill import key_hashes, partition_of
from lvmfast.leaks.tally import NO_ROWS, SideTally, Tally, starts_of
from lvmfast.leaks.trees import Tree, from_arrays, to_arrays
from lvmfast.levels import LEVELS
from lvmfast.levels.base import Level
from lvmfast.scan.context import ScanContext

#: Bytes of a file after which another task may read on.
SPAN_BYTES = 64 << 20
#: Bytes that a group takes with its join, about, while keys are many.
GROUP_BYTES = 256 << 20
#: Of a group: its number, key, side and group, as Ray hands them over and once more by side.
ROW_BYTES = 80
#: Of a task: how often the rows of a span, or of a group, are held at once.
COPIES = 3
#: The group of what is told of a span: no rows.
TOLD = -1


@dataclass(frozen=True)
class _Task:
    """What the workers are told of a level."""

    keys: KeyedBy
    columns: tuple[Column, ...]  #: that keys are made of
    sides: tuple[Side, ...]  #: the indexed one first
    files: Mapping[Side, int]
    options: ScanOptions
    groups: int
    texts: bool = False  #: rows that share a key are compared as texts


def shuffled(
    address: str | None,
    levels: Sequence[LevelName],
    sides: Mapping[Side, Dataset],
    context: ScanContext,
) -> Generator[LevelResult, None, None]:
    """What each of the keyed `levels` finds, as `Executor.shuffle` says.

    Raises:
        DataError: no cluster is at the address, it cannot give a task the memory it needs, a worker has
            another version or cannot read a file, or a side is no file that workers can open.
    """
    for side, dataset in sides.items():
        if dataset.coverage is not None:
            raise DataError(f"{side}: the engine ray has no texts by payload on a side that it reads")
    with connected(address) as ray:
        for level in levels:
            yield _LevelOnRay(ray, LEVELS[level], sides, context).result()


class _LevelOnRay:
    """One level."""

    def __init__(
        self,
        ray: Any,
        level: Level,
        sides: Mapping[Side, Dataset],
        context: ScanContext,
    ) -> None:
        assert level.keys is not None
        self._ray, self._level, self._sides, self._told = ray, level.name, sides, context.progress
        options = context.options
        need = memory.working_bytes(options) + WORKER_BYTES + COPIES * (SPAN_BYTES + GROUP_BYTES)
        self._workers = workers(ray, need, 1)
        self._spans = {side: spans_of(dataset, SPAN_BYTES) for side, dataset in sides.items()}
        rows = sum(dataset.estimated_rows() for dataset in sides.values())
        self._task = _Task(
            level.keys,
            level.needs,
            tuple(sides),
            {side: len(dataset.files) for side, dataset in sides.items()},
            replace(options, threads=1, scratch=None),
            self._groups(rows * (ROW_BYTES + joined_bytes(level.keys))),
        )
        self._tally = {side: SideTally(files) for side, files in self._task.files.items()}
        self._texts = self._text_bytes = 0

    def _groups(self, need: int) -> int:
        """So many that each fits, and that every worker has some."""
        return max(2 * self._workers.count, need // GROUP_BYTES + 1)

    def result(self) -> LevelResult:
        """What was found."""
        items = [item for side, spans in self._spans.items() for item in self._items(side, spans)]
        found = self._texts_found(items) if self._task.keys.texts else self._run(self._task, items)
        # There may be no group at all, and then no key is still a number of keys.
        none = LevelResult({}, keys=None if self._task.keys.texts else dict.fromkeys(self._sides, 0))
        parts = (from_arrays(LevelResult, tree) for tree in found)
        merged = merged_partitions(chain([none], parts), self._task.options)
        starts = {side: starts_of(tally.count().file_rows) for side, tally in self._tally.items()}
        return keyed_result(self._tally, [merged.relocated(starts)], self._task.options)

    def _texts_found(self, items: Sequence[pa.Table]) -> Iterator[Tree]:
        sharing: dict[Side, list[Rows]] = {side: [NO_ROWS] for side in self._sides}
        for tree in self._run(self._task, items):
            for side, of_side in sharing.items():
                of_side.append(tree[side])
        wanted = {side: np.sort(np.concatenate(sharing.pop(side))) for side in self._sides}
        yield from self._compare(wanted)

    def _items(
        self, side: Side, spans: Sequence[Span], wanted: Sequence[Rows] | None = None
    ) -> list[pa.Table]:
        """Spans as a worker is given them; with the rows `wanted` of each, where they are not all."""
        items = span_items(self._sides[side], spans)
        rows = [NO_ROWS] * len(items) if wanted is None else wanted
        return [
            item.append_column("side", pa.array([side])).append_column("wanted", pa.array([of.tobytes()]))
            for item, of in zip(items, rows, strict=True)
        ]

    def _compare(self, wanted: Mapping[Side, Rows]) -> Iterator[Tree]:
        """What the groups of rows that share a key yield, compared as texts."""
        items: list[pa.Table] = []
        for side, numbers in wanted.items():
            spans = self._spans[side]
            ends = [
                numbered(span.file + 1, 0) if span.stop is None else numbered(span.file, span.stop)
                for span in spans
            ]
            places = np.searchsorted(numbers, [[numbered(s.file, s.start) for s in spans], ends])
            some = [place for place in range(len(spans)) if places[0, place] < places[1, place]]
            rows = [
                numbers[places[0, place] : places[1, place]] - numbered(spans[place].file, 0)
                for place in some
            ]
            items += self._items(side, [spans[place] for place in some], rows)
        if items:
            each = self._text_bytes // max(1, self._texts) + ROW_BYTES + joined_bytes(self._task.keys)
            groups = self._groups(sum(map(len, wanted.values())) * each)
            yield from self._run(replace(self._task, groups=groups, texts=True), items)

    def _run(self, task: _Task, items: Sequence[pa.Table]) -> Iterator[Tree]:
        """What the groups yield; what is told of the spans is counted."""
        doing, joining = ("read", "compare") if task.texts else ("part", "join")

        def parted(done: int) -> None:
            self._told(f"{doing} {self._level}", done, len(items))

        parted(0)
        done = 0
        work = partial(_part, task), partial(_join, task)
        for result in by_group(self._ray, items, *work, self._workers, task.groups, parted):
            header, tree = unpack("what a worker found", result)
            if not header:
                done += 1
                self._told(f"{joining} {self._level}", done, task.groups)
                yield tree
            elif not task.texts:
                self._tally[header["side"]].add(from_arrays(Tally, tree))
                self._texts += header["texts"]
                self._text_bytes += header["text_bytes"]


def _part(task: _Task, item: dict[str, Any]) -> pa.Table:
    """The rows of a span with their keys, each with the group that its key belongs to."""
    span, dataset = opened_span(item)
    side: Side = item["side"]
    tally, records = SideTally(task.files[side]), Records(task.keys, task.options)
    columns = task.columns
    tables = []
    if task.texts:
        columns = columns if task.options.max_df is None else ("doc_id", *columns)
        for batch, rows in _wanted(span, dataset, columns, np.frombuffer(item["wanted"], np.int64), task):
            tables.append(_grouped(task, side, *records.of_texts(side, batch, rows)))
    else:
        for batch in span.batches(dataset.files[0], columns, _rows(dataset, columns, task)):
            tables.append(_grouped(task, side, *records.of(batch, tally)))
    header = {"side": side, "texts": records.texts, "text_bytes": records.text_bytes}
    told = pa.table(
        {
            "group": pa.array([TOLD], pa.int32()),
            "told": pa.array([pack(header, to_arrays(tally.part()))], pa.binary()),
        }
    )
    schema = records.text_schema if task.texts else records.schema
    first = _grouped(task, side, np.empty((0, 1), np.uint64), pa.RecordBatch.from_pylist([], schema))
    return pa.concat_tables([first, *tables, told], promote_options="default")


def _rows(dataset: Dataset, columns: Sequence[Column], task: _Task) -> int:
    return memory.block_rows(dataset, columns, task.options)


def _wanted(
    span: Span, dataset: Dataset, columns: Sequence[Column], wanted: Rows, task: _Task
) -> Iterator[tuple[Batch, Rows]]:
    """The batches that hold `wanted` rows of the file, numbered by file and row, and those rows of each."""
    file = dataset.files[0]
    present = [column for column in columns if column in file.fields]
    for batch in file.batches(present, _rows(dataset, columns, task), wanted):
        low, high = np.searchsorted(wanted, (batch.file_row, batch.file_row + batch.rows))
        if low < high:
            batch = replace(batch, file=span.file, start=numbered(span.file, batch.file_row))
            yield batch, wanted[low:high] - batch.file_row


def _grouped(task: _Task, side: Side, keys: Keys, rows: pa.RecordBatch) -> pa.Table:
    group = partition_of(key_hashes(keys, 0), task.groups).astype(np.int32)
    table = pa.Table.from_batches([rows]).append_column("group", pa.array(group))
    sides = np.full(len(group), SIDES.index(side), np.int8)
    return table.append_column("side", pa.array(sides)).append_column(
        "told", pa.nulls(len(group), pa.binary())
    )


@dataclass(frozen=True)
class _Held:
    """The rows of one side of a group; a `joins.Part`."""

    rows: pa.Table

    @property
    def schema(self) -> pa.Schema:
        return self.rows.schema

    def read(self) -> Iterator[pa.RecordBatch]:
        return iter(self.rows.to_batches())


def _join(task: _Task, rows: pa.Table) -> list[bytes]:
    """What a group yields; of the group `TOLD`, what was told."""
    if rows["group"][0].as_py() == TOLD:
        told: list[bytes] = rows["told"].to_pylist()
        return told
    rows = rows.drop_columns(["group", "told"]).combine_chunks()
    parts = {
        side: _Held(rows.filter(pc.equal(rows["side"], SIDES.index(side))).drop_columns(["side"]))
        for side in task.sides
    }
    join = PartitionJoin(task.keys, task.sides, parts, task.options, texts=task.texts)
    join.count(None)
    if task.keys.texts and not task.texts:
        return [pack({}, {str(side): numbers for side, numbers in join.sharing().items()})]
    return [pack({}, to_arrays(join.result()))]
