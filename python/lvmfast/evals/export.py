"""A model that takes densities off, and a payload, as vectors for any index of products or cosines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus import Dataset, load_split
from lvmfast.corpus.dataset import Column, Rows, Vectors
from lvmfast.corpus.sequences import Sequences, open_sequences
from lvmfast.durable import appearing
from lvmfast.errors import DataError, missing_extra
from lvmfast.evals.augmented import augmented_rows
from lvmfast.evals.payload import VectorPayload, load_vector_payload
from lvmfast.evals.vectors import usability
from lvmfast.models.checkpoint import CheckpointInfo, load_model

#: Windows whose queries are made at a time.
BATCH = 1024
INDEX_SUFFIX = ".faiss"


@dataclass(frozen=True)
class Exported:
    """What was written."""

    rows: int
    left_out: int  #: rows of the payload without a direction
    width: int  #: components of a vector
    queries: int | None  #: None where none were asked for
    index: Path | None  #: of FAISS, where one was asked for


def export_linear(
    run: str | PathLike[str],
    payload: Any,
    out: Path,
    *,
    queries: Any = None,
    faiss: str | None = None,
    threads: int = 0,
) -> Exported:
    """Writes `out`, an npz of augmented vectors (`evals/augmented.py`), and perhaps a FAISS index beside it.

    Args:
        run: the folder of a run of model linear or of residual linear, or a checkpoint.
        payload: vectors by (doc_id, chunk_id), as for the pool corpus.
        out: the file; docs/models.md lists its arrays.
        queries: sequences whose windows become augmented queries in the same file.
        faiss: a string of FAISS's index factory, such as ``Flat``: an index of inner products.
        threads: 0 for one per available core.

    Raises:
        DataError: a run of another model, a payload or windows that do not fit it, or faiss is missing.
        OSError: it cannot be written; what stood there still does.
    """
    model, info = load_model(run)
    from lvmfast.models.on_linear import scorer_of

    scorer = scorer_of(model)
    if scorer is None:
        raise DataError(
            f"{info.path}: expected a run of model linear or of residual linear, got {info.config.model}: "
            "it predicts a vector, so the vectors of the payload can be indexed as they are"
        )
    dataset = load_split(payload)
    pool = load_vector_payload(dataset)
    _check_fit(info, pool)
    there = np.flatnonzero(usability(pool.vectors, threads) == 0)
    vectors = augmented_rows(pool.vectors[there], model.neighbours, threads=threads)
    doc_ids, chunk_ids = _ids(dataset, pool)
    of_places, of_densities = (weights.detach().numpy() for weights in scorer.weights)
    arrays: dict[str, npt.NDArray[Any]] = {
        "vectors": vectors,
        "doc_id": doc_ids[there],
        "chunk_id": chunk_ids[there],
        "payload_row": there,
        "lags": of_places,
        "weights": of_densities,
        "neighbours": np.array(model.neighbours, np.int64),
        "provenance": np.array(json.dumps(dict(info.provenance))),
    }
    if queries is not None:
        arrays["queries"] = _queries(model, info, open_sequences(queries))
    index = None if faiss is None else _index(faiss, vectors, threads)
    with appearing(out) as staged, staged.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    place = None
    if index is not None:
        place = out.with_suffix(INDEX_SUFFIX)
        with appearing(place) as staged:
            staged.write_bytes(index)
    made = len(arrays["queries"]) if queries is not None else None
    return Exported(len(there), len(pool.vectors) - len(there), vectors.shape[1], made, place)


def _check_fit(info: CheckpointInfo, pool: VectorPayload) -> None:
    if pool.vectors.shape[1] != info.config.dim:
        raise DataError(
            f"{pool.name}: expected vectors of {info.config.dim} values as the run has, "
            f"got {pool.vectors.shape[1]}"
        )
    info.check_encoder(pool.provenance)


def _ids(dataset: Dataset, pool: VectorPayload) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(n,) documents and chunks of a payload's rows: integers where all of them are, else texts."""
    if not pool.keys[:, [0, 2]].any():
        ids = np.ascontiguousarray(pool.keys[:, [1, 3]]).view(np.int64)
        return ids[:, 0], ids[:, 1]
    columns: tuple[Column, ...] = ("doc_id", "chunk_id")
    found: dict[str, list[str]] = {"doc_id": [], "chunk_id": []}
    for batch in dataset.batches(columns, 1 << 16):
        for name, values in (("doc_id", batch.doc_id), ("chunk_id", batch.chunk_id)):
            assert values is not None
            found[name] += [str(value) for value in values.to_pylist()]
    return np.array(found["doc_id"], np.str_), np.array(found["chunk_id"], np.str_)


def _queries(model: Any, info: CheckpointInfo, sequences: Sequences) -> Vectors:
    """(q, d + m + 1) augmented queries of all windows."""
    import torch

    wanted, given = (info.config.length, info.config.dim), (sequences.length, sequences.dim)
    if wanted != given:
        raise DataError(
            f"{sequences.dataset.files[0].name}: expected windows of {wanted[0]} vectors of {wanted[1]} "
            f"values, got {given[0]} of {given[1]}"
        )
    info.check_encoder(sequences.dataset.provenance)
    made: list[Vectors] = []
    for start in range(0, sequences.n, BATCH):
        rows: Rows = np.arange(start, min(sequences.n, start + BATCH))
        with torch.inference_mode():
            made.append(model.queries(torch.from_numpy(sequences.contexts(rows))).numpy())
    return np.concatenate(made)


def _index(factory: str, vectors: Vectors, threads: int) -> bytes:
    """A FAISS index of inner products, as its file has it."""
    try:
        import faiss
    except ImportError as error:
        raise missing_extra("a FAISS index", "faiss", error) from error
    if threads > 0:
        faiss.omp_set_num_threads(threads)
    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise DataError(f"FAISS index {factory!r} over {len(vectors):,} rows: {reason}") from error
    return bytes(faiss.serialize_index(index).tobytes())
