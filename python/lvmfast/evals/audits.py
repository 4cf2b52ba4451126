"""Audits: before a figure is believed, the machinery that makes it must get known answers right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.keys import Keys
from lvmfast.errors import DataError
from lvmfast.evals.exclusion import Excluded, excluded_pairs
from lvmfast.evals.payload import moved
from lvmfast.evals.ranks import truth_ranks
from lvmfast.evals.request import OpenPool
from lvmfast.evals.vectors import float_rows, pair_scores

SHIFTS = (-1, 0, 1)
#: Audits that must hold for all but a few in a thousand runs of a sound machinery.
RANDOM_LEVEL = 0.999
#: Queries of the separation check and of the random-query check.
MINI_BATCH = 256


@dataclass(frozen=True)
class Audit:
    """What one audit found."""

    name: str
    passed: bool
    sentence: str  #: what was found, in words
    found: Mapping[str, Any]  #: the figures


def separation_check(predicted: Vectors, targets: Vectors, documents: Any = None) -> Audit:
    """Are predictions nearer to their own targets than to others' in a mini-batch?

    The AUC is the probability that a query's own target scores above a target that is not its own, ties
    counting half (Mann and Whitney, Annals of Mathematical Statistics 18(1), 1947). Passed above 0.5.

    Args:
        predicted: (q, d) predictions, of which `MINI_BATCH` at even distances are taken.
        targets: (q, d) what truly follows.
        documents: (q,) the document of each; targets of a query's own document are then no negatives.

    Raises:
        DataError: shapes that do not fit, or nothing to compare with.
    """
    predicted, targets = float_rows("predictions", predicted), float_rows("targets", targets)
    if predicted.shape != targets.shape:
        raise DataError(f"targets: expected {predicted.shape} as predictions, got {targets.shape}")
    rows = np.unique(np.linspace(0, len(predicted) - 1, min(MINI_BATCH, len(predicted))).astype(np.int64))
    labels = rows if documents is None else np.asarray(documents)[rows]
    i, j = np.nonzero(labels[:, None] != labels)
    if not len(i):
        raise DataError("separation check: expected targets of at least two documents")
    positive = np.nan_to_num(pair_scores(predicted, rows, targets, rows))
    negative = np.sort(np.nan_to_num(pair_scores(predicted, rows[i], targets, rows[j])))
    below, upto = (np.searchsorted(negative, positive, side) for side in ("left", "right"))
    auc = float((below + upto).mean() / 2 / len(negative))
    found = {
        "queries": len(rows),
        "positive_cosine": float(positive.mean()),
        "negative_cosine": float(negative.mean()),
        "auc": auc,
    }
    sentence = f"own targets {positive.mean():.3f}, others' {negative.mean():.3f}, AUC {auc:.3f}"
    return Audit("separation", auc > 0.5, sentence, found)


def oracle_check(targets: Vectors, pool: OpenPool, pool_vectors: Vectors, truth: Rows) -> Audit:
    """The true targets as queries, through the very index that is scored: R@1 must be 100%.

    A target whose equal stands in the pool under another key is found if its own row scores as high.

    Args:
        targets: (q, d) the vectors that truly follow, as the evaluation set has them.
        pool: the opened pool.
        pool_vectors: (n, d) its rows.
        truth: (q,) the row that the keys name for each query.
    """
    targets, first = float_rows("targets", targets), pool.top_k(targets, 1)
    own = pair_scores(targets, np.arange(len(targets)), pool_vectors, np.asarray(truth, np.int64))
    hit = own >= first.scores[:, 0]
    share = 100 * float(hit.mean())
    sentence = f"R@1 of the true targets is {share:.1f}%"
    if not hit.all():
        query = int(np.flatnonzero(~hit)[0])
        sentence += (
            f"; query {query} finds row {first.rows[query, 0]} where its keys name {truth[query]}, "
            f"whose cosine with it is {own[query]:.3f}"
        )
    return Audit("oracle", bool(hit.all()), sentence, {"R@1": share, "queries": len(hit)})


def key_shift_audit(
    targets: Vectors, keys: Keys, pool: OpenPool, pool_vectors: Vectors, pool_keys: Keys
) -> Audit:
    """Do the keys name the rows that hold the targets, and not their neighbours?

    The oracle check with the chunk of every key moved by -1, 0 and +1. Passed if the keys as they are find
    the most; keys that are off by one find none, while scores that are not the oracle's may still look well.

    Args:
        targets: (q, d) the vectors that truly follow.
        keys: (q, 4) document and chunk, integers.
        pool: the opened pool.
        pool_vectors: (n, d) its rows.
        pool_keys: (n, 4) theirs; each once.
    """
    table = _core.KeyTable(4, 0)
    table.insert(pool_keys)
    targets, first = float_rows("targets", targets), pool.top_k(targets, 1).scores[:, 0]
    found: dict[str, float] = {}
    for shift in SHIFTS:
        rows = table.find(moved(keys, shift))
        asked = np.flatnonzero(rows >= 0)
        hits = pair_scores(targets, asked, pool_vectors, rows[asked]) >= first[asked]
        found[f"{shift:+d}" if shift else "0"] = 100 * float(np.count_nonzero(hits) / len(rows))
    best = max(found, key=lambda shift: found[shift])
    passed = best == "0" and found["0"] > 0
    sentence = "R@1 of the true targets with chunks moved by " + ", ".join(
        f"{shift}: {share:.1f}%" for shift, share in found.items()
    )
    if not passed and best != "0":
        sentence += f": the keys are off by {best}"
    return Audit("key shift", passed, sentence, {"R@1": found, "best": best})


def random_query_check(
    pool_vectors: Vectors, *, exclude: Excluded = None, seed: int = 0, k: int = 5
) -> Audit:
    """Random queries, each after a random row of its candidates: R@k must be chance, k / n.

    The acceptance region is that of a two-sided binomial test (Clopper and Pearson, Biometrika 26(4), 1934)
    at the level 0.999. Where the pool holds equal rows, which tie against the model, its lower end is not
    looked at.

    Args:
        pool_vectors: (n, d) the pool.
        exclude: rows that are not there, for up to `MINI_BATCH` queries; without it there are none.
        seed: of queries and rows.
        k: the depth of recall.
    """
    rng = np.random.default_rng(seed)
    pool_vectors = float_rows("pool", pool_vectors)
    codes, row_keys = _core.describe_rows(pool_vectors, 0)
    usable = np.flatnonzero(codes == 0)
    equal = len(np.unique(row_keys[usable], axis=0)) < len(usable)
    queries = MINI_BATCH if exclude is None else min(MINI_BATCH, len(exclude))
    of_query, gone = excluded_pairs(None if exclude is None else exclude[:queries], queries, len(codes))
    truth = np.empty(queries, np.int64)
    sizes = np.empty(queries, np.int64)
    for query in range(queries):
        there = np.setdiff1d(usable, gone[of_query == query])
        if len(there) <= k:
            raise DataError(f"random-query check: query {query} has {len(there)} candidates for k = {k}")
        truth[query], sizes[query] = rng.choice(there), len(there)
    asked = rng.standard_normal((queries, pool_vectors.shape[1])).astype(np.float32)
    ranks = truth_ranks(asked, pool_vectors, truth, exclude=None if exclude is None else exclude[:queries])
    hits = int(np.count_nonzero(ranks <= k))
    chance = float((k / sizes).mean())
    low, high = acceptance_region(queries, chance, RANDOM_LEVEL)
    low = 0 if equal else low
    sentence = f"{hits} of {queries} random queries hit, chance is {chance * queries:.1f} ({low} to {high})"
    found = {"hits": hits, "queries": queries, "chance": chance, "accepted": [low, high], "k": k}
    return Audit("random query", low <= hits <= high, sentence, found)


def acceptance_region(trials: int, chance: float, level: float) -> tuple[int, int]:
    """The successes that a binomial test accepts: each tail outside holds (1 - level) / 2 at most."""
    if not 0 < chance < 1:
        return (0, 0) if chance <= 0 else (trials, trials)
    steps = np.arange(1, trials + 1)
    logs = np.cumsum(np.log((trials - steps + 1) / steps)) + steps * np.log(chance / (1 - chance))
    mass = np.exp(np.concatenate([[0.0], logs]) + trials * np.log1p(-chance))
    tail = (1 - level) / 2
    low = int(np.searchsorted(np.cumsum(mass), tail, side="right"))
    high = trials - int(np.searchsorted(np.cumsum(mass[::-1]), tail, side="right"))
    return low, high
