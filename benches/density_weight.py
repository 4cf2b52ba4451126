"""What a fitted weight of density is worth in lag-mix-density, whose weight is 1: five folds of articles.

The weight is the most likely one of a conditional logit with two figures of a candidate, its cosine with
the lag mix and its density, over lists of 100 candidates from pools of about 17 training articles; data,
folds and pools are those of `quality.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from common import machine
from lvmfast.evals.augmented import augmented_queries
from lvmfast.evals.bootstrap import paired_interval
from lvmfast.evals.density import NEIGHBOURS, WEIGHT, density
from lvmfast.evals.metrics import query_values
from lvmfast.models.baselines import fit_lag_mix, predict_baseline
from lvmfast.models.logit import conditional_logit
from quality import FOLDS, SEED, Corpus, ingest, judge

DOCUMENTS, CANDIDATES, START, RIDGE = 17, 100, 20.0, 1e-5


def lists(corpus: Corpus, rows: Any, mix: Any) -> tuple[Any, Any]:
    """(q, c, 2) figures of the other candidates less those of the true one, and (q, c) which are none."""
    chunks = np.unique(corpus.truth[rows])
    place = np.full(len(corpus.vectors), -1)
    place[chunks] = np.arange(len(chunks))
    pool = corpus.vectors[chunks]
    cosines, dense = predict_baseline("lag-mix", corpus.contexts(rows), mix) @ pool.T, density(pool)
    own, truth = np.arange(len(rows)), place[corpus.truth[rows]]
    scores = cosines - WEIGHT * dense
    scores[own, truth] = -np.inf
    query, lag = np.nonzero(place[corpus.windows[rows, :-1]] >= 0)
    scores[query, place[corpus.windows[rows, :-1]][query, lag]] = -np.inf
    first = np.argsort(-scores, axis=1)[:, : CANDIDATES - 1]
    ahead = np.take_along_axis(cosines, first, 1) - cosines[own, truth][:, None]
    figures = np.stack([ahead, dense[truth][:, None] - dense[first]], axis=2).astype(np.float32)
    return figures, np.isinf(np.take_along_axis(scores, first, 1))


def fitted(corpus: Corpus, rows: Any, mix: Any) -> float:
    articles, number = np.unique(corpus.article[corpus.truth[rows]], return_inverse=True)
    pools = max(1, round(len(articles) / DOCUMENTS))
    dealt = (np.random.default_rng(SEED).permutation(len(articles)) % pools)[number]
    found = [lists(corpus, rows[dealt == pool], mix) for pool in range(pools)]
    leads, held = (np.concatenate(part) for part in zip(*found, strict=True))
    weights = conditional_logit(leads, held, np.array([START, START]), RIDGE)
    return float(weights[1] / weights[0])


def main() -> None:
    corpus, ranks, articles = ingest(), {}, []
    print(f"{machine()}; {len(corpus.windows):,} windows")
    for fold in range(FOLDS):
        test = corpus.fold[corpus.truth] == fold
        rows, train = np.flatnonzero(test), np.flatnonzero(~test)
        mix = fit_lag_mix(corpus.contexts(train), corpus.vectors[corpus.truth[train]])
        weight = fitted(corpus, train, mix)
        print(f"fold {fold}: fitted weight {weight:.3f}", flush=True)
        pools = {"eval": np.flatnonzero(corpus.fold == fold), "corpus": np.arange(len(corpus.vectors))}
        mixed = predict_baseline("lag-mix", corpus.contexts(rows), mix)
        for name, b in (("1", WEIGHT), ("fitted", weight)):
            found = judge(corpus, rows, augmented_queries(mixed, (b,)), pools, (NEIGHBOURS,))
            for pool in pools:
                ranks.setdefault((name, pool), []).append(found[pool])
        articles.append(found["article"])
    for pool in ("eval", "corpus"):
        one, other = (query_values(np.concatenate(ranks[name, pool])) for name in ("1", "fitted"))
        for metric, digits in (("R@5", 1), ("MRR", 3)):
            low, high = paired_interval(other[metric], one[metric], np.concatenate(articles))
            gain = other[metric].mean() - one[metric].mean()
            print(
                f"{pool} pool: {metric} {one[metric].mean():.{digits}f} with weight 1, fitted "
                f"{gain:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
            )


if __name__ == "__main__":
    main()
