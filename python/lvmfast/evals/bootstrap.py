"""Bootstrap intervals over clusters: queries of one article are alike, so whole articles are resampled.

The percentile interval of the cluster bootstrap (Davison and Hinkley, *Bootstrap Methods and their
Application*, 1997, sections 3.8 and 5.3): as many articles as there are, drawn with replacement, each with
all its queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.errors import DataError
from lvmfast.evals.metrics import Values

Interval = tuple[float, float]
RESAMPLES = 2000
#: Counts that are drawn at a time: 32 MiB of them.
_DRAWN = 1 << 22


def cluster_interval(
    values: Values,
    clusters: Any,
    *,
    over: Values | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """An interval of the mean of `values`.

    Args:
        values: (q,) what each query contributes.
        clusters: (q,) the article of each query: integers or strings.
        over: (q,) values whose mean divides that of `values`, for a ratio such as Eff@5.
        resamples: bootstrap samples; the same for the same seed and the same clusters.
        seed: of the samples.
        level: the share of samples that the interval holds.

    Returns:
        Its ends; both NaN with fewer than two clusters, or where a ratio has a zero below in any sample.

    Raises:
        DataError: shapes that do not fit, values that are not finite, or options out of range.
    """
    if resamples < 1 or not 0 < level < 1:
        raise DataError(f"bootstrap: expected resamples >= 1 and 0 < level < 1, got {resamples} and {level}")
    number = cluster_numbers(clusters, len(values))
    sums = _sums(values, number)
    weights = np.bincount(number).astype(np.float64) if over is None else _sums(over, number)
    if len(sums) < 2:
        return float("nan"), float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.concatenate(
            [(drawn @ sums) / (drawn @ weights) for drawn in _draws(len(sums), resamples, seed)]
        )
    if not np.isfinite(means).all():
        return float("nan"), float("nan")
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_interval(
    a: Values, b: Values, clusters: Any, *, resamples: int = RESAMPLES, seed: int = 0, level: float = 0.95
) -> Interval:
    """An interval of the mean of a - b over the same queries; other arguments as in `cluster_interval`."""
    if np.shape(a) != np.shape(b):
        raise DataError(f"paired_interval: expected the same queries, got {np.shape(a)} and {np.shape(b)}")
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return cluster_interval(difference, clusters, resamples=resamples, seed=seed, level=level)


def cluster_numbers(clusters: Any, queries: int) -> npt.NDArray[np.int64]:
    """Clusters as numbers from 0, in their sorted order."""
    labels = np.asarray(clusters)
    if labels.shape != (queries,) or not queries:
        raise DataError(f"clusters: expected one for each of {queries} queries, got {labels.shape}")
    number: npt.NDArray[np.int64] = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return number


def _sums(values: Values, number: npt.NDArray[np.int64]) -> Values:
    column = np.asarray(values, np.float64)
    if column.shape != number.shape:
        raise DataError(f"bootstrap: expected {len(number)} values, got {column.shape}")
    if not np.isfinite(column).all():
        raise DataError("bootstrap: values are not finite")
    return np.bincount(number, column).astype(np.float64)


def _draws(clusters: int, resamples: int, seed: int) -> Iterator[Values]:
    """How often each cluster is in each sample, (samples, clusters), some samples at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, _DRAWN // clusters)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        yield rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=count).astype(np.float64)
