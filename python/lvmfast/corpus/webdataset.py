"""WebDataset: tar files in which members of one key that follow each other are the parts of a row.

``000.txt``, ``000.json`` and ``000.npy`` are the row ``000``. Members are read forward, and nothing is
extracted: no path in an archive is followed.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from lvmfast.corpus.budget import Budget
from lvmfast.corpus.dataset import Column, Rows
from lvmfast.corpus.expressions import Expression
from lvmfast.corpus.failures import one_line
from lvmfast.corpus.json_rows import READERS
from lvmfast.corpus.jsonl import Fields
from lvmfast.corpus.looks import SampleContradicted, by_sample
from lvmfast.corpus.npy import Readable, read_header
from lvmfast.corpus.streams import decompressed
from lvmfast.corpus.table_file import TableFile
from lvmfast.corpus.values import float32_rows, is_vector_dtype
from lvmfast.errors import DataError
from lvmfast.parse import parse_json
from lvmfast.stores import Source, as_source

#: The field of a row's key.
KEY = "doc_id"
#: Rows of the beginning by which a file is judged, and their bytes, whichever is less.
_HEAD_ROWS, _HEAD_BYTES = 1000, 1 << 20
#: Bytes of the longest member that is read.
_LONGEST = 256 << 20
#: Bytes of a header that names a member; paths have thousands at most.
_LONGEST_NAME = 1 << 20
#: `tarfile` copies what is left of a piece at every read.
_PIECE_BYTES = 16 << 10
_NAMING = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
#: What members are called as fields that have nothing but this for an extension.
_FIELDS = {"txt": "text", "text": "text", "npy": "vector"}


def open_webdataset(path: str | Source, mapping: dict[Column, str], *, strict: bool = True) -> TableFile:
    """A tar file with a row for each key.

    The key is ``doc_id``. A member ``.txt`` is the field ``text`` and ``.npy`` the field ``vector``; the
    fields of ``.json`` are fields of the row. Of two extensions the first names the field
    (``.caption.txt``). Other members are passed over.

    Raises:
        DataError: the archive is broken, cut short or followed by other data; a member that is read is no
            regular file, is too large, or not what its extension says (its name is told).
    """
    source = as_source(path)
    path = source.name
    fields = _Fields(path, mapping, strict)
    complete, guess, start = fields.look_at_samples(source, whole=False)
    if not complete and not by_sample():
        fields.look_at_samples(source, whole=True)
    columns, carried, watched = fields.columns(), fields.texts_named_context(), fields.unseen()

    def scan(asked: list[str], step: int, wanted: Rows | None) -> Iterator[tuple[int, pa.RecordBatch]]:
        read = {**{name: columns[name] for name in asked}, **carried}
        row = 0
        with decompressed(source) as stream, closing(_blocks(path, stream, step)) as blocks:
            for block in blocks:
                for sample in block:
                    if (late := watched & sample.values.keys()) and sample.values[min(late)] is not None:
                        raise SampleContradicted(f"{path}: {min(late)} first appears in {sample.key}")
                yield row, _batch(path, block, read, fields.made).select(asked)
                row += len(block)

    file = TableFile.over(
        source, None, fields.schema(), scan, fields.mapping, strict=strict, rows_guess=guess
    )
    file.notes += tuple(note for note in (fields.dead_end(start, whole=complete), fields.shape) if note)
    return file


@dataclass
class Sample:
    """A row: what its members hold that are read."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)
    nbytes: int = 0  #: of them
    stop: int = 0  #: the byte of the archive behind it


def members(path: str, stream: Readable) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo, str, str]]:
    """The members of an archive that have a key, in order: the archive, the member, its key and extension.

    Raises:
        DataError: the archive is broken, cut short or followed by other data.
    """
    with (
        telling(path),
        tarfile.open(fileobj=stream, mode="r|", bufsize=_PIECE_BYTES, tarinfo=_Strict) as archive,  # type: ignore[call-overload]
    ):
        while (member := archive.next()) is not None:
            archive.members.clear()  # it would keep all of them
            folder, _, name = member.name.removeprefix("./").rpartition("/")
            key, _, extension = name.partition(".")
            if key and extension and not member.isdir():
                if not member.isreg():
                    raise DataError(f"{path}: {member.name}: expected a file, got a link or a device")
                yield archive, member, f"{folder}/{key}" if folder else key, extension.lower()
        while rest := archive.fileobj.read(_PIECE_BYTES):
            if rest.strip(b"\0"):
                raise DataError(f"{path}: data behind the end of the archive, perhaps of another one")


