"""Mixes of the window that need no training. A model that is not above these has learned nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.errors import DataError
from lvmfast.models.config import MIXES
from lvmfast.models.logit import conditional_logit

Vectors = npt.NDArray[np.float32]
Weights = npt.NDArray[np.float64]

#: Windows and candidates that the lag mix is fitted on: more change its five or so figures no further.
QUERIES, CANDIDATES = 1024, 4096
#: Cosine from which a candidate counts as one that the window or the truth holds already.
SAME = 1 - 1e-5
RIDGE = 1e-3


def lag_weights(name: str, length: int, weights: npt.ArrayLike | None = None) -> Weights:
    """The weight of each place of a window, oldest first: (length,) float64.

    Args:
        name: one of `MIXES`; ``copy-last`` weighs the last place alone, ``mean`` all alike.
        length: vectors in a window.
        weights: what `fit_lag_mix` gave, for ``lag-mix``.

    Raises:
        DataError: the name is unknown, or lag-mix comes without (length,) finite weights.
    """
    if name == "copy-last":
        return np.asarray(np.arange(length) == length - 1, np.float64)
    if name == "mean":
        return np.full(length, 1 / length)
    if name != "lag-mix":
        raise DataError(f"baseline: expected {' or '.join(MIXES)}, got {name!r}")
    if weights is None:
        raise DataError("baseline lag-mix: expected the weights that fit_lag_mix gives, got none")
    found = np.asarray(weights, np.float64)
    if found.shape != (length,) or not np.isfinite(found).all():
        raise DataError(f"baseline lag-mix: expected ({length},) finite weights, got {found.tolist()}")
    return found


def predict_baseline(name: str, contexts: Vectors, weights: npt.ArrayLike | None = None) -> Vectors:
    """The L2-normalised mix of each window: (n, length, dim) -> (n, dim) float32.

    Rows of zeros in a window are padding and add nothing to any mix; a mix of no length stays zero.

    Raises:
        DataError: as `lag_weights`, or contexts of another shape.
    """
    if contexts.ndim != 3:
        raise DataError(f"contexts: expected (n, length, dim), got {contexts.shape}")
    mix = lag_weights(name, contexts.shape[1], weights).astype(np.float32)
    mixed = np.einsum("l,nld->nd", mix, contexts, dtype=np.float32)
    return normalized(mixed)


def normalized(rows: Vectors) -> Vectors:
    """Rows of length 1, by float64 sums of squares; rows of zeros stay zeros."""
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))[:, None]
    unit = np.divide(rows, norms, out=np.zeros(rows.shape), where=norms > 0)
    return np.asarray(unit, np.float32)


def fit_lag_mix(contexts: Vectors, targets: Vectors) -> Weights:
    """The weights under which mixes of windows pick their own targets out of the others: (length,) float64.

    A conditional logit (`logit.py`): the score of a candidate is the weighted sum of its cosines with the
    window's vectors. Candidates that the window holds, and copies of the truth, are left out. At most
    `QUERIES` windows and `CANDIDATES` targets are used, evenly spaced. The weights' absolute values sum to 1:
    their scale is lost in normalising.

    Args:
        contexts: (n, length, dim) float32 windows, oldest vector first.
        targets: (n, dim) float32, what follows each window.

    Raises:
        DataError: fewer than two windows, or shapes that do not fit.
    """
    n = len(contexts)
    if contexts.ndim != 3 or targets.shape != (n, contexts.shape[2]):
        raise DataError(
            f"lag-mix: expected (n, length, dim) contexts and (n, dim) targets, got {contexts.shape} "
            f"and {targets.shape}"
        )
    if n < 2:
        raise DataError(f"lag-mix: expected at least 2 windows to fit on, got {n}")
    rows, others = evenly_spaced(n, QUERIES), evenly_spaced(n, CANDIDATES)
    windows = np.asarray(contexts[rows], np.float32)
    length = windows.shape[1]
    unit = np.stack([normalized(windows[:, lag]) for lag in range(length)])  # (length, queries, dim)
    truths = normalized(np.asarray(targets[rows], np.float32))
    pool = normalized(np.asarray(targets[others], np.float32))
    cosines = unit @ pool.T  # (length, queries, candidates)
    held = (cosines >= SAME).any(0) | (truths @ pool.T >= SAME)
    right = np.einsum("lqd,qd->ql", unit, truths)
    lead: npt.NDArray[Any] = cosines.transpose(1, 2, 0) - right[:, None]  # (queries, candidates, length)
    weights = conditional_logit(lead, held, lag_weights("copy-last", length), RIDGE)
    return np.asarray(weights / np.abs(weights).sum())


def evenly_spaced(n: int, most: int) -> npt.NDArray[np.int64]:
    """At most `most` of n rows, the first and the last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
