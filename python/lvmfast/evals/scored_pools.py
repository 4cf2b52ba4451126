"""Pools as models score them: with their densities beside them, where a model takes density off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from lvmfast.corpus.dataset import Vectors
from lvmfast.evals.augmented import with_densities
from lvmfast.evals.pools import Pool
from lvmfast.evals.predictors import Predictor

Pools = Mapping[tuple[str, str], Pool]


def pools_as_scored(pools: Sequence[Pool], predictors: Sequence[Predictor], threads: int = 0) -> Pools:
    """Each pool as each model scores it, by (model, pool): made once for models that score alike."""
    kinds = {predictor.neighbours for predictor in predictors}
    if all_of_them := sorted({k for kind in kinds for k in kind}):
        for pool in pools:
            pool.densities.of(all_of_them, threads=threads)  # in one search
    made = {pool.name: {kind: as_scored(pool, kind, threads) for kind in kinds} for pool in pools}
    return {(p.name, pool): seen[p.neighbours] for pool, seen in made.items() for p in predictors}


def as_scored(pool: Pool, neighbours: tuple[int, ...], threads: int = 0) -> Pool:
    """The pool with augmented rows, or as it is for a model that takes no density off."""
    if not neighbours:
        return pool
    dense = pool.densities.of(neighbours, threads=threads)
    rows = with_densities(pool.vectors, dense, threads=threads)
    return replace(pool, vectors=rows, neighbours=neighbours)


def direction(predicted: Vectors, dim: int) -> Vectors:
    """(q, dim): what a model predicts, without what it asks of densities."""
    return np.ascontiguousarray(predicted[:, :dim])
