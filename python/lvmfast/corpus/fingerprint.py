"""A fingerprint opened as a split: ids, texts and vectors are 128-bit keys, vectors are sketches too."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import stores
from lvmfast.corpus.dataset import Batch, Column, Dataset, Rows, SplitFile
from lvmfast.corpus.keys import Keys, array_of_keys
from lvmfast.corpus.lvfp import Array, Container, unpack
from lvmfast.errors import DataError

KEYED: tuple[Column, ...] = ("doc_id", "chunk_id", "text", "vector")

#: The first word of a key that says why a row has none: the second is the usability code of a vector, or 2
#: for an empty text and 3 for a short one.
NO_WORD = 0

#: The form of the hashes of runs of tokens: another one whenever the core makes others of the same texts.
GRAM_HASH = 1

#: The index of a row that has no key: its id or text is null, or its file lacks the column.
NO_KEY = -1


@dataclass(frozen=True)
class KeyColumn:
    """One column: its distinct keys (k, 2) in order of first appearance, and the place of each row's (n,)."""

    keys: Keys
    index: npt.NDArray[np.int32]

    def array(self, start: int, stop: int) -> pa.Array:
        """The keys of some rows as 16-byte values; null where a row has none."""
        return array_of_keys(self.keys, self.index[start:stop])


@dataclass(frozen=True)
class Sketches:
    """What is kept of the distinct vectors, in the order of their keys; see docs/fingerprint.md."""

    directions: npt.NDArray[np.float32]  #: (width, d)
    steps: npt.NDArray[np.float64]  #: (width,)
    codes: npt.NDArray[np.int8]  #: (k, width)
    rests: npt.NDArray[np.uint16]  #: (k, 2)


@dataclass(frozen=True)
class Texts:
    """How texts became keys."""

    normalize: str
    min_chars: int
    unicode: str


@dataclass(frozen=True)
class Grams:
    """The filter of runs of tokens of all texts, and the Unicode by which these were made."""

    blocks: npt.NDArray[np.uint32]  #: (n, 8), as `_core.GramFilter` has them
    unicode: str
    false_positive_rate: float


@dataclass(frozen=True)
class Source:
    """The fingerprint itself, as an input of a scan."""

    name: str
    path: str
    nbytes: int
    provenance: dict[str, Any]
    fields: Mapping[Column, str]
    origin: stores.Source | None = None
    first_line: int | None = None


class FingerprintFile:
    """A `SplitFile` of which only keys are left. `path` is None: the file itself may be anywhere."""

    path: str | None = None
    origin: stores.Source | None = None
    nbytes: int = 0
    context_length: int | None = None
    notes: tuple[str, ...] = ()
    starts: Rows | None = None
    first_line: int | None = None

    def __init__(
        self, stated: Mapping[str, Any], start: int, columns: Mapping[Column, KeyColumn], dim: int | None
    ) -> None:
        """A file as the header states it, whose first row is row `start` of the fingerprint."""
        self.name = str(stated["name"])
        self.rows: int | None = stated["rows"]
        self.fields: dict[Column, str] = {
            column: str(stated["fields"][column]) for column in KEYED if column in stated["fields"]
        }
        self.id_types: dict[Column, pa.DataType] = {
            column: pa.large_string() for column in ("doc_id", "chunk_id") if column in self.fields
        }
        self.unreadable: dict[Column, str] = {}
        self.dim: int | None = dim if "vector" in self.fields else None
        self.provenance: dict[str, Any] | None = stated["provenance"]
        self._start, self._columns = start, columns

    def estimated_rows(self) -> int:
        """The rows."""
        return self.rows or 0

    def batches(self, columns: Sequence[Column], rows: int, wanted: Rows | None = None) -> Iterator[Batch]:
        """As `SplitFile.batches`; ids and texts are 16-byte keys, and there are no vectors.

        Raises:
            DataError: vectors are asked for.
        """
        if "vector" in columns:
            raise DataError(f"{self.name}: a fingerprint holds no vectors")
        for start in range(0, self.estimated_rows(), rows):
            stop = min(start + rows, self.estimated_rows())
            place = (self._start + start, self._start + stop)
            values = {column: self._columns[column].array(*place) for column in columns}
            yield Batch.of(start, stop - start, values)


@dataclass(frozen=True)
class Fingerprint(Dataset):
    """A training set of which only a fingerprint is left: it can be scanned against, and nothing else.

    `identity` is the BLAKE3 that the file ends with: equal fingerprints, and no others, share it.
    """

    path: str = ""
    identity: str = ""
    version: str = ""  #: of the lvmfast that wrote it
    size: int = 0  #: bytes of the file
    keys: Mapping[Column, KeyColumn] | None = None
    texts: Texts | None = None
    sketches: Sketches | None = None
    grams: Grams | None = None

    keys_alone: ClassVar[bool] = True

    def require_rows(self, why: str) -> None:
        """As `Dataset.require_rows`."""
        raise DataError(f"{self.path}: {why}")

    @property
    def inputs(self) -> tuple[Source, ...]:
        """The one file behind the split."""
        files = [{"file": f.name, "rows": f.rows, "provenance": f.provenance} for f in self.files]
        stated = {"identity": self.identity, "lvmfast": self.version, "files": files}
        return (Source(self.path, self.path, self.size, {"fingerprint": stated}, {}),)

    def column(self, name: Column) -> KeyColumn:
        """The keys of a column that at least one file has."""
        assert self.keys is not None
        return self.keys[name]

    def take(self, rows: Rows, columns: Sequence[Column]) -> pa.Table:
        """As `Dataset.take`. Integer ids are known; string ids and texts are not, and null."""
        taken: dict[str, pa.Array] = {"row": pa.array(rows)}
        for name in columns:
            if name == "text":
                taken[name] = pa.nulls(len(rows), pa.large_string())
                continue
            column = self.column(name)
            # Where a row has no key, the last one is picked: a string's, which stays unknown.
            unknown = np.array([[NO_WORD + 1, 0]], np.uint64)
            keys = np.concatenate((column.keys, unknown))[column.index[rows]]
            integers = np.ascontiguousarray(keys[:, 1]).view(np.int64)
            taken[name] = pa.array(integers, mask=keys[:, 0] != 0).cast(pa.large_string())
        return pa.table(taken)


