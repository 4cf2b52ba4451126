"""Vectors by (doc_id, chunk_id): what a whole corpus is as a pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvmfast import _core
from lvmfast.corpus.arrays_file import ArraysFile
from lvmfast.corpus.dataset import Batch, Column, Dataset, Rows, Vectors
from lvmfast.corpus.gathered import GatheredArray
from lvmfast.corpus.keys import Keys, newly_inserted, pair_keys
from lvmfast.corpus.provenance import check_same_encoder
from lvmfast.corpus.sequences import open_sequences
from lvmfast.errors import DataError
from lvmfast.evals.queries import integer_keys
from lvmfast.shown import percent


@dataclass(frozen=True)
class VectorPayload:
    """m vectors, each under a key of its own."""

    name: str
    keys: Keys  #: (m, 4)
    vectors: Vectors  #: (m, dim)
    provenance: Mapping[str, Mapping[str, Any]]
    leaked: tuple[str, ...]  #: quarantined files among those read
    table: _core.KeyTable

    def find(self, keys: Keys) -> Rows:
        """(n,) the row of each (n, 4) key, -1 where it has none."""
        return self.table.find(np.ascontiguousarray(keys))


def load_vector_payload(dataset: Dataset) -> VectorPayload:
    """Reads every vector of a chunk-matrix file, or of a file with doc_id, chunk_id and vector.

    Raises:
        DataError: it holds texts alone, lacks an id, names a key twice, or is broken.
    """
    dataset.require_rows("a fingerprint holds no vectors: it cannot be a pool")
    name = dataset.files[0].name
    _check_columns(dataset)
    keys, vectors = _chunk_matrix(dataset) if _is_chunk_matrix(dataset) else _rows(dataset)
    if not len(keys):
        raise DataError(f"{name}: no rows: the pool is empty")
    table = _core.KeyTable(4, 0)
    slots = table.insert(keys)
    if len(table) < len(keys):
        twice = int(np.flatnonzero(~newly_inserted(slots, 0))[0])
        first = int(np.flatnonzero(slots == slots[twice])[0])
        raise DataError(
            f"{name}: {len(keys) - len(table)} keys occur more than once; the first: rows {first} and "
            f"{twice} have the same (doc_id, chunk_id)"
        )
    return VectorPayload(name, keys, vectors, dataset.provenance, dataset.leaked, table)


def truth_rows(dataset: Dataset, dim: int, keys: Keys | None, payload: VectorPayload) -> Rows:
    """(q,) the row of the payload that each (q, 4) key of an evaluation set names.

    Raises:
        DataError: the payload is of another encoder or dimension, or lacks a key.
    """
    name = dataset.files[0].name
    check_same_encoder(dataset.provenance, payload.provenance)
    if payload.vectors.shape[1] != dim:
        raise DataError(
            f"{payload.name}: expected vectors of {dim} values as in {name}, got {payload.vectors.shape[1]}"
        )
    if keys is None:
        raise DataError(f"{name}: finding its targets in {payload.name} needs doc_id and chunk_id")
    truth = payload.find(keys)
    missing = np.flatnonzero(truth < 0)
    if len(missing):
        covered = len(keys) - len(missing)
        advice = ""
        if not keys[:, 2].any():
            shifted = {shift: int((payload.find(moved(keys, shift)) >= 0).sum()) for shift in (1, -1)}
            best = max(shifted, key=lambda shift: shifted[shift])
            if shifted[best] > covered:
                rate = shifted[best] / len(keys)
                advice = f"; with chunk ids {best:+d} it would be {percent(rate)}: are they off by one?"
        raise DataError(
            f"{name}: {percent(covered / len(keys))} of the keys are in {payload.name} "
            f"({covered} of {len(keys)}; the first that is not is row {missing[0]}){advice}"
        )
    return truth


def moved(keys: Keys, shift: int) -> Keys:
    """(n, 4) keys whose integer chunk ids are `shift` higher."""
    changed: Keys = keys.copy()
    changed[:, 3] += np.uint64(shift % 2**64)
    return changed


def _check_columns(dataset: Dataset) -> None:
    for file in dataset.files:
        if "vector" not in file.fields:
            texts = " (it holds texts alone)" if "text" in file.fields else ""
            raise DataError(
                f"{file.name}: vector: the pool corpus is made of vectors by (doc_id, chunk_id), and this "
                f"payload has none{texts}; a chunk-matrix file or the embeddings of `lvmfast ingest` do"
            )
        for column in ("doc_id", "chunk_id"):
            if column not in file.fields:
                raise DataError(f"{file.name}: {column}: a payload of vectors needs doc_id and chunk_id")


def _is_chunk_matrix(dataset: Dataset) -> bool:
    return all(
        isinstance(file, ArraysFile) and isinstance(file.source("vector"), GatheredArray)
        for file in dataset.files
    )


def _chunk_matrix(dataset: Dataset) -> tuple[Keys, Vectors]:
    """Every chunk, also one that no window names."""
    sequences = open_sequences(dataset)
    keys, vectors = sequences.chunk_keys, sequences.chunk_vectors
    assert keys is not None
    assert vectors is not None
    return np.ascontiguousarray(integer_keys(keys)), vectors


def _rows(dataset: Dataset) -> tuple[Keys, Vectors]:
    columns: tuple[Column, ...] = ("doc_id", "chunk_id", "vector")
    keys: list[Keys] = [np.empty((0, 4), np.uint64)]
    vectors: list[Vectors] = [np.empty((0, dataset.dim or 0), np.float32)]
    for batch in dataset.batches(columns, 8192):
        keys.append(batch_keys(dataset, batch))
        assert batch.vector is not None
        vectors.append(batch.vector.copy())
    return np.ascontiguousarray(np.concatenate(keys)), np.concatenate(vectors)


def batch_keys(dataset: Dataset, batch: Batch) -> Keys:
    """(n, 4) keys of document and chunk.

    Raises:
        DataError: a row lacks one.
    """
    keys, valid = pair_keys(batch.doc_id, batch.chunk_id)
    if not valid.all():
        row = batch.file_row + int(np.flatnonzero(~valid)[0])
        raise DataError(f"{dataset.files[batch.file].name}: row {row}: doc_id or chunk_id is null")
    return keys
