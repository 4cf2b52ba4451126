"""Retrieval metrics of one true row per query, from its ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Rows
from lvmfast.errors import DataError

Values = npt.NDArray[np.float64]

RECALLS = (1, 5, 10, 20)
CONTAINS = (20, 50)
GAIN_DEPTH = 10
#: Every metric, in the order of tables. `R` and `Contain` are percent, the others fractions.
METRICS = (
    *(f"R@{k}" for k in RECALLS),
    *(f"Contain@{k}" for k in CONTAINS),
    "MRR",
    "Eff@5",
    "nDCG@10",
    "mean_cosine",
)
#: Eff@5 is a ratio of two means, and no mean of its own.
EFFICIENCY = ("R@5", "Contain@50")


def query_values(
    ranks: Rows, *, retrieved: Rows | None = None, cosines: Values | None = None
) -> dict[str, Values]:
    """What each query contributes to each metric that is a mean over queries: all but Eff@5.

    With one relevant row at rank r, recall at k is [r <= k], the reciprocal rank 1/r (Voorhees, TREC-8
    question answering, 1999), and the discounted gain, whose ideal is 1, 1 / log2(1 + r) for r <= 10
    (Järvelin and Kekäläinen, ACM TOIS 20(4), 2002).

    Args:
        ranks: (q,) rank of the true row in the final ranking, from 1.
        retrieved: (q,) its rank as retrieved, before gating and reranking, for Contain; `ranks` if not given.
        cosines: (q,) the cosine of prediction and truth; without it mean_cosine is left out.

    Returns:
        (q,) float64 per metric: 0 or 100 for R and Contain, fractions for the others.

    Raises:
        DataError: no queries, ranks below 1, or arrays of different lengths.
    """
    ranks = _checked_ranks("ranks", ranks)
    first = ranks if retrieved is None else _checked_ranks("retrieved", retrieved)
    values: dict[str, Values] = {f"R@{k}": np.where(ranks <= k, 100.0, 0.0) for k in RECALLS}
    values |= {f"Contain@{k}": np.where(first <= k, 100.0, 0.0) for k in CONTAINS}
    values["MRR"] = 1.0 / ranks
    values["nDCG@10"] = np.where(ranks <= GAIN_DEPTH, 1.0 / np.log2(1.0 + ranks), 0.0)
    if cosines is not None:
        values["mean_cosine"] = np.asarray(cosines, np.float64)
    for name, column in values.items():
        if column.shape != ranks.shape:
            raise DataError(f"{name}: expected a value for each of {len(ranks)} queries, got {column.shape}")
    return values


def retrieval_metrics(
    ranks: Rows, *, retrieved: Rows | None = None, cosines: Values | None = None
) -> dict[str, float]:
    """Every metric over all queries; the arguments are those of `query_values`.

    Eff@5 is R@5 / Contain@50, the share of contained truths that the ranking brings to the first five; NaN
    where none is contained. mean_cosine is left out without `cosines`.

    Raises:
        DataError: as `query_values`.
    """
    return _in_order(query_values(ranks, retrieved=retrieved, cosines=cosines))


def hit_counts(ranks: Rows, *, retrieved: Rows | None = None) -> dict[str, int]:
    """The queries behind each R and Contain."""
    values = query_values(ranks, retrieved=retrieved)
    return {name: int(np.count_nonzero(values[name])) for name in values if "@" in name and name != "nDCG@10"}


def macro_metrics(values: Mapping[str, Values], documents: Any) -> dict[str, float]:
    """Metrics whose every document counts alike: means over documents of the means over their queries.

    Args:
        values: as `query_values` gives them.
        documents: (q,) the document of each query.
    """
    _, number = np.unique(np.asarray(documents), return_inverse=True)
    sizes = np.bincount(number)
    return _in_order({name: np.bincount(number, column) / sizes for name, column in values.items()})


def document_metrics(values: Mapping[str, Values], documents: Any) -> dict[Any, dict[str, float]]:
    """The metrics of each document by itself, in the order of the documents."""
    names, number = np.unique(np.asarray(documents), return_inverse=True)
    order = np.argsort(number, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(number))[:-1])
    return {
        name.item(): _in_order({metric: column[part] for metric, column in values.items()})
        for name, part in zip(names, parts, strict=True)
    }


def _in_order(values: Mapping[str, Values]) -> dict[str, float]:
    means = {name: float(column.mean()) for name, column in values.items()}
    found, contained = (means[name] for name in EFFICIENCY)
    means["Eff@5"] = found / contained if contained else float("nan")
    return {name: means[name] for name in METRICS if name in means}


def _checked_ranks(name: str, ranks: Rows) -> Rows:
    array = np.asarray(ranks)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not len(array):
        raise DataError(
            f"{name}: expected (q,) integers of at least one query, got {array.shape} {array.dtype}"
        )
    if int(array.min()) < 1:
        raise DataError(f"{name}: expected ranks from 1, got {array.min()}")
    return array.astype(np.int64)