def open_fingerprint(path: str) -> Fingerprint:
    """Opens a fingerprint, all of it checked.

    Raises:
        DataError: as `lvfp.unpack`, or when its parts do not belong together.
    """
    if stores.is_uri(path):
        raise DataError(f"{path}: a fingerprint is read from a local disk; copy it there")
    path = stores.local_path(path)
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file")
    container = unpack(path)
    try:
        return _opened(path, container)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: header: {type(error).__name__}: {error}") from error


def _opened(path: str, container: Container) -> Fingerprint:
    content, arrays = container.content, container.arrays
    rows, dim, stated = content["rows"], content["dim"], content["files"]
    lengths = [file["rows"] for file in stated]
    for count in (rows, *lengths, *([] if dim is None else [dim])):
        if type(count) is not int or count < 0:
            raise DataError(f"{path}: header: expected counts, got {count!r}")
    if sum(lengths) != rows:
        raise DataError(f"{path}: header: files of {sum(lengths)} rows, {rows} in all")
    present = [c for c in KEYED if any(c in file["fields"] for file in stated)]
    keys = {column: _key_column(path, column, arrays, rows) for column in present}
    files: list[SplitFile] = []
    start = 0
    for file in stated:
        files.append(FingerprintFile(file, start, keys, dim))
        start += file["rows"]
    texts = content["texts"]
    return Fingerprint(
        tuple(files),
        remarks=tuple(map(str, content["notes"])),
        path=path,
        identity=container.identity,
        version=container.version,
        size=container.nbytes,
        keys=keys,
        texts=Texts(str(texts["normalize"]), int(texts["min_chars"]), str(texts["unicode"])),
        sketches=_sketches(path, arrays, dim, len(keys["vector"].keys)) if "vector" in keys else None,
        grams=_grams(path, arrays, content["overlap"]) if "overlap" in content else None,
    )


def vector_keys(keys: Keys, usability: npt.NDArray[np.uint8]) -> Keys:
    """The keys (n, 2) of vectors, and (0, usability code) for those that cannot be compared."""
    words = np.column_stack((np.maximum(keys[:, 0], NO_WORD + 1), keys[:, 1]))
    unusable = usability != 0
    words[unusable, 0] = NO_WORD
    words[unusable, 1] = usability[unusable]
    return words


def pack_keys(keys: Keys) -> Keys:
    """(k, 2) keys as they are stored: (2, k), each word as its difference from the one before it."""
    planes = np.ascontiguousarray(keys.T)
    return np.diff(planes, prepend=np.zeros((2, 1), np.uint64), axis=1)


def pack_index(index: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """(n,) places as they are stored: as differences, which for rows of distinct keys are all one."""
    return np.diff(index, prepend=0).astype(np.int32)


def _key_column(path: str, column: Column, arrays: Mapping[str, Array], rows: int) -> KeyColumn:
    planes = _section(path, arrays, f"{column}.keys", np.uint64, (2, None))
    steps = _section(path, arrays, f"{column}.index", np.int32, (rows,))
    keys = np.ascontiguousarray(np.cumsum(planes, axis=1, dtype=np.uint64).T)
    index = np.cumsum(steps, dtype=np.int64)
    if rows and not (index.min() >= NO_KEY and index.max() < len(keys)):
        raise DataError(f"{path}: section {column}.index: places outside {len(keys)} keys")
    return KeyColumn(keys, index.astype(np.int32))


def _sketches(path: str, arrays: Mapping[str, Array], dim: int | None, count: int) -> Sketches:
    directions = _section(path, arrays, "directions", np.float32, (None, dim))
    width = len(directions)
    steps = _section(path, arrays, "steps", np.float64, (width,))
    codes = _section(path, arrays, "codes", np.int8, (width, count))
    rests = _section(path, arrays, "rests", np.uint16, (2, count))
    return Sketches(directions, steps, np.ascontiguousarray(codes.T), np.ascontiguousarray(rests.T))


def _grams(path: str, arrays: Mapping[str, Array], stated: Mapping[str, Any]) -> Grams:
    words = _section(path, arrays, "overlap.filter", np.uint64, (None, 4))
    if stated["hash"] != GRAM_HASH:
        raise DataError(f"{path}: overlap: hashes of the form {stated['hash']!r}, expected {GRAM_HASH}")
    return Grams(words.view(np.uint32), str(stated["unicode"]), float(stated["false_positive_rate"]))


def _section(
    path: str, arrays: Mapping[str, Array], name: str, dtype: type, shape: tuple[int | None, ...]
) -> Array:
    if name not in arrays:
        raise DataError(f"{path}: section {name}: missing")
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        want is None or want == got for want, got in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise DataError(
            f"{path}: section {name}: expected ({wanted}) {np.dtype(dtype).name}, "
            f"got {array.shape} {array.dtype.name}"
        )
    return array
