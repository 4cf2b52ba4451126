"""Pools as models score them: with their densities beside them, where a model takes density off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lvmfast.corpus.dataset import Vectors
from lvmfast.evals.augmented import augmented_rows
from lvmfast.evals.pools import Pool
from lvmfast.evals.predictors import Predictor

Pools = Mapping[tuple[str, str], Pool]


def pools_as_scored(pools: Sequence[Pool], predictors: Sequence[Predictor], threads: int = 0) -> Pools:
    """Each pool as each model scores it, by (model, pool): made once for models that score alike."""
    kinds = {predictor.neighbours for predictor in predictors}
    made = {pool.name: {kind: as_scored(pool, kind, threads) for kind in kinds} for pool in pools}
    return {(p.name, pool): seen[p.neighbours] for pool, seen in made.items() for p in predictors}


def as_scored(pool: Pool, neighbours: tuple[int, ...], threads: int = 0) -> Pool:
    """The pool with augmented rows, or as it is for a model that takes no density off."""
    if not neighbours:
        return pool
    rows = augmented_rows(pool.vectors, neighbours, threads=threads)
    return replace(pool, vectors=rows, neighbours=neighbours)


def direction(predicted: Vectors, dim: int) -> Vectors:
    """(q, dim): what a model predicts, without what it asks of densities."""
    return np.ascontiguousarray(predicted[:, :dim])
