"""Rows of ``.npz`` and ``.npy`` files. Members are written as they were stored, so that they map in place."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.array_source import ArraySource
from lvmfast.corpus.failures import reading
from lvmfast.corpus.npy import npy_array
from lvmfast.corpus.npz import PROVENANCE, Member, npz_members
from lvmfast.corpus.rewriters.rows import InPieces, Parts, check_rows, writing
from lvmfast.corpus.values import row_bytes
from lvmfast.errors import DataError

#: A block stays in the cache while it is gathered, summed and written; larger ones took twice as long.
BLOCK_BYTES = 512 << 10


class Writable(Protocol):
    """A stream that takes bytes."""

    def write(self, data: Any, /) -> Any:
        """Takes all of `data`."""
        ...


def rewrite_npz(
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
    pieces: Sequence[InPieces],
) -> None:
    """As `rewrite`, rows whole. A member whose first axis counts the rows is parted; any other is copied."""
    files = [{member.name: member for member in npz_members(source)} for source in sources]
    _check_members(sources, files)
    with ExitStack() as stack:
        archives = [stack.enter_context(zipfile.ZipFile(target, "x", allowZip64=True)) for target in targets]
        for member in files[0].values():
            same = [file[member.name] for file in files]
            if _has_rows(member, len(parts[0])):
                for source, one, part in zip(sources, same, parts, strict=True):
                    _check_cuttable(source, one, len(part))
                arrays = [one.array for one in same if one.array is not None]
                _write_members(archives, member, arrays, sources, parts, targets)
            else:
                _check_equal(sources, same)
                for archive, target in zip(archives, targets, strict=True):
                    with member.opened() as stream, _created(archive, member) as out:
                        while block := stream.read(BLOCK_BYTES):
                            with writing(target):
                                out.write(block)


def _has_rows(member: Member, rows: int) -> bool:
    return member.name != PROVENANCE and member.array is not None and member.array.shape[:1] == (rows,)


def _check_members(sources: Sequence[str], files: Sequence[dict[str, Member]]) -> None:
    for source, file in zip(sources, files, strict=True):
        for name in sorted(files[0].keys() ^ file.keys()):
            has, lacks = (source, sources[0]) if name in file else (sources[0], source)
            raise DataError(f"{lacks}: no member {name!r}, which {has} has")


def _check_cuttable(path: str, member: Member, rows: int) -> None:
    where = f"{path}: {member.key}"
    if member.array is None or member.array.shape[:1] != (rows,):
        found = "no array" if member.array is None else f"the shape {member.array.shape}"
        raise DataError(f"{where}: expected an array of {rows} rows, got {found}")
    if member.array.pickled:
        raise DataError(f"{where}: {rows} pickled values, which cannot be cut without being opened")


def _check_equal(sources: Sequence[str], members: Sequence[Member]) -> None:
    """Members that are copied must be the same in every source, for the target has one of them."""
    for source, member in zip(sources, members, strict=True):
        if (member.info.CRC, member.info.file_size) != (members[0].info.CRC, members[0].info.file_size):
            raise DataError(
                f"{source}: {member.key}: differs from that of {sources[0]}, "
                "and no value of it belongs to a row"
            )


def _write_members(
    archives: Sequence[zipfile.ZipFile],
    like: Member,
    arrays: Sequence[ArraySource],
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(_created(archive, like)) for archive in archives]
        _write_arrays(streams, arrays, sources, parts, targets)


def _created(archive: zipfile.ZipFile, like: Member) -> IO[bytes]:
    """A new member of the name, date and compression of `like`."""
    info = zipfile.ZipInfo(like.name, like.info.date_time)
    info.compress_type = like.info.compress_type
    return archive.open(info, "w", force_zip64=True)


def _write_arrays(
    streams: Sequence[Writable],
    arrays: Sequence[ArraySource],
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
) -> None:
    """One array per stream, of the rows of `arrays` that go there, in C order."""
    dtype = _common_dtype(arrays, sources)
    inner = arrays[0].shape[1:]
    for place, stream in enumerate(streams):
        rows = sum(int(np.count_nonzero(part == place)) for part in parts)
        _write_header(stream, dtype, (rows, *inner))
    for array, part, source in zip(arrays, parts, sources, strict=True):
        step = max(1, BLOCK_BYTES // max(1, row_bytes(array.shape, array.dtype.itemsize)))
        with reading(source), array.opened() as read:
            for start in range(0, len(part), step):
                block = read(start, min(start + step, len(part)))
                where = part[start : start + step]
                for place, stream in enumerate(streams):
                    kept = where == place
                    chosen = block if kept.all() else block[kept]
                    with writing(targets[place]):
                        _write_values(stream, chosen, dtype)


def _common_dtype(arrays: Sequence[ArraySource], sources: Sequence[str]) -> np.dtype[Any]:
    """The dtype of all arrays; strings of several widths take the widest."""
    first = arrays[0]
    for array, source in zip(arrays, sources, strict=True):
        strings = array.dtype.kind == first.dtype.kind and array.dtype.kind in "US"
        if array.shape[1:] != first.shape[1:] or (array.dtype != first.dtype and not strings):
            raise DataError(
                f"{source}: expected {first.dtype} rows of {first.shape[1:]} as in {sources[0]}, "
                f"got {array.dtype} of {array.shape[1:]}"
            )
    return max((array.dtype for array in arrays), key=lambda dtype: dtype.itemsize)


def _write_header(stream: Writable, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    try:
        np.lib.format.write_array_header_1_0(stream, header)
    except ValueError:  # too long for version 1
        np.lib.format.write_array_header_2_0(stream, header)


def _write_values(stream: Writable, block: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    values = np.ascontiguousarray(block, dtype)
    if values.nbytes:
        stream.write(values.reshape(-1).view(np.uint8).data)


def rewrite_npy(
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
    pieces: Sequence[InPieces],
) -> None:
    """As `rewrite`, rows whole."""
    arrays = [npy_array(source) for source in sources]
    for source, array, part in zip(sources, arrays, parts, strict=True):
        check_rows(source, part, array.shape[0])
    with ExitStack() as stack:
        streams = [stack.enter_context(open(target, "xb")) for target in targets]
        _write_arrays(streams, arrays, sources, parts, targets)
