"""Objects in a store: what is known of them, and reads of byte ranges that belong to one version."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lvmfast.errors import DataError
from lvmfast.stores.failures import ObjectChanged, with_retries
from lvmfast.stores.filesystems import filesystem
from lvmfast.stores.uris import is_uri, local_path

BLOCK_BYTES = 4 << 20

_VERSIONS = ("ETag", "etag", "blob_id", "md5Hash", "checksum")
_TIMES = ("LastModified", "last_modified", "updated", "created", "mtime")


@dataclass(frozen=True)
class FileInfo:
    """What is known of a file or an object before it is read."""

    size: int  #: in bytes
    etag: (
        str | None
    )  #: the store's own name for this version; None for local files, and where a store has none
    modified: str | None = None  #: what tells versions apart where there is no ETag


def file_info(path: str | os.PathLike[str]) -> FileInfo:
    """Size and version of a local file or an object.

    Raises:
        DataError: there is none, or the store cannot be asked.
    """
    path = os.fspath(path)
    if not is_uri(path):
        path = local_path(path)
        try:
            status = os.stat(path)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error
        return FileInfo(status.st_size, None, str(status.st_mtime_ns))
    fs, inner = filesystem(path)
    return with_retries(path, lambda: info_from(path, fs.info(inner)))


def info_from(uri: str, entry: dict[str, Any]) -> FileInfo:
    """Reads an entry of fsspec's ``info`` or ``find``.

    Raises:
        DataError: it is no object, or one of unknown size.
    """
    if entry.get("type") == "directory":
        raise DataError(f"{uri}: expected an object, got a folder")
    if not isinstance(entry.get("size"), int):
        raise DataError(f"{uri}: the store does not say how large it is")
    etag = next((str(entry[key]) for key in _VERSIONS if entry.get(key)), None)
    modified = next((str(entry[key]) for key in _TIMES if entry.get(key)), None)
    return FileInfo(entry["size"], None if etag is None else etag.strip('"'), modified)


class StoredObject:
    """One version of an object. Ranges can be read by many threads at once."""

    def __init__(self, uri: str, info: FileInfo | None = None) -> None:
        """Asks the store for the object, unless `info` is what it said a moment ago.

        Raises:
            DataError: as `file_info`.
        """
        self.uri, self.info = uri, info or file_info(uri)
        self._fs, self._path = filesystem(uri)

    def read(self, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop`.

        Raises:
            DataError: they cannot be had, or are not this version's any more.
        """
        stop = min(stop, self.info.size)
        if start >= stop:
            return b""
        return with_retries(self.uri, lambda: self._range(start, stop))

    def _range(self, start: int, stop: int) -> bytes:
        if self.info.etag is not None and hasattr(self._fs, "_call_s3"):
            content = self._matched_range(start, stop)
        else:
            content = bytes(self._fs.cat_file(self._path, start=start, end=stop))
        if len(content) != stop - start:
            raise ConnectionError(f"expected {stop - start} bytes at {start}, got {len(content)}")
        return content

    def _matched_range(self, start: int, stop: int) -> bytes:
        """A read that S3 refuses when the object has another ETag."""
        from fsspec.asyn import sync

        bucket, key, version = self._fs.split_path(self._path)
        pinned = {"VersionId": version} if version else {}

        async def get() -> bytes:
            answer = await self._fs._call_s3(
                "get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}",
                IfMatch=f'"{self.info.etag}"', **pinned,
            )  # fmt: skip
            async with answer["Body"] as body:
                return bytes(await body.read())

        content: bytes = sync(self._fs.loop, get)
        return content

    def check_unchanged(self) -> None:
        """Asks the store once more.

        Raises:
            DataError: the object is gone, or another version stands there.
        """
        if file_info(self.uri) != self.info:
            raise DataError(f"{self.uri}: changed while it was read") from ObjectChanged(self.uri)


class ObjectFile(io.RawIOBase):
    """A seekable binary file over an object, read in blocks."""

    def __init__(self, stored: StoredObject) -> None:
        """Nothing is read yet."""
        super().__init__()
        self._stored, self._position = stored, 0
        self._block: tuple[int, bytes] = (0, b"")

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """The byte that is read next."""
        return self._position

    def size(self) -> int:
        """In bytes."""
        return self._stored.info.size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As `io.IOBase.seek`."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size()}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """As `io.RawIOBase.readinto`; fewer bytes than asked for only at the end of a block."""
        first, block = self._block
        if not first <= self._position < first + len(block):
            first = self._position
            block = self._stored.read(first, first + max(len(buffer), BLOCK_BYTES))
            self._block = first, block
        offset = self._position - first
        count = min(len(buffer), len(block) - offset)
        buffer[:count] = block[offset : offset + count]
        self._position += count
        return count


def open_input(path: str | os.PathLike[str]) -> Any:
    """A seekable binary file (`read`, `seek`, `tell`, `size`, `close`) over a local file or an object.

    Raises:
        DataError: there is none, or the store cannot be asked; here and while reading.
    """
    path = os.fspath(path)
    if is_uri(path):
        return pa.PythonFile(ObjectFile(StoredObject(path)), mode="r")
    try:
        return pa.OSFile(local_path(path))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
