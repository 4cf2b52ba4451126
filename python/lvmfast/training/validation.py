"""How good predictions are on validation documents: retrieval among their targets, signs of collapse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lvmfast.corpus.dataset import Rows
from lvmfast.evals.augmented import with_densities
from lvmfast.evals.density import KnownDensities
from lvmfast.training.identities import Identities
from lvmfast.training.negatives import Lookup

_SCORES = 1 << 25


@dataclass(frozen=True)
class Pool:
    """The distinct targets of the validation set: what is retrieved from."""

    vectors: Tensor  #: (m, d), unit length
    truth: Tensor  #: (n,) the place of each sequence's own target
    excluded: Tensor  #: (2, e) (sequence, place): vectors of its own context, which are no candidates
    rows: Tensor  #: (m,) a sequence that has the target

    @cached_property
    def densities(self) -> KnownDensities:
        """Those of its rows, for all that take density off."""
        return KnownDensities(self.vectors.cpu().numpy())


def make_pool(targets: Tensor, identities: Identities) -> Pool:
    """The pool of (n, d) targets; equal ones stand in it once, and a sequence's own context is left out."""
    names = distinct_names(identities.target)
    distinct, first, truth = np.unique(names, return_index=True, return_inverse=True)
    query, place = Lookup(distinct).pairs(identities.context.reshape(-1))
    sequence = query // identities.context.shape[1]
    other = place != truth[sequence]
    device = targets.device
    excluded = np.unique(np.stack([sequence[other], place[other]]), axis=1)
    return Pool(
        F.normalize(targets[torch.from_numpy(first).to(device)], dim=-1),
        torch.from_numpy(truth.astype(np.int64)).to(device),
        torch.from_numpy(excluded.astype(np.int64)).to(device),
        torch.from_numpy(first).to(device),
    )


def distinct_names(names: Rows) -> Rows:
    """(n,) names of targets, where each without a direction (-1) has one of its own."""
    found: Rows = names.copy()
    unnamed = np.flatnonzero(names < 0)
    found[unnamed] = names.max(initial=-1) + 1 + np.arange(len(unnamed))
    return found


@dataclass(frozen=True)
class Quality:
    """Figures of some predictions."""

    cosine: float  #: mean cosine with the target
    r5: float  #: percent of sequences whose target is among the five nearest
    mrr: float  #: mean reciprocal rank
    margin: float  #: mean cosine with the target less that with the other candidates
    std: float  #: mean standard deviation of a dimension, times sqrt(d): 1 where directions are spread evenly
    pairwise_cosine: float  #: mean cosine of two predictions: 1 where all are the same
    #: (n,) float64 what each sequence adds to the means `cosine`, `r5` and `mrr`
    each: Mapping[str, Tensor] = field(default_factory=dict)


def quality(prediction: Tensor, pool: Pool) -> Quality:
    """The figures of (n, d) unit predictions. Ties count against the model."""
    n = len(prediction)
    ranks, negative, candidates = [], torch.zeros((), dtype=torch.float64), 0
    positive = (prediction * pool.vectors[pool.truth]).sum(-1)
    for start, scores in _scores(prediction, pool):
        rows = torch.arange(len(scores), device=scores.device)
        truth = pool.truth[start : start + len(scores)]
        own = scores[rows, truth][:, None].clone()
        scores[rows, truth] = -torch.inf
        ranks.append(1 + (scores >= own).sum(1))
        finite = torch.isfinite(scores)
        negative += scores.where(finite, scores.new_zeros(())).sum(dtype=torch.float64).cpu()
        candidates += int(finite.sum())
    rank = torch.cat(ranks).double()
    total = prediction.double().sum(0)
    spread = prediction.double().std(0, correction=0).mean() * prediction.shape[1] ** 0.5
    pairwise = (float(total @ total) - n) / max(1, n * (n - 1))
    return Quality(
        cosine=float(positive.double().mean()),
        r5=100.0 * float((rank <= 5).double().mean()),
        mrr=float((1 / rank).mean()),
        margin=float(positive.double().mean()) - float(negative) / max(1, candidates),
        std=float(spread),
        pairwise_cosine=pairwise,
        each={"cosine": positive.double(), "r5": 100 * (rank <= 5).double(), "mrr": 1 / rank},
    )


def dense_columns(pool: Pool, neighbours: Sequence[int], threads: int = 0) -> Tensor:
    """(m, k) densities of the pool's rows; 0 where no two rows have a direction."""
    if int(pool.vectors.any(dim=1).sum()) < 2:
        return pool.vectors.new_zeros(len(pool.vectors), len(neighbours))
    found = pool.densities.of(neighbours, threads=threads).astype(np.float32)
    return torch.from_numpy(found).to(pool.vectors.device)


def augmented_pool(pool: Pool, neighbours: Sequence[int], threads: int = 0) -> Pool:
    """The pool with the densities of its rows behind them (`evals.augmented`), for what takes them off."""
    dense = dense_columns(pool, neighbours, threads).cpu().numpy()
    rows = with_densities(pool.vectors.cpu().numpy(), dense, threads=threads)
    return replace(pool, vectors=torch.from_numpy(rows).to(pool.vectors.device))


def scored(queries: Tensor, pool: Pool, augmented: Pool) -> Quality:
    """The figures of (n, d + m + 1) augmented queries: ranks by their scores, all others by directions."""
    directions = F.normalize(queries[:, : pool.vectors.shape[1]], dim=-1)
    ranked = quality(queries, augmented)
    plain = quality(directions, pool)
    each = {**ranked.each, "cosine": plain.each["cosine"]}
    return replace(plain, r5=ranked.r5, mrr=ranked.mrr, each=each)


def _scores(prediction: Tensor, pool: Pool) -> Iterator[tuple[int, Tensor]]:
    """(first row, (k, m) cosines), minus infinity for what is no candidate."""
    step = max(1, _SCORES // len(pool.vectors))
    for start in range(0, len(prediction), step):
        scores = prediction[start : start + step] @ pool.vectors.T
        mine = (pool.excluded[0] >= start) & (pool.excluded[0] < start + len(scores))
        sequence, place = pool.excluded[:, mine]
        scores[sequence - start, place] = -torch.inf
        yield start, scores
