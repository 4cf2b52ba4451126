"""Files and objects by one name, a `Source`: what is known of it, and reads that belong to one version."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from lvmfast.errors import DataError, reason
from lvmfast.stores.ahead import AHEAD_BYTES, Stage, in_order
from lvmfast.stores.failures import with_retries
from lvmfast.stores.filesystems import filesystem, info_now
from lvmfast.stores.reader import ObjectReader
from lvmfast.stores.uris import is_uri, local_path

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

    @property
    def version(self) -> tuple[int, str | None]:
        """What differs when the content was replaced, as far as a store tells."""
        return self.size, self.etag or self.modified


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
            raise DataError(f"{path}: {reason(error)}") from error
        return FileInfo(status.st_size, None, str(status.st_mtime_ns))
    fs, inner = filesystem(path)
    return info_from(path, with_retries(path, lambda: info_now(fs, inner)))


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


class Source(Protocol):
    """A local file or an object: its name, its size, and its bytes."""

    name: str  #: the path or URI as it was given
    path: str | None  #: of the local file
    info: FileInfo

    def open(self, stages: Iterable[Stage] | None = None, most: int = AHEAD_BYTES) -> Any:
        """A seekable binary file of pyarrow's: `read`, `readinto`, `seek`, `tell`, `size`, `close`.

        Of an object, what `stages` name is fetched ahead, at most `most` bytes at once; None: the first MiB
        of what is asked for is fetched when it is.

        Raises:
            DataError: it cannot be opened; for objects also while reading, when bytes cannot be had or the
                object was replaced.
        """
        ...


class LocalFile:
    """A `Source` on disk."""

    def __init__(self, path: str) -> None:
        """Looks it up.

        Raises:
            DataError: there is none.
        """
        self.name = local_path(path)
        self.path: str | None = self.name
        self.info = file_info(self.name)

    def open(self, stages: Iterable[Stage] | None = None, most: int = AHEAD_BYTES) -> Any:
        """As `Source.open`; the system reads ahead by itself."""
        try:
            return pa.OSFile(self.name)
        except OSError as error:
            raise DataError(f"{self.name}: {reason(error)}") from error


class StoredObject:
    """A `Source` in a store: one version of an object. Ranges can be read by many threads at once."""

    path: str | None = None

    def __init__(self, uri: str, info: FileInfo | None = None) -> None:
        """Asks the store for the object, unless `info` is what it said a moment ago.

        Raises:
            DataError: as `file_info`.
        """
        self.name, self.info = uri, info or file_info(uri)
        self._fs, self._path = filesystem(uri)

    def open(self, stages: Iterable[Stage] | None = None, most: int = AHEAD_BYTES) -> Any:
        """As `Source.open`."""
        return pa.PythonFile(ObjectReader(self, self.info.size, stages, most), mode="r")

    def read(self, start: int, stop: int, abandoned: threading.Event | None = None) -> bytes:
        """Bytes `start` to `stop`.

        Raises:
            DataError: they cannot be had, or are not this version's any more.
        """
        stop = min(stop, self.info.size)
        if start >= stop:
            return b""
        return with_retries(self.name, lambda: self._range(start, stop), abandoned)

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
        now = file_info(self.name)
        if now.version != self.info.version:
            raise DataError(
                f"{self.name}: changed while it was read: expected version {self.info.version[1]}, "
                f"got {now.version[1]}"
            )


def as_source(path: str | os.PathLike[str] | Source, info: FileInfo | None = None) -> Source:
    """The file or object at a path or URI.

    Raises:
        DataError: there is none, or the store cannot be asked.
    """
    if isinstance(path, (LocalFile, StoredObject)):
        return path
    text = os.fspath(path)  # type: ignore[arg-type]
    return StoredObject(text, info) if is_uri(text) else LocalFile(text)


def open_input(path: str | os.PathLike[str]) -> Any:
    """A seekable binary file (`read`, `seek`, `tell`, `size`, `close`) over a local file or an object.

    An object is fetched ahead from its beginning to its end.

    Raises:
        DataError: there is none, or the store cannot be asked; here and while reading.
    """
    source = as_source(path)
    return source.open(in_order(source.info.size))
