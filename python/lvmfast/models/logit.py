"""The conditional logit (McFadden, 1974): weights under which true candidates stand out of their lists."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float64]

#: Newton's method ends where the next step promises less in mean log-likelihood, or after so many steps.
LEAST_GAIN, MOST_STEPS = 1e-7, 50
#: Figures of candidates that are worked on at a time.
_FIGURES = 1 << 25


def conditional_logit(
    lead: npt.NDArray[np.float32], held: npt.NDArray[np.bool_], start: Weights, ridge: float
) -> Weights:
    """The most likely (f,) weights, less a ridge.

    The score of a candidate is the weighted sum of its figures, and the likelihood of the true ones is
    concave in the weights, so Newton's method finds its one maximum.

    Args:
        lead: (q, c, f) figures of each list's other candidates, less those of its true one.
        held: (q, c) which of them are no candidates.
        start: (f,) weights to start from.
        ridge: half of it times the squared length of the weights is added to the mean of -log p(truth).
    """
    n, width = len(lead), len(start)
    step = max(1, _FIGURES // max(1, lead.shape[1] * width))

    def loss(weights: Weights) -> tuple[float, Weights, Weights]:
        """Mean of -log p(truth) and its ridge, gradient and Hessian."""
        value, gradient, curvature = 0.0, np.zeros(width), np.zeros((width, width))
        for at in (slice(start, start + step) for start in range(0, n, step)):
            scores = np.where(held[at], -np.inf, lead[at] @ weights.astype(np.float32)).astype(np.float64)
            top = np.maximum(scores.max(1, initial=0.0), 0.0)  # the truth itself leads by 0
            odds = np.exp(scores - top[:, None])
            total = odds.sum(1) + np.exp(-top)
            share = (odds / total[:, None]).astype(np.float32)
            first = np.einsum("qc,qcl->ql", share, lead[at]).astype(np.float64)
            second = np.einsum("qcl,qcm->lm", share[..., None] * lead[at], lead[at], optimize=True)
            value += float(np.sum(top + np.log(total)))
            gradient += first.sum(0)
            curvature += second - first.T @ first
        value = value / n + ridge * float(weights @ weights) / 2
        return value, gradient / n + ridge * weights, curvature / n + ridge * np.eye(width)

    weights = start
    value, gradient, curvature = loss(weights)
    for _ in range(MOST_STEPS):
        ahead = np.linalg.solve(curvature, gradient)
        if float(gradient @ ahead) < LEAST_GAIN:
            break
        scale = 1.0
        while (tried := loss(weights - scale * ahead))[0] >= value and scale > 0.1:
            scale /= 2
        if tried[0] >= value:  # what is left to gain is less than float32 products can tell
            break
        weights = weights - scale * ahead
        value, gradient, curvature = tried
    return weights
