"""What is zeroed in the windows of an effective batch, so that a model does not lean on the last vector."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lvmfast.training.batches import CORRUPTION, generator
from lvmfast.training.config import TrainConfig


def corrupted(
    config: TrainConfig, rows: int, length: int, epoch: int, step: int
) -> npt.NDArray[np.bool_] | None:
    """(rows, length), True where a vector is zeroed; None where the recipe corrupts nothing.

    Article dropout zeroes the last k vectors, k from 1 to `article_dropout_positions`, and leaves at least
    one; span corruption zeroes a span of up to half the window anywhere. Drawn for the effective batch as a
    whole, so that the draw does not hang on how it is divided.
    """
    if config.article_dropout == 0 and config.span_corruption == 0:
        return None
    rng = generator(config.seed, CORRUPTION, epoch, step)
    place = np.arange(length)[None, :]
    most = min(config.article_dropout_positions, length - 1)
    lost = rng.integers(1, max(most, 1) + 1, rows)[:, None]
    hit = (rng.random(rows) < config.article_dropout)[:, None]
    tail = hit & (place >= length - lost) & (most > 0)
    size = rng.integers(1, max(length // 2, 1) + 1, rows)[:, None]
    start = (rng.random(rows)[:, None] * (length - size + 1)).astype(np.int64)
    hit = (rng.random(rows) < config.span_corruption)[:, None] & (length > 1)
    span = hit & (place >= start) & (place < start + size)
    zeroed: npt.NDArray[np.bool_] = tail | span
    zeroed[zeroed.all(axis=1), 0] = False  # a window that is all padding says nothing
    return zeroed
