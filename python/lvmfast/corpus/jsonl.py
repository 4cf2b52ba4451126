"""JSON lines and lists of JSON objects, plain or compressed.

A column's type follows from what the column is for, so only two things have to be found out: which fields
there are, and the shape of vectors. `Fields` finds them in the beginning of a file or in all of it.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from typing import Any, NamedTuple, NoReturn

import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.blocks import ahead
from lvmfast.corpus.codecs import codec_of
from lvmfast.corpus.columns import ALIASES, NAMED, resolve
from lvmfast.corpus.dataset import ITEM_COLUMNS, Column, Rows
from lvmfast.corpus.dead_ends import NOTHING, dead_end
from lvmfast.corpus.expressions import Expression, expressions, heads_of, made_of
from lvmfast.corpus.json_rows import Reading, objects, parsed
from lvmfast.corpus.lines import Lines, line_blocks
from lvmfast.corpus.looks import LackingError, SampleContradicted, by_sample
from lvmfast.corpus.marks import Marks
from lvmfast.corpus.npy import Refilling
from lvmfast.corpus.shapes import HEADS, shaped
from lvmfast.corpus.streams import Head, decompressed, head
from lvmfast.corpus.table_file import TableFile
from lvmfast.stores import Source, as_source

#: The type of a field that is no column: of a kind that no column can be made of.
NO_COLUMN = pa.struct([])


def open_jsonl(path: str | Source, mapping: dict[Column, str], *, strict: bool = True) -> TableFile:
    """A file of one JSON object per line, or of one list of objects.

    Blank lines and a byte order mark are passed over. Ids come out as text: they may be integers in one line
    and strings in another. A field is there if it stands in the first MiB, or has a value anywhere; inside
    a call that can begin again the first MiB decides until a line says otherwise.

    Raises:
        DataError: a broken line (it is named), or fields that do not fit their columns.
    """
    source = as_source(path)
    path = source.name
    fields = Fields(path, mapping, strict)
    start, guess = fields.look_at_head(source)
    looked_at = fields.line
    if not start.complete and not by_sample():
        fields.look_through(source)
    columns, carried, watched = fields.columns(), fields.texts_named_context(), fields.unseen()

    def contradicted(line: int, name: str, value: Any) -> NoReturn:
        raise SampleContradicted(f"{path}: {name} first appears in line {line}")

    marks = Marks()

    def scan(asked: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        read = {**{name: columns[name] for name in asked}, **carried}
        made = {name: fields.made[name] for name in asked if name in fields.made}
        reading = Reading(path, read, watched, contradicted, made)
        if wanted is not None and marks.rows:
            for lines, runs in marks.again(source, wanted):
                batch = parsed(lines, reading).select(asked)
                yield from ((row, batch[which]) for row, which in runs)
            return
        row, met, each_line = 0, Marks(), True
        with decompressed(source) as stream, closing(_blocks(path, stream)) as blocks:
            for lines in blocks:
                met.add(row, lines)
                batch, behind = parsed(lines, reading), lines.behind
                del lines  # what is made of a long line is larger than itself
                yield row, batch.select(asked)
                row += batch.num_rows
                each_line = each_line and behind == row + 1
        met.first_line = 1 if each_line else None
        vars(marks).update(vars(met))  # read to its end

    file = TableFile.over(
        source, None, fields.schema(), scan, fields.mapping, strict=strict, rows_guess=guess
    )
    for column, line in fields.lines().items():
        if column in file.unreadable:
            file.unreadable[column] += f", in line {line}"
    file.texts_are_checked = True
    file.first_line_of = lambda: marks.first_line
    file.notes += tuple(filter(None, [fields.dead_end(fields.objects_of(start), whole=start.complete)]))
    late = [(name, fields.line_of(name)) for name in file.fields.values()]
    file.notes += (fields.shape,) if fields.shape else ()
    file.notes += tuple(f"{name}: first appears in line {line}" for name, line in late if line > looked_at)
    return file


def _lines_of(path: str, start: Head) -> Iterator[Lines]:
    return line_blocks(path, io.BytesIO(start.block), whole=start.complete)


def _blocks(path: str, stream: Refilling) -> Generator[Lines, None, None]:
    """The lines of a file; what is compressed is decompressed while the block before it is dealt with."""
    blocks = line_blocks(path, stream)
    yield from blocks if codec_of(path) is None else ahead(blocks)


class _Seen(NamedTuple):
    """A field of an object: the line at which it first had a value, or else first stood."""

    line: int
    value: Any


class Fields:
    """The fields of the objects of a file, as far as they were looked at."""

    def __init__(self, path: str, mapping: dict[Column, str], strict: bool) -> None:
        """Nothing is looked at yet; `mapping` and `strict` as in `resolve`."""
        self._path, self._given, self._strict = path, mapping, strict
        self.mapping = mapping  #: with what the shape of the objects adds
        self.shape: str | None = None  #: what is to be said of it
        self.made: dict[str, Expression] = {}  #: what is made of several fields, or of what stands inside one
        self.seen: dict[str, _Seen] = {}
        self.line = 0  #: the last one that was looked at

    def look_at_head(self, source: Source) -> tuple[Head, int]:
        """Looks at the objects in the beginning of a file; that, and a guess at the rows of the file."""
        start = head(source)
        known = _core.KnownFields()
        rows = sum(self._look_at(lines, known) for lines in _lines_of(self._path, start))
        if not rows and not start.complete:  # a first line of over a MiB
            with decompressed(source) as stream:
                for lines in line_blocks(self._path, stream):
                    for line, row in objects(self._path, lines, frozenset()):
                        self._add(line, row)
                        return start, start.scaled(1)
        return start, start.scaled(rows)

    def _look_at(self, lines: Lines, known: _core.KnownFields) -> int:
        """Looks at the lines that say something of fields that is not `known`; how many objects there are."""
        rows, number = 0, lines.first
        for part in lines.parts:
            at = 0
            while at < len(part):
                passed, count, found, behind = known.lead(part[at:])
                rows, number = rows + found, number + count
                if found:
                    self.line = lines.number(number - 1)
                if passed < behind:
                    one = lines.one(number, part[at + passed : at + behind])
                    for line, row in objects(self._path, one, frozenset()):
                        rows += 1
                        self._add(line, row)
                        for name, value in row.items():
                            with suppress(UnicodeEncodeError):  # half of a surrogate pair
                                known.add(name, value is not None)
                    number += 1
                at += behind
        return rows

    def objects_of(self, start: Head) -> Iterator[dict[str, Any]]:
        """The objects in the beginning of a file."""
        for lines in _lines_of(self._path, start):
            yield from (row for _, row in objects(self._path, lines, frozenset()))

    def look_through(self, source: Source) -> None:
        """Looks at all objects of a file for the fields that could be columns and had no value yet."""

        def met(line: int, name: str, value: Any) -> None:
            self._add(line, {name: value})

        with decompressed(source) as stream, closing(_blocks(self._path, stream)) as blocks:
            for lines in blocks:
                parsed(lines, Reading(self._path, {}, self.unseen(), met))

    def _add(self, line: int, row: Mapping[str, Any]) -> None:
        self.line = max(line, self.line)
        for name, value in row.items():
            if name not in self.seen or (value is not None and self.seen[name].value is None):
                # Of a text, which can be long, nothing but its type matters.
                self.seen[name] = _Seen(line, "" if isinstance(value, str) else value)

    def columns(self) -> dict[str, Column]:
        """The column of each field that is one.

        Raises:
            DataError: as `resolve`.
        """
        if not self.line:  # no rows
            return {}
        self._recognise()
        found = resolve(self._path, [*self.seen, *self.made], self.mapping, strict=self._strict)
        return {name: column for column, name in found.items()}

    def _recognise(self) -> None:
        self.mapping, self.shape = shaped(self._given, self.seen, self._makes_text)
        self.made = expressions(self.mapping, self.seen)

    def _makes_text(self, text: str) -> bool:
        heads = heads_of(text)
        if not self.seen.keys() >= set(heads):
            return False
        row = {head: self.seen[head].value for head in heads}
        try:
            return made_of(text).of_row(row) is not None or None in row.values()
        except ValueError:
            return False

    def dead_end(self, start: Iterable[Mapping[str, Any]], *, whole: bool) -> str | None:
        """Why there is no text in the beginning of a file, where text is made of fields.

        Args:
            start: the objects in the beginning; they are asked for only where text is made of fields.
            whole: whether these are all.

        Raises:
            DataError: that is what was asked for, and the beginning is all.
        """
        text = self.mapping.get("text", "")
        why = dead_end(self.made[text], list(start)) if text in self.made else None
        if why is None:
            return None
        if whole and text in self._given.values():
            raise LackingError(f"{self._path}: {text}: {NOTHING}: {why}")
        return f"{text}: {NOTHING}: {why}" + ("" if whole else " (in the first MiB)")

    def line_of(self, name: str) -> int:
        """The line at which a field, or all that is needed to make one, first had a value."""
        heads = self.made[name].heads if name in self.made else (name,)
        return max(self.seen[head].line for head in heads)

    def lines(self) -> dict[Column, int]:
        """The line at which each column first has a value."""
        return {column: self.line_of(name) for name, column in self.columns().items()}

    def unseen(self) -> frozenset[str]:
        """The fields that would change what the columns are if they had a value.

        A field of ids or text that was null so far is not among them: it is a column already, of a type that
        is known.
        """
        self._recognise()
        claimed = {name for name in self._given.values() if name in self.seen or name in self.made}
        names = set() if "text" in self.mapping or "text" in self.seen else set(HEADS - self.seen.keys())
        for column in NAMED:
            mapped = self._given.get(column)
            heads = () if mapped is None else heads_of(mapped)
            candidates = set(heads) if mapped in claimed else {*ALIASES[column], *heads} - claimed
            settled = self.seen if column not in ("vector", "context") else self._with_value()
            names |= {name for name in candidates if name not in settled}
        return frozenset(names)

    def _with_value(self) -> set[str]:
        return {name for name, seen in self.seen.items() if seen.value is not None}

    def texts_named_context(self) -> dict[str, Column]:
        """Fields that are called like context windows and hold text, which they are to hold to the end."""
        if "context" in self._given:
            return {}
        return {
            name: "text"
            for name, column in self.columns().items()
            if column == "context" and name in self.seen and isinstance(self.seen[name].value, str)
        }

    def schema(self) -> pa.Schema:
        """The type of each field that is a column, with the shape of vectors; of others `NO_COLUMN`."""
        columns = self.columns()
        types = {
            name: _type(columns[name], seen.value) if name in columns else NO_COLUMN
            for name, seen in self.seen.items()
        }
        types |= {name: _type(column, "") for name, column in columns.items() if name in self.made}
        # A name can hold half of a surrogate pair, which Arrow cannot; no column has such a name.
        return pa.schema([(name.encode(errors="backslashreplace"), of) for name, of in types.items()])


def _type(column: Column, value: Any) -> pa.DataType:
    """Of a column whose first value is `value`: ids come as text, and vectors as lists of a size."""
    if column in ("vector", "context"):
        return _type_of(value)
    return _type_of_item(value) if column in ITEM_COLUMNS else pa.large_string()


def _type_of_item(value: Any) -> pa.DataType:
    if isinstance(value, list):
        types = {_type_of_item(item) for item in value}
        return pa.list_(types.pop() if len(types) == 1 else pa.large_string())
    if value is None or isinstance(value, str):
        return pa.large_string()
    return pa.int64() if type(value) is int else _type_of(value)


def _type_of(value: Any) -> pa.DataType:
    if isinstance(value, list):
        inner = next((item for item in value if item is not None), 0.0)
        number = type(inner) in (int, float)
        return pa.list_(pa.float32() if number else _type_of(inner), len(value))
    simple = {bool: pa.bool_(), str: pa.large_string(), type(None): pa.null()}
    return simple.get(type(value), pa.struct([]))
