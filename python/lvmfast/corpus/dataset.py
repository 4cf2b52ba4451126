"""What every reader yields: a `Dataset` of `SplitFile`s, streamed as `Batch`es."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.plain import arrow_numbers
from lvmfast.corpus.side_by_side import ReadBeside, in_turn
from lvmfast.corpus.vector_column import VectorColumn
from lvmfast.errors import DataError
from lvmfast.stores import Source
from lvmfast.stores.ahead import AHEAD_BYTES

Column = Literal[
    "doc_id", "chunk_id", "text", "vector", "context", "question", "passage", "choices", "answer"
]
#: What an evaluation item has beside its text, which is its question.
ITEM_COLUMNS: tuple[Column, ...] = ("passage", "choices", "answer")
#: ``question`` is none of them: it names the text of evaluation items.
COLUMNS: tuple[Column, ...] = ("doc_id", "chunk_id", "text", "vector", "context", *ITEM_COLUMNS)

#: Columns that a batch holds under another name: that of a property gives the array.
_FIELDS: Mapping[str, str] = {"vector": "targets", "context": "windows"}

_DIMENSION, _LENGTH = "vectors of {} values", "windows of {} vectors"
#: What all files of a split must have in common for the column to be read.
_SHAPES: tuple[tuple[Column, str, str], ...] = (
    ("vector", "dim", _DIMENSION),
    ("context", "dim", _DIMENSION),
    ("context", "context_length", _LENGTH),
)

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of one file. A column is None where the file has none or none was asked for.

    Ids are int64 or large_string arrays with nulls; text is large_string with nulls; vectors are aligned,
    C-contiguous float32 of shape (rows, d), contexts (rows, length, d). `targets` and `windows` are these two
    as they were read, where a vector that stands in many windows may be there once. Passage, choices and
    answer are text; several texts of one row stand behind each other, with a `values.SEPARATOR` between.
    """

    file: int  #: place of the file in ``Dataset.files``
    file_row: int  #: row of the file at which the batch starts
    start: int  #: row of the dataset at which the batch starts
    rows: int
    doc_id: pa.Array | None = None
    chunk_id: pa.Array | None = None
    text: pa.Array | None = None
    passage: pa.Array | None = None
    choices: pa.Array | None = None
    answer: pa.Array | None = None
    targets: VectorColumn | None = None
    windows: VectorColumn | None = None
    #: Keeps some rows of the file, by number, so that `Dataset.take` need not read them again.
    keeper: Callable[[Rows], None] | None = None

    @classmethod
    def of(cls, file_row: int, rows: int, values: Mapping[Column, Any]) -> Batch:
        """Rows of a file from `file_row` on, by column; vectors come as arrays or as `VectorColumn`."""
        fields: dict[str, Any] = {_FIELDS.get(column, column): value for column, value in values.items()}
        for name in _FIELDS.values():
            if isinstance(array := fields.get(name), np.ndarray):
                fields[name] = VectorColumn.of(array)
        return cls(0, file_row, 0, rows, **fields)

    @property
    def vector(self) -> Vectors | None:
        """(rows, d), every row with a copy of its own."""
        return None if self.targets is None else self.targets.array

    @property
    def context(self) -> Vectors | None:
        """(rows, length, d), every place with a copy of its own."""
        return None if self.windows is None else self.windows.array

    def stored(self) -> dict[str, Any]:
        """The columns that are there, by the names of the fields that hold them."""
        fields = {name: getattr(self, name) for name in (_FIELDS.get(column, column) for column in COLUMNS)}
        return {name: values for name, values in fields.items() if values is not None}

    @property
    def nbytes(self) -> int:
        """Bytes of the columns that are there."""
        return sum(int(values.nbytes) for values in self.stored().values())

    def keep(self, rows: Rows) -> None:
        """Has rows of the batch kept, where that spares reading them again, for `Dataset.take`."""
        if self.keeper is not None:
            self.keeper(self.file_row + rows)

    def sliced(self, start: int, stop: int) -> Batch:
        """Rows `start` to `stop` of the batch, without a copy."""
        # A view of numpy's, a slice of Arrow's.
        changed: dict[str, Any] = {name: values[start:stop] for name, values in self.stored().items()}
        changed |= {"file_row": self.file_row + start, "start": self.start + start, "rows": stop - start}
        return replace(self, **changed)