def samples(path: str, stream: Readable) -> Generator[Sample, None, None]:
    """The rows of an archive.

    Raises:
        DataError: as `members`, or a member is not what its extension says.
    """
    budget = Budget()
    sample = Sample("")
    for archive, member, key, extension in members(path, stream):
        if key != sample.key:
            if sample.key:
                yield sample
            sample = Sample(key, {KEY: key})
        sample.stop = member.offset_data + member.size
        name, _, kind = extension.rpartition(".")
        if kind not in ("txt", "text", "json", "npy"):
            continue
        where = f"{path}: {member.name}"
        if member.size > _LONGEST:
            raise DataError(f"{where}: expected at most {_LONGEST:,} bytes, got {member.size:,}")
        budget.check_row(sample.nbytes + member.size, where)
        with telling(path):
            content = archive.extractfile(member).read()  # type: ignore[union-attr]
        sample.nbytes += member.size
        for found, value in _values(where, name, kind, content).items():
            if found in sample.values and found != KEY:
                raise DataError(f"{where}: {found}: {key} has it already")
            sample.values[found] = value
    if sample.key:
        yield sample


def _values(where: str, name: str, kind: str, content: bytes) -> dict[str, Any]:
    """What a member holds, by field."""
    if kind == "json":
        value = parse_json(where, content)
        if not name and not isinstance(value, dict):
            raise DataError(f"{where}: expected a JSON object, got {type(value).__name__}")
        return {name: value} if name else value
    if kind == "npy":
        return {name or _FIELDS[kind]: _vector(where, content)}
    try:
        return {name or _FIELDS[kind]: content.decode().removeprefix("\ufeff")}
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8") from error


def _vector(where: str, content: bytes) -> Any:
    stream = io.BytesIO(content)
    header = read_header(stream, where)
    if header.value_bytes != len(content) - header.length:
        given = len(content) - header.length
        raise DataError(f"{where}: expected {header.value_bytes} bytes of values, got {given}")
    if len(header.shape) != 1 or not is_vector_dtype(header.dtype):
        return f"an array {header.shape} of {header.dtype}"  # which no column reads
    return float32_rows(np.frombuffer(content, header.dtype, offset=header.length))


class _Fields(Fields):
    """The fields of the rows of an archive."""

    def look_at_samples(self, source: Source, *, whole: bool) -> tuple[bool, int, list[dict[str, Any]]]:
        """Looks at the first rows, or at all; whether these are all, a guess at how many, the first ones."""
        seen = rows = 0
        start = []
        with decompressed(source) as stream, closing(samples(source.name, stream)) as found:
            for sample in found:
                rows += 1
                seen += sample.nbytes
                row = {name: _listed(value) for name, value in sample.values.items()}
                self._add(rows, row)
                if not whole:
                    start.append(row)
                    if seen >= _HEAD_BYTES or rows == _HEAD_ROWS:
                        return False, max(rows, rows * source.info.size // max(sample.stop, 1)), start
        return True, rows, start


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _blocks(path: str, stream: Readable, step: int) -> Generator[list[Sample], None, None]:
    block: list[Sample] = []
    room = Budget().block_bytes
    held = 0
    for sample in samples(path, stream):
        block.append(sample)
        held += sample.nbytes
        if len(block) == step or held >= room:
            yield block
            block, held = [], 0
    if block:
        yield block


def _batch(
    path: str, block: list[Sample], read: dict[str, Column], made: dict[str, Expression]
) -> pa.RecordBatch:
    arrays = {}
    for name, column in read.items():
        values = []
        for sample in block:
            where = f"{path}: {sample.key}: {name}"
            value = sample.values.get(name)
            if name in made:
                try:
                    value = made[name].of_row(sample.values)
                except ValueError as error:
                    raise DataError(f"{where}: {error}") from error
            values.append(value if isinstance(value, np.ndarray) else READERS[column](where, value))
        arrays[name] = pa.array(values, _TYPES.get(column, pa.large_string()))
    return pa.record_batch(arrays) if arrays else pa.record_batch({"": pa.nulls(len(block))}).select([])


_TYPES = {"vector": pa.list_(pa.float32()), "context": pa.list_(pa.list_(pa.float32()))}


class _Strict(tarfile.TarInfo):
    """Headers that are broken or lacking are errors; `tarfile` takes them for the end, but for the first."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Strict:
        """As there; names are as long as names are."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in _NAMING and header.size > _LONGEST_NAME:
            raise tarfile.ReadError(f"the name of a member has {header.size:,} bytes")
        return header

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _Strict:
        """As there."""
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.EmptyHeaderError:  # type: ignore[attr-defined]
            _refuse("it is cut short: the blocks that end an archive are missing")
        except tarfile.TruncatedHeaderError:  # type: ignore[attr-defined]
            _refuse("it is cut short in the header of a member")
        except tarfile.HeaderError as error:
            _refuse(f"broken header of a member: {one_line(error)}")


def _refuse(why: str) -> NoReturn:
    raise tarfile.ReadError(why)


@contextmanager
def telling(path: str) -> Iterator[None]:
    """Turns what `tarfile` raises over the archive `path` into a DataError that names it."""
    try:
        yield
    except tarfile.TarError as error:
        raise DataError(f"{path}: expected a tar archive: {one_line(error)}") from error
