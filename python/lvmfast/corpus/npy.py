"""The ``.npy`` format: its header, parsed and held to the bytes that are there, and its two readers.

`StoredArray` reads uncompressed values in place, wherever in a file they lie; `StreamedArray` reads a
decompressed stream forward, a block at a time. Neither ever unpickles.
"""

from __future__ import annotations

import ast
import math
import os
import re
import struct
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.array_source import ReadRows
from lvmfast.corpus.arrays_file import ArraysFile, convert_advice
from lvmfast.corpus.blocks import BlockMemory, read_into
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.failures import one_line, reading
from lvmfast.errors import DataError
from lvmfast.stores import Source, as_source
from lvmfast.stores.ahead import AHEAD_BYTES, in_lockstep

MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 1 << 16
_COPY_BYTES = 4 << 20
#: A whole number as Python 2 wrote one that it held as a `long`.
_LONG = re.compile(r"\b(\d+)L\b")


class Readable(Protocol):
    """A stream of bytes; `read` gives fewer than asked only at its end."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes."""
        ...


class Refilling(Readable, Protocol):
    """A stream of bytes that can be read into memory that is there."""

    def readinto(self, block: memoryview, /) -> int | None:
        """Fills `block`, as far as there is something left; how many bytes that are."""
        ...


@dataclass(frozen=True)
class NpyHeader:
    """What stands before the values: their dtype, shape and order, and the header's own length."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    length: int

    @property
    def value_bytes(self) -> int:
        """Bytes of all values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: Readable, where: str) -> NpyHeader:
    """The header at the start of `stream`, which is left at the first value.

    Raises:
        DataError: this is no ``.npy`` file, or its header is broken.
    """
    start = stream.read(8)
    if len(start) < 8 or not start.startswith(MAGIC):
        raise DataError(f"{where}: expected the .npy format, got other bytes")
    size_format = "<H" if start[6] == 1 else "<I"
    size_bytes = stream.read(struct.calcsize(size_format))
    if start[6] not in (1, 2, 3) or len(size_bytes) < struct.calcsize(size_format):
        raise DataError(f"{where}: expected .npy format 1 to 3, got {start[6]}.{start[7]}")
    (size,) = struct.unpack(size_format, size_bytes)
    if size > _LONGEST_HEADER:
        raise DataError(f"{where}: expected a header of at most {_LONGEST_HEADER} bytes, got {size}")
    text = stream.read(size)
    if len(text) < size:
        raise DataError(f"{where}: the header ends after {len(text)} of {size} bytes")
    return _parse(text.decode("utf-8" if start[6] == 3 else "latin1"), 8 + len(size_bytes) + size, where)


def _parse(text: str, length: int, where: str) -> NpyHeader:
    try:
        header = _literal(text.strip())
        dtype = np.lib.format.descr_to_dtype(header["descr"])
        shape, fortran = header["shape"], header["fortran_order"]
    except (ValueError, SyntaxError, KeyError, TypeError, IndexError, MemoryError, RecursionError) as error:
        expected = "expected a dict of descr, fortran_order and shape"
        raise DataError(f"{where}: broken .npy header: {expected}, got {one_line(text)[:100]!r}") from error
    whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not whole or not isinstance(fortran, bool):
        raise DataError(f"{where}: broken .npy header: shape {shape!r}, fortran_order {fortran!r}")
    return NpyHeader(dtype, shape, fortran and len(shape) > 1, length)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except SyntaxError:
        return ast.literal_eval(_LONG.sub(r"\1", text))


