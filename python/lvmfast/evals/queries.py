"""The queries of an evaluation set: windows, the vectors that truly follow them, and their keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Column, Dataset, Rows, Vectors
from lvmfast.corpus.finite import check_finite
from lvmfast.corpus.keys import Keys, Valid, pair_keys
from lvmfast.corpus.sequences import Sequences, open_sequences

#: How the keys of a window's vectors are known.
STATED, PRECEDING = "stated", "preceding chunk ids"


@dataclass(frozen=True)
class Queries:
    """n queries: window i of `sequences`, and what follows it."""

    sequences: Sequences
    targets: Vectors  #: (n, dim)
    keys: Keys | None  #: (n, 4) document and chunk of each target; None where a row has no such id
    documents: Rows  #: (n,) documents, numbered
    names: tuple[str, ...]  #: (n,) document ids as text
    context_keys: Keys | None  #: (n, length, 4) of the windows' vectors; None where `keys` is
    context_from: str | None  #: `STATED` by the file, or taken to be the `PRECEDING` chunks

    @property
    def n(self) -> int:
        """Queries in all."""
        return self.sequences.n

    @property
    def name(self) -> str:
        """The first of the files."""
        return self.sequences.dataset.files[0].name

    @property
    def provenance(self) -> Mapping[str, Mapping[str, Any]]:
        """What the files state about their encoder, by file name."""
        return self.sequences.dataset.provenance

    def context_vectors(self) -> Vectors:
        """(m, dim): every vector of every window, once where the file holds it once; padding is left out."""
        windows = self.sequences.windows
        if windows is not None and (chunks := self.sequences.chunk_vectors) is not None:
            rows: Vectors = chunks[np.unique(windows[:, :-1])]
        else:
            rows = self.sequences.contexts(np.arange(self.n)).reshape(-1, self.sequences.dim)
        return np.ascontiguousarray(rows[(rows != 0).any(axis=1)])


def open_queries(
    source: Any, *, columns: Mapping[str, str] | None = None, allow_leaked: bool = False
) -> Queries:
    """Opens an evaluation set in any layout that `load_split` reads.

    Raises:
        DataError: it is not there, lacks doc_id, vector or context, is broken, or is quarantined and that
            was not allowed; or a vector of it is NaN or infinite.
    """
    sequences = open_sequences(source, columns=columns, allow_leaked=allow_leaked)
    check_finite(sequences, np.arange(sequences.n))
    keys, names = keys_of(sequences.dataset)
    contexts, known = None, None
    if keys is not None:
        stated = sequences.context_keys(np.arange(sequences.n))
        contexts = preceding(keys, sequences.length) if stated is None else integer_keys(stated)
        known = PRECEDING if stated is None else STATED
        if contexts is None:
            known = None
    targets = sequences.targets(np.arange(sequences.n))
    return Queries(sequences, targets, keys, sequences.doc_ids, names, contexts, known)


def keys_of(dataset: Dataset) -> tuple[Keys | None, tuple[str, ...]]:
    """(n, 4) keys of document and chunk, None unless every row has both; and the document ids as text."""
    columns: tuple[Column, ...] = ("doc_id", "chunk_id")
    keys: list[Keys] = []
    valid: list[Valid] = []
    names: list[str] = []
    for batch in dataset.batches(columns, 1 << 16):
        document = pa.nulls(batch.rows, pa.int64()) if batch.doc_id is None else batch.doc_id
        chunk = pa.nulls(batch.rows, pa.int64()) if batch.chunk_id is None else batch.chunk_id
        found, both = pair_keys(document, chunk)
        keys.append(found)
        valid.append(both)
        names += ["" if name is None else str(name) for name in document.to_pylist()]
    complete = bool(keys) and all(bool(both.all()) for both in valid)
    return (np.ascontiguousarray(np.concatenate(keys)) if complete else None), tuple(names)


def integer_keys(pairs: npt.NDArray[np.integer[Any]]) -> Keys:
    """(..., 2) integer ids as (..., 4) keys, as `pair_keys` makes them."""
    words = np.ascontiguousarray(pairs, np.int64).view(np.uint64)
    keys = np.zeros((*words.shape[:-1], 4), np.uint64)
    keys[..., 1], keys[..., 3] = words[..., 0], words[..., 1]
    return keys


def preceding(keys: Keys, length: int) -> Keys | None:
    """(n, length, 4): the chunks before each, oldest first; None where chunk ids are no integers."""
    if keys[:, 2].any():
        return None
    shifts = np.arange(length, 0, -1).astype(np.uint64)
    before = np.repeat(keys[:, None], length, axis=1)
    before[..., 3] -= shifts  # below zero it wraps, as a negative integer's key does
    return before
