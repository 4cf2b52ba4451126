"""`fingerprint`: a training set that cannot be shared becomes a file that can be checked against."""

from __future__ import annotations

import os
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from lvmfast import _core
from lvmfast.corpus import Batch, Column, Dataset, load_payload, load_split
from lvmfast.corpus.dataset import Rows
from lvmfast.corpus.fingerprint import (
    KEYED,
    NO_KEY,
    Fingerprint,
    open_fingerprint,
    pack_index,
    pack_keys,
    vector_keys,
)
from lvmfast.corpus.keys import Keys, id_keys, newly_inserted, text_bytes
from lvmfast.corpus.lvfp import SUFFIX, Array, pack, unpack
from lvmfast.durable import write_bytes
from lvmfast.errors import DataError
from lvmfast.leaks.engine import Progress, read, silent
from lvmfast.leaks.options import DEFAULT_MIN_CHARS, Normalization, ScanOptions

#: Directions that vectors are projected on, and the unit of the integers that are kept of a projection. No
#: component of a unit vector is above one, so that none is ever cut off at 127.
WIDTH = 80
STEP = 1 / 126

#: Rows that the directions are fitted to: this many blocks; every eighth where what lies between is read too.
SAMPLE_BLOCKS = 16
SAMPLE_BLOCK_ROWS = 256
SAMPLE_STRIDE = 8
ROUNDS = 4


def fingerprint(
    train: Any,
    out: str | PathLike[str],
    *,
    payload: Any = None,
    columns: Mapping[str, str] | None = None,
    normalize: Normalization = "default",
    min_chars: int = DEFAULT_MIN_CHARS,
    threads: int = 0,
    progress: Progress = silent,
) -> Fingerprint:
    """Writes what is needed to scan against `train` later, without a text or a whole vector of it.

    docs/fingerprint.md says what the file holds and what it reveals.

    Args:
        train: as for `leakscan`.
        out: the ``.lvfp`` file to write, whole or not at all; nothing may stand there.
        payload: texts by (doc_id, chunk_id), as for `leakscan`.
        columns: column -> field, where a field has an unusual name.
        normalize: how texts are made comparable; a scan against the fingerprint has to ask for the same.
        min_chars: texts with fewer characters after normalisation are unchecked; likewise.
        threads: 0 for one per available core.
        progress: called as (phase, rows done, rows in all or None).

    Returns:
        The fingerprint, read back from the file; `identity` is what to keep beside a model.

    Raises:
        DataError: bad input, an `out` that exists or cannot be written, or a file that changed meanwhile.
    """
    path = Path(out)
    _check_place(path)
    options = ScanOptions(normalize=normalize, min_chars=min_chars, threads=threads)
    texts = None if payload is None else load_payload(payload, columns=columns)
    dataset = load_split(train, columns=columns, payload=texts)
    if isinstance(dataset, Fingerprint):
        raise DataError(f"{dataset.path}: is a fingerprint already")
    present = [column for column in KEYED if column in dataset.columns]
    if not present or dataset.rows == 0:
        names = ", ".join(file.name for file in dataset.files[:3])
        raise DataError(f"{names}: expected rows with {', '.join(KEYED)}, or some of them; there are none")
    stamps = _stamps(dataset, () if texts is None else texts.files)
    kept = _Kept(dataset, present, options, progress)
    for batch in read(dataset, present, "fingerprint", options, progress):
        kept.add(batch)
    content, arrays = kept.content(dataset, options), kept.arrays()
    if content["rows"] == 0:
        raise DataError(f"{dataset.files[0].name}: no rows")
    if _stamps(dataset, () if texts is None else texts.files) != stamps:
        raise DataError(f"{dataset.files[0].name}: this or another file changed while it was read")
    try:
        write_bytes(path, pack(content, arrays))
    except OSError as error:
        raise DataError(f"{path}: cannot write the fingerprint: {error.strerror or error}") from error
    return open_fingerprint(str(path))


def fingerprint_identity(path: str | PathLike[str]) -> str:
    """The BLAKE3 of a fingerprint in hexadecimal, after the file was checked against it.

    Raises:
        DataError: the file is no fingerprint, is truncated or was altered.
    """
    return unpack(os.fspath(path)).identity