class InputFile(Protocol):
    """What a report says of a file that was read."""

    @property
    def name(self) -> str:
        """The path as the user gave or found it."""
        ...

    @property
    def path(self) -> str | None:
        """The local file."""
        ...

    @property
    def origin(self) -> Source | None:
        """The local file or the object; None for what is in memory."""
        ...

    @property
    def nbytes(self) -> int:
        """Its size."""
        ...

    @property
    def fields(self) -> Mapping[Column, str]:
        """Which field each column is read from."""
        ...

    @property
    def provenance(self) -> dict[str, Any] | None:
        """Its own statement of where it comes from."""
        ...

    @property
    def first_line(self) -> int | None:
        """The line of row 0, where each row after it stands on the next line; known once it was read."""
        ...


class SplitFile(Protocol):
    """One input of a split, opened: its columns and shapes are known, its rows are not in memory."""

    name: str  #: the path as the user gave or found it, or a label such as ``<arrays>``
    path: str | None  #: the local file behind it, if there is one
    origin: Source | None  #: the local file or the object behind it
    nbytes: int  #: size on disk or in memory, to guess the smaller side by when rows are unknown
    fields: dict[Column, str]  #: which field of the file each column is read from
    unreadable: dict[Column, str]  #: columns whose field is of another type than they need: why
    id_types: dict[Column, pa.DataType]  #: int64 or large_string, for each id column
    dim: int | None  #: d of ``vector`` (of ``context`` where there is no ``vector``)
    context_length: int | None
    provenance: dict[str, Any] | None  #: the file's own statement of encoder, norm and metric
    notes: tuple[str, ...]  #: what the reader did to the values ("targets: float64 rounded to float32")
    starts: Rows | None  #: rows at which reading can begin without the rows before them; None: at any

    @property
    def first_line(self) -> int | None:
        """As of `InputFile`."""
        ...

    @property
    def rows(self) -> int | None:
        """None where only reading to the end tells (jsonl, csv); known once `batches` was."""
        ...

    def estimated_rows(self) -> int:
        """`rows`, or a guess from the first block and the file's size."""
        ...

    def batches(self, columns: Sequence[Column], rows: int, wanted: Rows | None = None) -> Iterator[Batch]:
        """Streams the rows in order, at most `rows` at a time; ``file`` and ``start`` are left 0.

        With `wanted`, sorted row numbers of this file, batches that hold none of them may be left out.
        """
        ...


