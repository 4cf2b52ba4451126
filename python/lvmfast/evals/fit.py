"""From a file of training sequences to a reranker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lvmfast import _core
from lvmfast.corpus.sequences import open_sequences
from lvmfast.errors import DataError
from lvmfast.evals.density import density, final_ranks
from lvmfast.evals.metrics import retrieval_metrics
from lvmfast.evals.pools import DEPTH
from lvmfast.evals.ranks import truth_ranks
from lvmfast.evals.rerank import Reranker, fit_reranker, list_features
from lvmfast.evals.search import top_k
from lvmfast.models.baselines import fit_lag_mix, predict_baseline


@dataclass(frozen=True)
class Fit:
    """A reranker, and how it does on what it was fitted to."""

    reranker: Reranker
    queries: int
    documents: int
    before: dict[str, float]
    after: dict[str, float]  #: on the training documents themselves: no evidence of anything


def fit_on(
    train: Any,
    *,
    model: str = "copy-last",
    depth: int = DEPTH,
    seed: int = 0,
    threads: int = 0,
    allow_leaked: bool = False,
) -> Fit:
    """Fits a reranker to the lists that a baseline retrieves from the chunks of training documents.

    Args:
        train: what `open_sequences` takes, in the chunk-matrix layout, whose pool is all of its chunks.
        model: the baseline that predicts: copy-last, mean or lag-mix.
        depth: candidates of a list.
        seed: of the fit.
        threads: 0 for one per available core.
        allow_leaked: read a quarantined file.

    Raises:
        DataError: the file is of another layout or unreadable, or its pool has fewer than `depth` rows.
    """
    sequences = open_sequences(train, allow_leaked=allow_leaked)
    chunks, windows = sequences.chunk_vectors, sequences.windows
    if chunks is None or windows is None:
        raise DataError(
            f"{sequences.dataset.files[0].name}: expected the chunk-matrix layout (chunk_vectors, windows), "
            "which `lvmfast ingest` writes: a reranker needs the whole pool that training retrieves from"
        )
    contexts = chunks[windows[:, :-1]]
    weights = fit_lag_mix(contexts, chunks[windows[:, -1]]) if model == "lag-mix" else None
    predicted = predict_baseline(model, contexts, weights)
    context = windows[:, :-1]
    truth = windows[:, -1]
    found = top_k(predicted, chunks, depth, exclude=context, threads=threads)
    densities = density(chunks, threads=threads)
    features = list_features(found, contexts, chunks, densities, threads)
    stated = {
        "model": model,
        "weights": None if weights is None else weights.tolist(),
        "train_hash": _core.blake3_bytes(np.ascontiguousarray(chunks).tobytes(), threads),
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
    retrieved = truth_ranks(predicted, chunks, truth, exclude=context, threads=threads)
    ranks = final_ranks(reranker.rerank(found, contexts, chunks, densities, threads), truth, retrieved)
    return Fit(
        reranker,
        sequences.n,
        len(np.unique(sequences.doc_ids)),
        retrieval_metrics(retrieved),
        retrieval_metrics(ranks, retrieved=retrieved),
    )