def _check_place(path: Path) -> None:
    if path.suffix != SUFFIX:
        raise DataError(f"{path}: expected a name that ends with {SUFFIX}")
    if os.path.lexists(path):
        raise DataError(f"{path}: exists already")
    if not path.parent.is_dir():
        raise DataError(f"{path}: no such folder: {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"{path}: cannot write there: {path.parent} is read-only")


def _stamps(dataset: Dataset, texts: Any) -> dict[str, tuple[int, int] | None]:
    """Size and time of every local file, None for one that is gone."""
    stamps: dict[str, tuple[int, int] | None] = {}
    for file in (*dataset.files, *texts):
        if file.path is not None:
            try:
                status = os.stat(file.path)
                stamps[file.path] = (status.st_size, status.st_mtime_ns)
            except OSError:
                stamps[file.path] = None
    return stamps


class _Keys:
    """The distinct keys of one column, and the place of every row's key among them."""

    def __init__(self, threads: int) -> None:
        self._table = _core.KeyTable(2, threads)
        self._keys: list[Keys] = [np.empty((0, 2), np.uint64)]
        self._index: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]

    def add(self, keys: Keys, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Adds the keys of a batch; the rows at which a key comes up for the first time."""
        index = np.full(len(valid), NO_KEY, np.int64)
        known = len(self._table)
        places = self._table.insert(np.ascontiguousarray(keys[valid]))
        index[valid] = places
        first = np.flatnonzero(valid)[newly_inserted(places, known)]
        self._keys.append(keys[first])
        self._index.append(index)
        return first

    def skip(self, rows: int) -> None:
        """Adds rows of a file that lacks the column."""
        self._index.append(np.full(rows, NO_KEY, np.int64))

    def arrays(self, column: Column) -> dict[str, Array]:
        return {
            f"{column}.keys": pack_keys(np.concatenate(self._keys)),
            f"{column}.index": pack_index(np.concatenate(self._index)),
        }


class _Kept:
    """What is kept of the rows that went by."""

    def __init__(
        self, dataset: Dataset, columns: list[Column], options: ScanOptions, progress: Progress
    ) -> None:
        self._options = options
        self._columns = {column: _Keys(options.threads) for column in columns}
        self._rows = [0] * len(dataset.files)
        self._codes: list[Array] = []
        self._rests: list[Array] = []
        if "vector" in columns:
            progress("sample", 0, None)
            self._directions = _directions(_sample(dataset), dataset.dim or 0)
            self._steps = np.full(len(self._directions), STEP)
            self._sketcher = _core.Sketcher(self._directions, self._steps, options.threads)

    def add(self, batch: Batch) -> None:
        """Takes the next rows."""
        self._rows[batch.file] += batch.rows
        for column, kept in self._columns.items():
            values = getattr(batch, column)
            if values is None:
                kept.skip(batch.rows)
            elif column == "vector":
                codes, rests, usability, keys = self._sketcher.sketch(values)
                first = kept.add(vector_keys(keys, usability), np.ones(batch.rows, np.bool_))
                self._codes.append(codes[first])
                self._rests.append(rests[first])
            elif column == "text":
                kept.add(self._text_keys(values), np.asarray(values.is_valid()))
            else:
                kept.add(*id_keys(values, self._options.threads))

    def _text_keys(self, values: Any) -> Keys:
        data, offsets = text_bytes(pc.fill_null(values, ""))
        asked = self._options
        return _core.text_keys(data, offsets, asked.normalize, asked.min_chars, asked.threads)

    def content(self, dataset: Dataset, options: ScanOptions) -> dict[str, Any]:
        """What the header says."""
        files = [
            {
                "name": file.name,
                "rows": rows,
                "fields": {c: f for c, f in file.fields.items() if c in self._columns},
                "provenance": file.provenance,
            }
            for file, rows in zip(dataset.files, self._rows, strict=True)
        ]
        texts = {
            "normalize": options.normalize,
            "min_chars": options.min_chars,
            "unicode": _core.unicode_version(),
        }
        return {
            "rows": sum(self._rows),
            "dim": dataset.dim if "vector" in self._columns else None,
            "texts": texts,
            "files": files,
            "notes": list(dataset.notes),
        }

    def arrays(self) -> dict[str, Array]:
        """What the sections hold. Codes stand direction by direction: alike with alike compresses better."""
        arrays: dict[str, Array] = {}
        for column, kept in self._columns.items():
            arrays |= kept.arrays(column)
        if "vector" in self._columns:
            width = len(self._directions)
            arrays["directions"], arrays["steps"] = self._directions, self._steps
            arrays["codes"] = np.concatenate([np.empty((0, width), np.int8), *self._codes]).T
            arrays["rests"] = np.concatenate([np.empty((0, 2), np.uint16), *self._rests]).T
        return arrays


def _sample(dataset: Dataset) -> npt.NDArray[np.float64]:
    """Usable vectors at unit length, blocks from all over the files as far as that is cheap."""
    parts: list[Array] = []
    total = dataset.estimated_rows()
    for file in dataset.files:
        if "vector" not in file.fields or not total or file.rows == 0:
            continue
        blocks = max(1, round(SAMPLE_BLOCKS * file.estimated_rows() / total))
        wanted = None if file.rows is None else _sampled_rows(file.rows, file.starts, blocks)
        taken = 0
        for batch in file.batches(("vector",), SAMPLE_BLOCK_ROWS, wanted):
            stop = batch.file_row + batch.rows
            if wanted is None or np.diff(np.searchsorted(wanted, (batch.file_row, stop)))[0]:
                parts.append(np.asarray(batch.vector, np.float64))
                taken += 1
            if taken == blocks:
                break
    rows = np.concatenate(parts) if parts else np.empty((0, dataset.dim or 0))
    rows = rows[np.isfinite(rows).all(axis=1)]
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = norms[:, 0] > 0
    return np.asarray(rows[usable] / norms[usable])


def _sampled_rows(rows: int, starts: Rows | None, blocks: int) -> Rows:
    """First rows of `blocks` blocks at even distances, or close behind the rows where reading can begin."""
    if starts is None:
        return np.unique(np.linspace(0, max(0, rows - 1), blocks).astype(np.int64))
    chosen = starts[np.unique(np.linspace(0, len(starts) - 1, blocks).astype(np.int64))]
    behind = np.arange(-(-blocks // len(chosen))) * SAMPLE_BLOCK_ROWS * SAMPLE_STRIDE
    return np.unique(np.minimum(np.add.outer(chosen, behind), rows - 1))


def _directions(sample: npt.NDArray[np.float64], dim: int) -> npt.NDArray[np.float32]:
    """(width, d) orthonormal rows of about the largest energy in the sample: subspace iteration.

    Halko, Martinsson and Tropp, *Finding structure with randomness*, algorithm 4.4. Any directions would do;
    these rule most out.
    """
    width = min(WIDTH, dim)
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, width)))
    for _ in range(ROUNDS):
        basis, _ = np.linalg.qr(sample.T @ (sample @ basis))
    projected = sample @ basis
    _, rotation = np.linalg.eigh(projected.T @ projected)
    return np.ascontiguousarray((basis @ rotation[:, ::-1]).T, np.float32)