@dataclass(frozen=True)
class Coverage:
    """How well a payload fits a split: rows that have both ids, and how many of them found a text."""

    payload: str
    rows: int
    covered: int

    @property
    def rate(self) -> float:
        """covered / rows, 0.0 where no row has both ids."""
        return self.covered / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Dataset:
    """One split: its files in reading order. Row numbers of the dataset run through all of them.

    A column that one of its files holds as something else, or that two files hold in different shapes, is no
    column of the split, but `unreadable`: what needs it has to say so.
    """

    files: tuple[SplitFile, ...]
    coverage: Coverage | None = None  #: of the payload that was joined, if one was
    remarks: tuple[str, ...] = ()  #: notes that belong to no single file
    leaked: tuple[str, ...] = ()  #: quarantined files among its own and its payload's: no score on it counts

    keys_alone: ClassVar[bool] = False  #: whether it is a fingerprint, which has no rows to read

    @property
    def unreadable(self) -> dict[Column, str]:
        """Why a column that is there cannot be read, in a line that names the file."""
        found: dict[Column, str] = {}
        for file in self.files:
            for column, why in file.unreadable.items():
                found.setdefault(column, why)
        for column, attribute, phrase in _SHAPES:
            differ = self._disagreement(attribute, phrase)
            if differ is not None and any(column in file.fields for file in self.files):
                found.setdefault(column, differ)
        return found

    def _disagreement(self, attribute: str, phrase: str) -> str | None:
        first: tuple[str, int] | None = None
        for file in self.files:
            value = getattr(file, attribute)
            if value is None:
                continue
            if first is None:
                first = (file.name, value)
            elif first[1] != value:
                expected = phrase.format(first[1])
                return f"{file.name}: expected {expected} as in {first[0]}, got {value}"
        return None

    def _shared(self, attribute: str, phrase: str) -> int | None:
        values = (getattr(file, attribute) for file in self.files)
        return None if self._disagreement(attribute, phrase) else next((v for v in values if v), None)

    def require_rows(self, why: str) -> None:
        """Nothing, where rows can be read; a split of which only keys are left refuses, and says `why`.

        Raises:
            DataError: it is such a split.
        """

    @property
    def inputs(self) -> Sequence[InputFile]:
        """What was opened: the files, unless they are only described in another."""
        return self.files

    @property
    def columns(self) -> frozenset[Column]:
        """The columns that at least one file has, and none as something unreadable."""
        return frozenset(column for file in self.files for column in file.fields) - self.unreadable.keys()

    @property
    def dim(self) -> int | None:
        """d of the vectors and context windows; None where no file has any, or two differ."""
        return self._shared("dim", _DIMENSION)

    @property
    def context_length(self) -> int | None:
        """Vectors per context window; None where no file has any, or two differ."""
        return self._shared("context_length", _LENGTH)

    @property
    def rows(self) -> int | None:
        """Rows of all files; None until files that do not say how long they are were read to the end."""
        total = 0
        for file in self.files:
            if file.rows is None:
                return None
            total += file.rows
        return total

    def estimated_rows(self) -> int:
        """`rows` where every file knows its own, else with a guess for those that do not."""
        return sum(file.estimated_rows() for file in self.files)

    @property
    def nbytes(self) -> int:
        """Size of all files on disk or in memory."""
        return sum(file.nbytes for file in self.files)

    @property
    def ahead_bytes(self) -> int:
        """The most that is held of objects in a store before it is asked for: here, and under way."""
        stored = any(file.origin is not None and file.origin.path is None for file in self.files)
        return 2 * AHEAD_BYTES if stored else 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What the readers did to the values, each line led by the file's name."""
        return (*self.remarks, *(f"{file.name}: {note}" for file in self.files for note in file.notes))

    @property
    def provenance(self) -> dict[str, dict[str, Any]]:
        """What files state about their encoder, by file name."""
        return {file.name: file.provenance for file in self.files if file.provenance is not None}

    def id_type(self, column: Column) -> pa.DataType:
        """int64 if every file that has `column` holds integers, else large_string."""
        types = [file.id_types[column] for file in self.files if column in file.id_types]
        return pa.int64() if types and all(t == pa.int64() for t in types) else pa.large_string()

    def batches(
        self, columns: Sequence[Column], rows: int = 8192, wanted: Rows | None = None
    ) -> Iterator[Batch]:
        """Streams all rows in order, at most `rows` at a time; a batch never crosses a file.

        Columns that were not asked for, or that the file lacks, are None. With `wanted`, sorted row numbers
        of the dataset, only batches that hold one of them come; files must have been read to the end before.

        Raises:
            DataError: the file turns out to be broken.
            ValueError: `columns` names something else, or `rows` is under 1.
        """
        _check_request(columns, rows)
        start = 0
        if wanted is not None:
            yield from self._batches_holding(wanted, columns, rows)
            return
        readings = [
            partial(file.batches, [c for c in columns if c in file.fields], rows) for file in self.files
        ]
        for place, batches in enumerate(in_turn(readings, beside=self.read_beside(columns))):
            for batch in batches:
                yield replace(batch, file=place, start=start)
                start += batch.rows

    def read_beside(self, columns: Sequence[Column]) -> bool:
        """Whether threads may read several of its files at once: texts and ids, whose blocks are small."""
        return not {"vector", "context"} & set(columns) and all(
            isinstance(file, ReadBeside) and file.origin is not None for file in self.files
        )

    def _batches_holding(self, wanted: Rows, columns: Sequence[Column], rows: int) -> Iterator[Batch]:
        start = 0
        for place, file in enumerate(self.files):
            end = start + _counted(file)
            within = wanted[slice(*np.searchsorted(wanted, (start, end)))] - start
            present = [column for column in columns if column in file.fields]
            for batch in file.batches(present, rows, within) if len(within) else ():
                low, high = np.searchsorted(within, (batch.file_row, batch.file_row + batch.rows))
                if low < high:
                    yield replace(batch, file=place, start=start + batch.file_row)
            start = end

    def take(self, rows: Rows, columns: Sequence[Column]) -> pa.Table:
        """Ids and text of some rows: the second look, after a scan found which rows matter.

        Args:
            rows: sorted, unique row numbers of the dataset, int64 (n,).
            columns: any but ``vector`` and ``context``.

        Returns:
            A table of n rows in the order of `rows`: ``row`` and `columns`. Ids are int64 if every file
            that has them holds integers, else decimal text; null where the file lacks the column.

        Raises:
            DataError: the files end before the last of `rows`, or are broken.
            ValueError: `columns` names something else.
        """
        types = self._types(columns)
        schema = pa.schema([("row", pa.int64()), *types.items()])
        return pa.concat_tables([pa.Table.from_batches([], schema), *self.taken(rows, columns)])

    def taken(self, rows: Rows, columns: Sequence[Column]) -> Iterator[pa.Table]:
        """As `take`, piece by piece while the files are read.

        Raises:
            DataError, ValueError: as `take`.
        """
        _check_request(columns, 1)
        if any(column in ("vector", "context") for column in columns):
            raise ValueError("take: columns are any but vector and context")
        wanted = np.asarray(rows, dtype=np.int64)
        types = self._types(columns)
        done, start = 0, 0
        for file in self.files:
            if done == len(wanted):
                break
            if file.rows is not None and wanted[done] >= start + file.rows:
                start += file.rows
                continue
            end = len(wanted) if file.rows is None else int(np.searchsorted(wanted, start + file.rows))
            within = wanted[done:end] - start
            present = [column for column in columns if column in file.fields]
            for batch in file.batches(present, 8192, within):
                low, high = np.searchsorted(within, (batch.file_row, batch.file_row + batch.rows))
                if low == high:
                    continue
                picked = arrow_numbers(within[low:high] - batch.file_row)
                table = {"row": arrow_numbers(within[low:high] + start)}
                for column, type_ in types.items():
                    values = getattr(batch, column)
                    nulls = pa.nulls(len(picked), type_)
                    table[column] = nulls if values is None else values.take(picked).cast(type_)
                yield pa.table(table)
                done += int(high - low)
            start += _counted(file)
        if done < len(wanted):
            raise DataError(f"{self.files[-1].name}: row {wanted[done]} is past the end of the split")

    def _types(self, columns: Sequence[Column]) -> dict[Column, pa.DataType]:
        ids = ("doc_id", "chunk_id")
        return {c: self.id_type(c) if c in ids else pa.large_string() for c in columns}


def _counted(file: SplitFile) -> int:
    """The rows of a file that was read to its end."""
    if file.rows is None:
        raise ValueError(f"{file.name}: rows are wanted by number before the file was read to the end")
    return file.rows


def _check_request(columns: Sequence[Column], rows: int) -> None:
    unknown = [column for column in columns if column not in COLUMNS]
    if unknown:
        raise ValueError(f"unknown columns {unknown}: expected some of {COLUMNS}")
    if rows < 1:
        raise ValueError(f"rows: expected at least 1, got {rows}")
