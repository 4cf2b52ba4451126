"""Scores of items that leaked beside scores of items that did not: means, differences, intervals, verdicts.

Sources of what is computed:

- the table of clean, all and dirty items, and the relative difference of clean and all: Brown et al.,
  *Language Models are Few-Shot Learners*, 2020, appendix C;
- the estimated performance gain, the score of the whole benchmark less that of its clean items: Singh et al.,
  *Evaluation data contamination in LLMs: how do we measure it and (when) does it matter?*, 2024 (ConTAM);
- a threshold of coverage for each benchmark, the one with the largest significant gain: Dubey et al.,
  *The Llama 3 Herd of Models*, 2024, section 5.1.4;
- the z-value, the mean of a part against means of as many items drawn from the whole: Touvron et al.,
  *Llama 2: Open Foundation and Fine-Tuned Chat Models*, 2023, appendix A.6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]
Interval = tuple[float, float]

#: With fewer items in either group nothing is claimed; with fewer clusters intervals are over items.
LEAST = 20
LEVEL = 0.95
#: Counts that are drawn at a time: 32 MiB of them.
_DRAWN = 1 << 22
_NONE: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class Sampling:
    """How intervals are resampled where no closed form holds."""

    resamples: int = 2000
    seed: int = 0


def exact_interval(successes: int, trials: int) -> Interval:
    """The 95% interval of a proportion (Clopper and Pearson, Biometrika 26(4), 1934); NaN without a trial."""
    if not trials:
        return _NONE
    return _lowest(successes, trials), 1.0 - _lowest(trials - successes, trials)


def _lowest(successes: int, trials: int) -> float:
    """The chance under which as many successes, or more, are as rare as the tail that an interval leaves."""
    if not successes:
        return 0.0
    # With a chance up to `successes / trials` the terms fall from the first on: those behind 60 roots are 0.
    last = min(trials, successes + 60 * (math.isqrt(trials) + 1))
    counts = np.arange(successes, last + 1, dtype=np.float64)
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    logs = ways + np.cumsum(np.log(np.append(1.0, (trials - counts[:-1]) / (counts[:-1] + 1))))
    low, high = 0.0, successes / trials
    for _ in range(60):
        chance = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = logs + counts * math.log(chance) + _times(trials - counts, math.log1p(-chance))
        if float(np.exp(terms).sum()) < (1 - LEVEL) / 2:
            low = chance
        else:
            high = chance
    return (low + high) / 2


def _times(counts: Values, log: float) -> Values:
    """`counts * log`, where nothing of what is impossible is nothing."""
    return np.where(counts > 0, counts * log, 0.0)


def score_interval(successes: int, trials: int) -> Interval:
    """The 95% interval of a proportion by Wilson, JASA 22, 1927."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share, weight = successes / trials, z * z / trials
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def proportions_interval(first: tuple[int, int], second: tuple[int, int]) -> Interval:
    """The 95% interval of one proportion less another, each as successes and trials.

    The hybrid score interval: Newcombe, Statistics in Medicine 17, 1998, method 10.
    """
    (p, (low, high)), (q, (below, above)) = (
        (successes / trials, score_interval(successes, trials)) for successes, trials in (first, second)
    )
    return p - q - math.hypot(p - low, above - q), p - q + math.hypot(high - p, q - below)


