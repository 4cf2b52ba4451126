"""Splits whose vectors are made of their texts on the way to a scan, and kept for the next one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lvmfast.corpus.dataset import Batch, Column, Dataset, Rows, SplitFile, Vectors
from lvmfast.corpus.fingerprint import Fingerprint
from lvmfast.corpus.provenance import check_same_encoder
from lvmfast.corpus.sides import Side
from lvmfast.corpus.vector_column import VectorColumn
from lvmfast.encoding.encoder import Encoder
from lvmfast.encoding.parts import Embedded, Part, embed_texts
from lvmfast.errors import DataError
from lvmfast.leaks.cost import Announce, say_nothing
from lvmfast.leaks.progress import Progress, silent

#: The environment variable that names the folder for vectors.
VARIABLE = "LVMFAST_VECTORS"
_VECTORS: tuple[Column, ...] = ("vector", "context")


def cache_folder() -> Path:
    """Where vectors are kept: `VARIABLE` names the folder, else it is among the user's caches."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(caches) / "lvmfast" / "vectors"


def encoded_sides(
    datasets: Mapping[Side, Dataset],
    encoder: str | Encoder,
    progress: Progress = silent,
    announce: Announce = say_nothing,
) -> dict[Side, Dataset]:
    """Splits whose files that have texts and no vectors have vectors of their texts.

    All texts are read once, and those that the cache has no vectors for are embedded. Files that have
    vectors keep them, and a fingerprint has no texts.

    Args:
        datasets: the splits.
        encoder: a sentence-transformers folder, or a name on the model hub.
        progress: called as ("embeddings", rows done, rows in all or None), for each split.
        announce: told in a line, for each split, what was made and what was there.

    Raises:
        DataError: there is no such encoder, the vectors of a file are of another one, the texts cannot be
            read, or the cache not be written.
    """
    model = Encoder(encoder) if isinstance(encoder, str) else encoder
    for dataset in datasets.values():  # before hours are spent on the first one
        check_encoder(dataset, model)
    return {side: _encoded(dataset, model, progress, announce) for side, dataset in datasets.items()}


def _encoded(dataset: Dataset, encoder: Encoder, progress: Progress, announce: Announce) -> Dataset:
    without = [place for place, file in enumerate(dataset.files) if _lacks_vectors(file)]
    if not without or "text" not in dataset.columns or isinstance(dataset, Fingerprint):
        return dataset
    texts = Dataset(tuple(dataset.files[place] for place in without))
    cache = cache_folder()
    made = embed_texts(texts, encoder, cache, progress=progress)
    announce(_told(made, encoder, cache))
    files = list(dataset.files)
    for place, parts in zip(without, made.files, strict=True):
        files[place] = EncodedFile(files[place], parts, encoder)
    remarks = dataset.remarks
    if made.truncated:
        remarks = (*remarks, f"{made.truncated} texts are longer than the {encoder.window} tokens encoded")
    return replace(dataset, files=tuple(files), remarks=remarks)


def check_encoder(dataset: Dataset, encoder: Encoder) -> None:
    """Holds the encoder to the vectors that a split has, before hours are spent.

    Raises:
        DataError: the dimension or the encoder differs; the message names the file.
    """
    if dataset.dim is not None and dataset.dim != encoder.dim:
        name = next(file.name for file in dataset.files if file.dim is not None)
        raise DataError(
            f"{name}: expected vectors of {encoder.dim} values as {encoder.name} makes, got {dataset.dim}"
        )
    check_same_encoder(dataset.provenance, {encoder.name: encoder.provenance})


def _lacks_vectors(file: SplitFile) -> bool:
    return "text" in file.fields and not any(c in file.fields or c in file.unreadable for c in _VECTORS)


def _told(made: Embedded, encoder: Encoder, cache: Path) -> str:
    kept = f"{made.resumed:,} of them kept from before" if made.resumed else "none kept from before"
    cut = ""
    if made.truncated:
        cut = f"; {made.truncated:,} texts are longer than the {encoder.window} tokens that it reads"
    return f"{made.rows:,} vectors by {encoder.name}, {kept}, in {cache}{cut}"


class EncodedFile:
    """A `SplitFile` whose vectors stand in files of a cache, one row for each of its own."""

    def __init__(self, file: SplitFile, parts: Sequence[Part], encoder: Encoder) -> None:
        """`parts`: the vectors of all its rows, in order; `file` was read to its end."""
        self._file, self._parts = file, tuple(parts)
        self._ends = np.cumsum([part.rows for part in parts], dtype=np.int64)
        self.name, self.path, self.nbytes, self.origin = file.name, file.path, file.nbytes, file.origin
        self.id_types, self.unreadable = file.id_types, file.unreadable
        self.dim: int | None = encoder.dim
        self.context_length: int | None = None
        self.starts, self.notes = file.starts, file.notes
        self.provenance: dict[str, Any] | None = dict(encoder.provenance)
        named = f"{file.fields['text']} by {self.provenance['embedder_id']}"
        self.fields: dict[Column, str] = {**file.fields, "vector": named}

    @property
    def first_line(self) -> int | None:
        """As the file's own."""
        return self._file.first_line

    @property
    def rows(self) -> int | None:
        """As the file's own: it was read to its end."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def estimated_rows(self) -> int:
        """`rows`: they are known."""
        return self.rows or 0

    def batches(self, columns: Sequence[Column], rows: int, wanted: Rows | None = None) -> Iterator[Batch]:
        """As `SplitFile.batches`.

        Raises:
            DataError: the file has other rows than before, or vectors were removed from the cache.
        """
        if "vector" not in columns:
            yield from self._file.batches(columns, rows, wanted)
            return
        vectors = _Reader(self._parts, self._ends)
        others = [column for column in columns if column != "vector"]
        if others:
            for batch in self._file.batches(others, rows, wanted):
                made = vectors.read(self.name, batch.file_row, batch.file_row + batch.rows)
                yield replace(batch, targets=VectorColumn.of(made))
            return
        for start in range(0, self.estimated_rows(), rows):
            stop = min(start + rows, self.estimated_rows())
            if wanted is None or np.diff(np.searchsorted(wanted, (start, stop)))[0]:
                of_rows: Mapping[Column, Any] = {"vector": vectors.read(self.name, start, stop)}
                yield Batch.of(start, stop - start, of_rows)


class _Reader:
    """Reads rows out of parts, mostly forward: the part that was read last is held."""

    def __init__(self, parts: Sequence[Part], ends: Rows) -> None:
        self._parts, self._ends = parts, ends
        self._held: tuple[int, Vectors] | None = None

    def read(self, name: str, start: int, stop: int) -> Vectors:
        """Rows start to stop, (stop - start, d)."""
        first, last = np.searchsorted(self._ends, (start, stop - 1), side="right")
        if last >= len(self._parts):
            raise DataError(f"{name}: changed while it was read: it has more rows than were embedded")
        pieces = []
        for place in range(int(first), int(last) + 1):
            begin = int(self._ends[place]) - self._parts[place].rows
            piece = self._part(place)
            pieces.append(piece[max(0, start - begin) : stop - begin])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _part(self, place: int) -> Vectors:
        if self._held is None or self._held[0] != place:
            self._held = (place, self._parts[place].read())
        return self._held[1]
