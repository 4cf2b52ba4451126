"""The ids and texts of the rows that a report names, apart from the files that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from lvmfast.corpus.dataset import Column, Dataset
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.leaks.cuts import ROW_BITS, Cut, Rows, located, numbered
from lvmfast.leaks.evidence import Named

LOOKED_UP: tuple[Column, ...] = ("doc_id", "chunk_id", "text", "passage", "answer")


def named_values(named: Named, sides: Mapping[Side, Dataset]) -> Cut:
    """What the rows of `named` hold, those of the streamed training side by the numbers of `cuts`.

    Raises:
        DataError: a file changed, or is broken.
    """
    numbers = named.evidence["train"]
    of_train = [_values(sides["train"], numbers[numbers >= 0])]
    rows = named.evidence["eval"]
    of_eval = _taken(sides["eval"], rows[rows >= 0], LOOKED_UP)
    documents = _taken(sides["eval"], named.matched, ("doc_id",))
    return {"train": _saved(_joined(of_train)), "eval": _saved(of_eval), "documents": _saved(documents)}


def _values(dataset: Dataset, numbers: Rows) -> pa.Table:
    tables = []
    for place in np.unique(numbers >> ROW_BITS).tolist():
        first, end = np.searchsorted(numbers, (numbered(place, 0), numbered(place + 1, 0)))
        rows = numbers[first:end] - numbered(place, 0)
        table = _taken(Dataset((dataset.files[place],)), rows, LOOKED_UP)
        tables.append(table.set_column(0, "row", pa.array(numbers[first:end])))
    return _joined(tables)


def _taken(dataset: Dataset, rows: Rows, columns: Sequence[Column]) -> pa.Table:
    """Rows with `columns` as text; null where the dataset has no such column."""
    present = [column for column in columns if column in dataset.columns]
    table = dataset.take(rows, present)
    arrays = [
        table[column].cast(pa.large_string()) if column in present else pa.nulls(len(rows), pa.large_string())
        for column in columns
    ]
    return pa.table([table["row"], *arrays], names=["row", *columns])


def _joined(tables: Sequence[pa.Table]) -> pa.Table:
    schema = pa.schema([("row", pa.int64()), *((column, pa.large_string()) for column in LOOKED_UP)])
    return pa.concat_tables([pa.Table.from_batches([], schema), *tables])


def _saved(table: pa.Table) -> Rows:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return np.frombuffer(sink.getvalue(), np.uint8)


class NamedRows:
    """One side of a scan, as far as its report names it: it answers `take` like a dataset."""

    def __init__(self, columns: Sequence[Column], table: pa.Table) -> None:
        """`table` has ``row``, ascending and unique, and `columns` as text."""
        self.columns: frozenset[Column] = frozenset(columns)
        self._table = table

    def take(self, rows: Rows, columns: Sequence[Column]) -> pa.Table:
        """As `Dataset.take`; ids are text."""
        places = np.searchsorted(self._table["row"].to_numpy(), rows)
        return self._table.select(["row", *columns]).take(pa.array(places))

    def taken(self, rows: Rows, columns: Sequence[Column]) -> Iterator[pa.Table]:
        """As `Dataset.taken`."""
        yield self.take(rows, columns)


def named_rows(
    parts: Sequence[Cut], starts: Rows, columns: Mapping[Side, Sequence[Column]]
) -> dict[Side, NamedRows]:
    """The sides of a scan from what its parts saved.

    Of the evaluation side the rows that the evidence names have ids and texts; others that match have
    document ids alone.

    Args:
        parts: what `named_values` gave, part by part.
        starts: the dataset row at which each training file starts.
        columns: of each side.
    """
    train = _joined([_read(part["train"]) for part in parts])
    at = located(train["row"].to_numpy(), starts)
    of_eval = _with_documents(
        _joined([_read(part["eval"]) for part in parts]),
        pa.concat_tables([_read(part["documents"]) for part in parts]),
    )
    sides: dict[Side, pa.Table] = {"train": train.set_column(0, "row", pa.array(at)), "eval": of_eval}
    return {
        side: NamedRows([column for column in LOOKED_UP if column in columns[side]], _unique(sides[side]))
        for side in SIDES
    }


def _with_documents(rows: pa.Table, documents: pa.Table) -> pa.Table:
    import pyarrow.compute as pc

    missing = pc.invert(pc.is_in(documents["row"], rows["row"]))
    alone = documents.filter(missing)
    nulls = [pa.nulls(len(alone), pa.large_string()) for _ in LOOKED_UP[1:]]
    return _joined([rows, pa.table([alone["row"], alone["doc_id"], *nulls], names=rows.schema.names)])


def _unique(table: pa.Table) -> pa.Table:
    """The rows in order, each once."""
    _, first = np.unique(table["row"].to_numpy(), return_index=True)
    return table.take(pa.array(first))


def _read(saved: Rows) -> pa.Table:
    with pa.ipc.open_stream(pa.py_buffer(saved)) as reader:
        return reader.read_all()
