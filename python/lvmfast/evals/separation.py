"""The first look at a model: are its predictions nearer to their own targets than to others'?"""

from __future__ import annotations

from typing import Any

import numpy as np

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError
from lvmfast.evals.vectors import pair_scores
from lvmfast.models.baselines import evenly_spaced, normalized

#: Queries of the mini-batch: as many positives, and the square of it less some as negatives.
MINI_BATCH = 256


def separation(predicted: Vectors, targets: Vectors, documents: Rows) -> dict[str, Any]:
    """Cosines of predictions with their own targets, and with targets of other documents, in a mini-batch.

    The AUC is the probability that a positive scores above a negative, ties counting half (Mann and Whitney,
    Annals of Mathematical Statistics 18(1), 1947): 0.5 is chance.

    Args:
        predicted: (q, d) predictions.
        targets: (q, d) what truly follows.
        documents: (q,) numbers; targets of a query's own document are no negatives.

    Raises:
        DataError: there are not two documents to compare.
    """
    rows = evenly_spaced(len(predicted), MINI_BATCH)
    cosines = normalized(predicted[rows]).astype(np.float64) @ normalized(targets[rows]).astype(np.float64).T
    other = documents[rows][:, None] != documents[rows]
    if not other.any():
        raise DataError("separation check: expected queries of at least two documents")
    positive, negative = np.diagonal(cosines), np.sort(cosines[other])
    below = np.searchsorted(negative, positive, "left")
    upto = np.searchsorted(negative, positive, "right")
    return {
        "queries": len(rows),
        "positive_cosine": float(positive.mean()),
        "negative_cosine": float(negative.mean()),
        "auc": float((below + upto).mean() / 2 / len(negative)),
    }


def truth_cosines(predicted: Vectors, targets: Vectors) -> Any:
    """(q,) float64: the cosine of each prediction with its target; 0 where a prediction has no direction."""
    found = pair_scores(predicted, np.arange(len(predicted)), targets, np.arange(len(targets)))
    return np.where(predicted.any(axis=1), found, 0.0)