class StoredArray:
    """Uncompressed values inside a file or object, from byte `offset` on, read block by block.

    Read and not mapped: to touch a map whose file was cut short in the meantime would kill the process.
    """

    def __init__(self, source: Source, header: NpyHeader, offset: int, where: str, share: int = 1) -> None:
        """Nothing is read before `opened`; `share` arrays of an object may be read side by side."""
        self.shape, self.dtype = header.shape, header.dtype
        self.pickled = header.dtype.hasobject
        self._source, self._header, self._offset, self._where = source, header, offset, where
        self._share = share

    @property
    def by_row(self) -> bool:
        """Whether the values of a row lie side by side."""
        return not self._header.fortran

    def random_rows(self) -> StoredRows:
        """The same values, for reads in any order.

        Raises:
            DataError: the file is shorter than the header promises, or is none on disk.
        """
        path = self._source.path
        if path is None:
            raise DataError(f"{self._where}: is read in any order, and so from a local disk; copy it there")
        return StoredRows(path, self._header, self._offset, self._where)

    @contextmanager
    def opened(self) -> Iterator[ReadRows]:
        """As `ArraySource.opened`.

        Raises:
            DataError: the file is shorter than the header promises, here or at a later read.
        """
        with self._file() as file:
            memory = BlockMemory()
            yield lambda start, stop: self._read(file, memory, start, stop)

    @contextmanager
    def _file(self) -> Iterator[Any]:
        source, begin = self._source, self._offset
        if source.path is None:
            check_fits(self._header, source.info.size - begin, self._where)
            pieces = in_lockstep([(begin, begin + self._header.value_bytes)])
            with source.open([pieces], AHEAD_BYTES // self._share) as stored:
                yield stored
            return
        with open(source.path, "rb", buffering=0) as file:
            check_fits(self._header, os.fstat(file.fileno()).st_size - begin, self._where)
            yield file

    def _read(self, file: BinaryIO, memory: BlockMemory, start: int, stop: int) -> npt.NDArray[Any]:
        return _read_rows(file, self._header, self._offset, memory, (start, stop), self._where)


def _read_rows(
    file: BinaryIO, header: NpyHeader, offset: int, memory: BlockMemory, span: tuple[int, int], where: str
) -> npt.NDArray[Any]:
    """The rows of `span` of values in either order, the first of which stands at `offset` of `file`."""
    (rows, *shape), size = header.shape, header.dtype.itemsize
    columns, count = math.prod(shape), span[1] - span[0]
    block = memory.lend(count * columns * size)
    values: npt.NDArray[Any] = block.view(header.dtype)
    if header.fortran:
        for column, part in enumerate(block.reshape(columns, count * size)):
            read_into(file, offset + (column * rows + span[0]) * size, part, where)
        values = values.reshape(*reversed(shape), count).T
    else:
        read_into(file, offset + span[0] * columns * size, block, where)
        values = values.reshape(count, *shape)
    return values


#: Not handed on to other programs; and on Windows bytes, and not lines of text.
_AS_IT_IS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_seeking = threading.Lock()


def _read_at(handle: int, part: memoryview, position: int) -> int:
    """Reads into `part` from a place of an open file; how many bytes that were."""
    if hasattr(os, "preadv"):
        return os.preadv(handle, [part], position)
    with _seeking:  # Windows has no read that leaves the place of the handle alone
        os.lseek(handle, position, os.SEEK_SET)
        block = os.read(handle, len(part))
    part[: len(block)] = block
    return len(block)


class StoredRows:
    """Any rows of uncompressed values in row order, by one positioned read per run of neighbouring rows."""

    def __init__(self, path: str, header: NpyHeader, offset: int, where: str) -> None:
        """Opens the file, which stays open as long as this object.

        Raises:
            DataError: the file is shorter than the header promises.
        """
        self.shape, self.dtype = header.shape, header.dtype
        self._offset, self._where = offset, where
        self._row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        with reading(path):
            self._handle = os.open(path, os.O_RDONLY | _AS_IT_IS)
        weakref.finalize(self, os.close, self._handle)
        check_fits(header, os.fstat(self._handle).st_size - offset, where)

    def take(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The rows `rows`, (k,) in any order, repeats allowed, as (k, *shape[1:]) of the stored dtype.

        Raises:
            DataError: the file was cut short in the meantime.
        """
        wanted, places = np.unique(rows, return_inverse=True)
        values = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        memory = memoryview(values.reshape(-1).view(np.uint8).data) if values.size else memoryview(b"")
        starts = np.flatnonzero(np.diff(wanted, prepend=-2) != 1)
        lengths = np.diff(starts, append=len(wanted))
        handle, size = self._handle, self._row_bytes
        for start, row, length in zip(
            starts.tolist(), wanted[starts].tolist(), lengths.tolist(), strict=True
        ):
            part = memory[start * size : (start + length) * size]
            done = _read_at(handle, part, self._offset + row * size)
            while done < len(part):
                got = _read_at(handle, part[done:], self._offset + row * size + done)
                if not got:
                    raise DataError(f"{self._where}: row {row}: the file was cut short while it was read")
                done += got
        in_order = len(wanted) == len(rows) and bool((places[1:] > places[:-1]).all())
        return values if in_order else values[places.reshape(-1)]


def check_fits(header: NpyHeader, available: int, where: str) -> None:
    """Refuses a header that promises more values than the `available` bytes hold.

    Raises:
        DataError: it does.
    """
    if not header.dtype.hasobject and header.value_bytes > available:
        raise DataError(
            f"{where}: the header promises {header.shape} {header.dtype}, {header.value_bytes} bytes, "
            f"but the file holds {max(0, available)}"
        )


def check_filled(header: NpyHeader, available: int, where: str) -> None:
    """Refuses a header that promises more or fewer values than the `available` bytes are.

    Two arrays that were saved to one file stand one behind the other, and numpy reads the first alone.

    Raises:
        DataError: it does.
    """
    check_fits(header, available, where)
    if not header.dtype.hasobject and header.value_bytes < available:
        raise DataError(
            f"{where}: the header promises {header.shape} {header.dtype}, {header.value_bytes} bytes, but "
            f"{available} follow it; save one array to a file"
        )


class StreamedArray:
    """Values behind a decompressor, read forward. `open_values` opens the stream at the first value.

    Fortran order has no rows to stream: such values are decompressed to an unnamed temporary file first.
    """

    def __init__(
        self, header: NpyHeader, open_values: Callable[[], AbstractContextManager[Readable]], where: str
    ) -> None:
        """Nothing is read before `opened`."""
        self.shape, self.dtype = header.shape, header.dtype
        self.pickled = header.dtype.hasobject
        self._header, self._open_values, self._where = header, open_values, where

    @contextmanager
    def opened(self) -> Iterator[ReadRows]:
        """As `ArraySource.opened`.

        Raises:
            DataError: from the reads, when the stream ends before the last row.
        """
        with self._open_values() as stream:
            if not self._header.fortran:
                yield _RowStream(stream, self._header, self._where)
                return
            with tempfile.TemporaryFile() as file:
                left = self._header.value_bytes
                while left:
                    block = read_exactly(stream, min(left, _COPY_BYTES), self._where)
                    file.write(block)
                    left -= len(block)
                memory = BlockMemory()
                yield lambda start, stop: _read_rows(
                    file, self._header, 0, memory, (start, stop), self._where
                )


class _RowStream:
    """`ReadRows` over a forward stream: rows before `start` are read and dropped."""

    def __init__(self, stream: Readable, header: NpyHeader, where: str) -> None:
        self._stream, self._header, self._where = stream, header, where
        self._row = 0

    def __call__(self, start: int, stop: int) -> npt.NDArray[Any]:
        shape = self._header.shape[1:]
        row_bytes = math.prod(shape) * self._header.dtype.itemsize
        skip = (start - self._row) * row_bytes
        while skip:
            skip -= len(read_exactly(self._stream, min(skip, _COPY_BYTES), self._where))
        self._row = stop
        block = read_exactly(self._stream, (stop - start) * row_bytes, self._where)
        return np.frombuffer(block, self._header.dtype, (stop - start) * math.prod(shape)).reshape(-1, *shape)


def read_exactly(stream: Readable, size: int, where: str) -> bytes:
    """`size` bytes of `stream`.

    Raises:
        DataError: it ends before that.
    """
    block = stream.read(size)
    if len(block) < size:
        raise DataError(f"{where}: the data ends before the last row that the header promises")
    return block


def open_npy(path: str | Source, mapping: dict[Column, str], *, strict: bool = True) -> ArraysFile:
    """An ``.npy`` file of (n, d) floats: its only column is ``vector``, whatever the mapping calls it.

    Raises:
        DataError: no ``.npy`` file, a pickle, another dtype or shape, or a file shorter than its header says.
    """
    source = as_source(path)
    field = mapping.get("vector", "vector")
    arrays = {field: npy_array(source)}
    size = source.info.size
    return ArraysFile(source.name, source.path, size, arrays, {"vector": field}, strict=strict, origin=source)


def npy_array(path: str | Source) -> StoredArray | StreamedArray:
    """The array of an ``.npy`` file.

    Raises:
        DataError: no ``.npy`` file, a pickle, or a file shorter than its header says.
    """
    source = as_source(path)
    path = source.name
    with reading(path), source.open() as file:
        header = read_header(file, path)
        size = file.size()
    check_filled(header, size - header.length, path)
    if header.dtype.hasobject:
        advice = convert_advice(path) if header.dtype.fields is None else ""
        raise DataError(
            f"{path}: expected (n, d) float, got {header.shape} {header.dtype}: "
            f"a pickle, never opened here{advice}"
        )
    return stored_array(source, header, header.length, path)


def stored_array(
    source: Source, header: NpyHeader, offset: int, where: str, share: int = 1
) -> StoredArray | StreamedArray:
    """Uncompressed values; of an object, those in Fortran order come by way of a temporary file."""
    if source.path is not None or not header.fortran:
        return StoredArray(source, header, offset, where, share)

    @contextmanager
    def values() -> Iterator[Readable]:
        pieces = in_lockstep([(offset, offset + header.value_bytes)])
        with reading(source.name), source.open([pieces], AHEAD_BYTES // share) as file:
            file.seek(offset)
            yield file

    return StreamedArray(header, values, where)