def resampled_means(values: Values, groups: Sequence[Mask], clusters: Numbers, sampling: Sampling) -> Values:
    """(resamples, groups) the mean of each group in samples of whole clusters; NaN where it was not drawn.

    As many clusters as there are, drawn with replacement, each with all its items (Davison and Hinkley,
    *Bootstrap Methods and their Application*, 1997, section 3.8). Clusters with the same sums and counts in
    all groups are drawn together, by their number.

    Args:
        values: (n,) finite.
        groups: masks of (n,).
        clusters: (n,) the number of each item's cluster.
        sampling: of the samples.
    """
    number = np.unique(clusters, return_inverse=True)[1]
    columns = [column for group in groups for column in (values * group, group.astype(np.float64))]
    sums = np.stack([np.bincount(number, column) for column in columns], axis=1)
    distinct, counts = np.unique(sums, axis=0, return_counts=True)
    rng = np.random.default_rng(sampling.seed)
    step, drawn = max(1, _DRAWN // len(distinct)), []
    for start in range(0, sampling.resamples, step):
        size = min(step, sampling.resamples - start)
        drawn.append(rng.multinomial(counts.sum(), counts / counts.sum(), size=size) @ distinct)
    found = np.concatenate(drawn)
    with np.errstate(divide="ignore", invalid="ignore"):
        means: Values = found[:, ::2] / found[:, 1::2]
    return means


def _ends(samples: Values) -> Interval:
    """The ends of a percentile interval; samples in which a group is missing do not count."""
    known = samples[np.isfinite(samples)]
    if len(known) < 2:
        return _NONE
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def mean_of(values: Values, clusters: Numbers, sampling: Sampling) -> dict[str, Any]:
    """`items`, `mean` and `interval` of scores, NaN where there are none."""
    return _mean(values, clusters, sampling, over_items=_over_items(clusters, clusters))


def _mean(values: Values, clusters: Numbers, sampling: Sampling, *, over_items: bool) -> dict[str, Any]:
    if not len(values):
        return {"items": 0, "mean": math.nan, "interval": _NONE}
    if over_items and is_binary(values):
        interval = exact_interval(int(values.sum()), len(values))
    else:
        numbers = np.arange(len(values)) if over_items else clusters
        whole = np.ones(len(values), np.bool_)
        interval = _ends(resampled_means(values, [whole], numbers, sampling)[:, 0])
    return {"items": len(values), "mean": float(values.mean()), "interval": interval}


def is_binary(values: Values) -> bool:
    """Whether every score is 0 or 1."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def _over_items(clusters: Numbers, *groups: Numbers) -> bool:
    """Whether intervals are over items: each is a cluster of its own, or there are too few in a group."""
    alone = len(np.unique(clusters)) == len(clusters)
    return alone or any(len(np.unique(group)) < LEAST for group in groups)


def compare(values: Values, leaked: Mask, clusters: Numbers, sampling: Sampling) -> dict[str, Any]:
    """Items that leaked beside the others, which are clean.

    Args:
        values: (n,) the score of each item, finite.
        leaked: (n,) which items leaked.
        clusters: (n,) the number of each item's cluster: items that stand or fall together.
        sampling: of the bootstrap.

    Returns:
        ``all``, ``clean`` and ``leaked`` (``items``, ``mean``, ``interval``); ``leaked_minus_clean``,
        ``clean_minus_all`` and ``gain`` (all less clean), each ``difference`` and ``interval``;
        ``relative`` (clean less all, as a share of all); ``z`` of the gain; ``clusters`` of each group,
        ``over`` (``items`` or ``clusters``: what intervals are over), and the ``verdict``: ``advantage``,
        ``disadvantage``, ``none shown`` (the interval holds 0) or ``too few`` (items for any statement).
        NaN is what cannot be told.
    """
    over_items = _over_items(clusters, clusters[leaked], clusters[~leaked])
    groups = {"all": np.ones(len(values), np.bool_), "clean": ~leaked, "leaked": leaked}
    found: dict[str, Any] = {
        name: _mean(values[group], clusters[group], sampling, over_items=over_items)
        for name, group in groups.items()
    }
    whole, clean, dirty = (found[name]["mean"] for name in groups)
    share = float(leaked.mean()) if len(leaked) else math.nan
    interval, of_gain = _difference(values, leaked, clusters, sampling, share, over_items=over_items)
    found["leaked_minus_clean"] = {"difference": dirty - clean, "interval": interval}
    found["gain"] = {"difference": whole - clean, "interval": of_gain}
    found["clean_minus_all"] = {"difference": clean - whole, "interval": (-of_gain[1], -of_gain[0])}
    found["relative"] = (clean - whole) / whole if whole else math.nan
    found["z"] = z_value(values, leaked)
    found["clusters"] = {name: len(np.unique(clusters[group])) for name, group in groups.items()}
    found["over"] = "items" if over_items else "clusters"
    found["verdict"] = _verdict(found)
    return found


def _difference(
    values: Values,
    leaked: Mask,
    clusters: Numbers,
    sampling: Sampling,
    share: float,
    *,
    over_items: bool,
) -> tuple[Interval, Interval]:
    """The intervals of leaked less clean, and of the gain: the same by the share of items that leaked."""
    counts = (int(leaked.sum()), int((~leaked).sum()))
    if not all(counts):
        return _NONE, _NONE
    if over_items and is_binary(values):
        hits = (int(values[leaked].sum()), int(values[~leaked].sum()))
        low, high = proportions_interval((hits[0], counts[0]), (hits[1], counts[1]))
        return (low, high), (share * low, share * high)
    numbers = np.arange(len(values)) if over_items else clusters
    groups = [leaked, ~leaked, np.ones(len(values), np.bool_)]
    dirty, clean, whole = resampled_means(values, groups, numbers, sampling).T
    return _ends(dirty - clean), _ends(whole - clean)


def z_value(values: Values, leaked: Mask) -> float:
    """How far the mean of the leaked items lies above that of all, in deviations of means of as many items.

    (mean of leaked - mean of all) / (s / sqrt(m) * sqrt((n - m) / (n - 1))), s being the deviation of all n
    scores and m the leaked items: the deviation of the mean of m items drawn without replacement. The clean
    items have the same z with the other sign, so it is the z of the gain, too. Items count as independent.
    """
    n, m = len(values), int(leaked.sum())
    spread = float(values.std()) if n else 0.0
    if not 0 < m < n or spread == 0.0:
        return math.nan
    deviation = spread / math.sqrt(m) * math.sqrt((n - m) / (n - 1))
    return float(values[leaked].mean() - values.mean()) / deviation


def _verdict(found: dict[str, Any]) -> str:
    low, high = found["leaked_minus_clean"]["interval"]
    if min(found["clean"]["items"], found["leaked"]["items"]) < LEAST or math.isnan(low):
        return "too few"
    return "advantage" if low > 0 else "disadvantage" if high < 0 else "none shown"


def sweep(
    values: Values, coverage: Values, thresholds: Sequence[float], clusters: Numbers, sampling: Sampling
) -> list[dict[str, Any]]:
    """For each threshold the items of less coverage, which remain, beside those of at least as much.

    Args:
        values: (n,) scores, finite.
        coverage: (n,) in [0, 1], finite.
        thresholds: in the order of the result.
        clusters: (n,) the number of each item's cluster.
        sampling: of the bootstrap.

    Returns:
        Of each ``threshold``: ``remaining`` (``items``, ``mean``, ``interval``), ``removed`` (items), the
        ``gain``, its ``z`` and the ``verdict``.
    """
    told = []
    for threshold in thresholds:
        found = compare(values, coverage >= threshold, clusters, sampling)
        told.append(
            {
                "threshold": threshold,
                "remaining": found["clean"],
                "removed": found["leaked"]["items"],
                **{name: found[name] for name in ("gain", "z", "verdict")},
            }
        )
    return told


def largest_gain(points: Sequence[dict[str, Any]]) -> float | None:
    """The threshold of the largest gain among those whose interval is above 0; None where none is."""
    shown = [point for point in points if point["verdict"] == "advantage"]
    best = max(shown, key=lambda point: point["gain"]["difference"], default=None)
    return None if best is None else float(best["threshold"])
