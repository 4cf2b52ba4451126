"""From a file of training sequences to a reranker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lvmfast import _core
from lvmfast.corpus import load_split
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.sequences import Sequences
from lvmfast.errors import DataError
from lvmfast.evals.augmented import lag_mix_density, with_densities
from lvmfast.evals.density import NEIGHBOURS, KnownDensities, final_ranks
from lvmfast.evals.metrics import retrieval_metrics
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.payload import VectorPayload, load_vector_payload
from lvmfast.evals.pools import DEPTH, build_pool
from lvmfast.evals.predictors import baseline, emit, is_baseline_name, load_run, training_files
from lvmfast.evals.queries import Queries, open_queries
from lvmfast.evals.ranks import truth_ranks
from lvmfast.evals.rerank import Reranker, fit_reranker, list_features
from lvmfast.evals.search import top_k
from lvmfast.leaks.progress import silent
from lvmfast.models.baselines import fit_lag_mix


@dataclass(frozen=True)
class Fit:
    """A reranker, and how it does on what it was fitted to."""

    reranker: Reranker
    queries: int
    documents: int
    before: dict[str, float]
    beside: dict[str, float]  #: of lag-mix-density
    after: dict[str, float]  #: on the training documents themselves: no evidence of anything


def fit_on(
    train: Any,
    *,
    payload: Any = None,
    model: str = "copy-last",
    depth: int = DEPTH,
    seed: int = 0,
    threads: int = 0,
    allow_leaked: bool = False,
) -> Fit:
    """Fits a reranker to the lists that a model retrieves from the chunks of training documents.

    Args:
        train: what `open_sequences` takes. In the chunk-matrix layout the pool is all of its chunks. None:
            the files that the run `model` was trained on.
        payload: vectors by (doc_id, chunk_id): the pool then is those of the training documents, and no
            others are looked at. Without it, and in a layout that has windows alone, it is the targets.
        model: who predicts: a baseline, or the folder of a trained run.
        depth: candidates of a list.
        seed: of the fit.
        threads: 0 for one per available core.
        allow_leaked: read a quarantined file.

    Raises:
        DataError: files that are unreadable or do not fit each other, chunks of windows that are not known by
            key, a pool of fewer than `depth` rows, or a run that does not fit, or whose files are gone.
    """
    if train is None:
        train = None if is_baseline_name(model) else training_files(Path(model))
        if train is None:
            raise DataError(f"rerank: {model}: no training files to fit to: name them")
    queries = open_queries(train, allow_leaked=allow_leaked)
    sequences = queries.sequences
    chunks, truth, context = _pool(queries, payload, allow_leaked=allow_leaked)
    contexts = sequences.contexts(np.arange(sequences.n))
    weights = fit_lag_mix(contexts, queries.targets)
    known = KnownDensities(chunks)
    if is_baseline_name(model):
        predictor = baseline(model, weights)
    else:
        predictor = load_run(model, queries, EvalOptions(threads=threads))
        known.of(sorted({NEIGHBOURS, *predictor.neighbours}), threads=threads)
    predicted = emit(predictor, queries, silent)

    def ranked_among(neighbours: tuple[int, ...]) -> Vectors:
        if not neighbours:
            return chunks
        return with_densities(chunks, known.of(neighbours, threads=threads), threads=threads)

    rows = ranked_among(predictor.neighbours)
    found = top_k(predicted, rows, depth, exclude=context, threads=threads)
    densities = known.of((NEIGHBOURS,), threads=threads)[:, 0]
    features = list_features(found, contexts, chunks, densities, threads)
    stated = {
        "model": predictor.name,
        "neighbours": list(predictor.neighbours),
        "weights": None if predictor.weights is None else list(predictor.weights),
        "train_hash": trained_hash(sequences, threads),
        "provenance": dict(sequences.provenance),
        "leak_status": "LEAKED" if sequences.dataset.leaked else "clean",
        "dim": sequences.dim,
    }
    reranker = fit_reranker(
        features,
        found.rows,
        truth,
        sequences.doc_ids,
        length=sequences.length,
        seed=seed,
        stated=stated,
    )
    retrieved = truth_ranks(predicted, rows, truth, exclude=context, threads=threads)
    beside = truth_ranks(
        lag_mix_density(contexts, weights),
        ranked_among((NEIGHBOURS,)),
        truth,
        exclude=context,
        threads=threads,
    )
    ranks = final_ranks(reranker.rerank(found, contexts, chunks, densities, threads), truth, retrieved)
    return Fit(
        reranker,
        sequences.n,
        len(np.unique(sequences.doc_ids)),
        retrieval_metrics(retrieved),
        retrieval_metrics(beside),
        retrieval_metrics(ranks, retrieved=retrieved),
    )


def trained_hash(sequences: Sequences, threads: int = 0) -> str:
    """What tells a set that a reranker was fitted to: BLAKE3 of its chunks, or of targets without any."""
    chunks = sequences.chunk_vectors
    vectors = sequences.targets(np.arange(sequences.n)) if chunks is None else chunks
    return _core.blake3_bytes(np.ascontiguousarray(vectors).tobytes(), threads)


def _pool(queries: Queries, payload: Any, *, allow_leaked: bool) -> tuple[Vectors, Rows, Rows]:
    """(m, d) candidates, and rows of the truths (q,) and of the windows (q, length) among them."""
    chunks, windows = queries.sequences.chunk_vectors, queries.sequences.windows
    if payload is None and chunks is not None and windows is not None:
        return chunks, windows[:, -1].astype(np.int64), windows[:, :-1].astype(np.int64)
    given = None
    if payload is not None:
        given = _own(queries, load_vector_payload(load_split(payload, allow_leaked=allow_leaked)))
    pool = build_pool("eval" if given is None else "corpus", queries, given)
    if pool.context is None:
        raise DataError(f"{queries.name}: rerank: {'; '.join(pool.notes)}")
    return pool.vectors, pool.truth, pool.context


def _own(queries: Queries, payload: VectorPayload) -> VectorPayload:
    """The payload's chunks of the training documents: others may be those that an evaluation asks about."""
    if queries.keys is None:
        return payload  # which no pool can be made of
    documents = _core.KeyTable(2, 0)
    documents.insert(np.ascontiguousarray(queries.keys[:, :2]))
    own = np.flatnonzero(documents.find(np.ascontiguousarray(payload.keys[:, :2])) >= 0)
    keys, table = np.ascontiguousarray(payload.keys[own]), _core.KeyTable(4, 0)
    table.insert(keys)
    return replace(payload, keys=keys, vectors=np.ascontiguousarray(payload.vectors[own]), table=table)
