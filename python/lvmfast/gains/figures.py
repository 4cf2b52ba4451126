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

from lvmfast.calibration.suggest import wilson
from lvmfast.evals.bootstrap import RESAMPLES, Interval

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

#: With fewer items in either group nothing is claimed; with fewer clusters intervals are over items.
LEAST = 20
LEVEL = 0.95
#: Counts that are drawn at a time: 32 MiB of them.
_DRAWN = 1 << 22
_NONE: Interval = (math.nan, math.nan)


@dataclass(frozen=True)
class Sampling:
    """How intervals are resampled where no closed form holds."""

    resamples: int = RESAMPLES
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


def proportions_interval(first: tuple[int, int], second: tuple[int, int]) -> Interval:
    """The 95% interval of one proportion less another, each as successes and trials.

    The hybrid score interval: Newcombe, Statistics in Medicine 17, 1998, method 10.
    """
    (p, (low, high)), (q, (below, above)) = (
        (successes / trials, wilson(successes, trials)) for successes, trials in (first, second)
    )
    return p - q - math.hypot(p - low, above - q), p - q + math.hypot(high - p, q - below)


def resampled_sums(
    values: Values, groups: Sequence[Mask], clusters: Numbers, sampling: Sampling
) -> tuple[Values, Values]:
    """The sum of the scores, and the count of the items, of each group in samples of whole clusters.

    As many clusters as there are, drawn with replacement, each with all its items (Davison and Hinkley,
    *Bootstrap Methods and their Application*, 1997, section 3.8).

    Args:
        values: (n,) finite.
        groups: masks of (n,).
        clusters: (n,) the number of each item's cluster.
        sampling: of the samples; the same for the same seed and clusters.

    Returns:
        Two arrays of (resamples, groups).
    """
    number = np.unique(clusters, return_inverse=True)[1]
    columns = [column for group in groups for column in (values * group, group.astype(np.float64))]
    sums = np.stack([np.bincount(number, column) for column in columns], axis=1)
    rng = np.random.default_rng(sampling.seed)
    count, step, drawn = len(sums), max(1, _DRAWN // len(sums)), []
    for start in range(0, sampling.resamples, step):
        size = min(step, sampling.resamples - start)
        times = np.stack([np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(size)])
        drawn.append(times.astype(np.float64) @ sums)
    found = np.concatenate(drawn)
    return found[:, ::2], found[:, 1::2]


def _ends(samples: Values, clusters: int) -> Interval:
    """The ends of a percentile interval; samples in which a group is missing do not count.

    With few clusters percentiles are too narrow: they are taken as far out as Student's t would (the expanded
    percentile interval of Hesterberg, The American Statistician 69, 2015), by the smaller group's clusters.
    """
    known = samples[np.isfinite(samples)]
    if len(known) < 2 or clusters < 2:
        return _NONE
    normal, freedom = NormalDist(), clusters - 1
    z = normal.inv_cdf((1 + LEVEL) / 2)
    # Student's quantile (Abramowitz and Stegun, 26.7.5), and the spread that means of samples lack.
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    tail = normal.cdf(-t * math.sqrt(clusters / freedom))
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def is_binary(values: Values) -> bool:
    """Whether every score is 0 or 1."""
    return bool(((values == 0.0) | (values == 1.0)).all())


def _count(clusters: Numbers) -> int:
    """How many clusters there are among those of some items."""
    return int(np.count_nonzero(np.bincount(clusters))) if len(clusters) else 0


@dataclass(frozen=True)
class Pair:
    """Items that are compared: those that leaked, and clean ones. Either may be none, and no item is both."""

    leaked: Mask
    clean: Mask


def compare(values: Values, leaked: Mask, clusters: Numbers, sampling: Sampling) -> dict[str, Any]:
    """Items that leaked beside all others, as `compare_all` of one pair."""
    return compare_all(values, [Pair(leaked, ~leaked)], clusters, sampling)[0]


def compare_all(
    values: Values, pairs: Sequence[Pair], clusters: Numbers, sampling: Sampling
) -> list[dict[str, Any]]:
    """What is found of each pair, by the same samples.

    Args:
        values: (n,) the score of each item, finite.
        pairs: masks of (n,).
        clusters: (n,) the number of each item's cluster: items that stand or fall together.
        sampling: of the bootstrap.

    Returns:
        Of each: ``all``, ``clean`` and ``leaked`` (``items``, ``mean``, ``interval``);
        ``leaked_minus_clean``, ``clean_minus_all`` and ``gain`` (all less clean), each ``difference`` and
        ``interval``; ``relative`` (clean less all, as a share of all); ``z`` of the gain; ``clusters`` of
        each group, ``over`` (``items`` or ``clusters``: what intervals are over), and the ``verdict``:
        ``advantage``, ``disadvantage``, ``none shown`` (the interval holds 0) or ``too few`` (items for any
        statement). NaN is what cannot be told.
    """
    found = [_figures(values, pair, clusters) for pair in pairs]
    resampled = [not (each["over"] == "items" and is_binary(values)) for each in found]
    for over, numbers in (("items", np.arange(len(values))), ("clusters", clusters)):
        chosen = [n for n, each in enumerate(found) if resampled[n] and each["over"] == over]
        if chosen and len(values):
            groups = [group for n in chosen for group in (pairs[n].leaked, pairs[n].clean)]
            sums, counts = resampled_sums(values, groups, numbers, sampling)
            for place, n in enumerate(chosen):
                both = slice(2 * place, 2 * place + 2)
                _add_bootstrap(found[n], sums[:, both], counts[:, both], pairs[n], numbers)
    for each, pair, by_samples in zip(found, pairs, resampled, strict=True):
        if not by_samples:
            _add_exact(each, values, pair)
        low, high = each["gain"]["interval"]
        each["clean_minus_all"]["interval"] = (-high, -low)
        each["verdict"] = _verdict(each)
    return found


def _figures(values: Values, pair: Pair, clusters: Numbers) -> dict[str, Any]:
    """All of a pair but what intervals say."""
    both = pair.leaked | pair.clean
    groups = {"all": both, "clean": pair.clean, "leaked": pair.leaked}
    found: dict[str, Any] = {}
    for name, group in groups.items():
        items = int(group.sum())
        mean = float(values[group].mean()) if items else math.nan
        found[name] = {"items": items, "mean": mean, "interval": _NONE}
    whole, clean, dirty = (found[name]["mean"] for name in groups)
    for name, value in {
        "leaked_minus_clean": dirty - clean,
        "gain": whole - clean,
        "clean_minus_all": clean - whole,
    }.items():
        found[name] = {"difference": value, "interval": _NONE}
    found["relative"] = (clean - whole) / whole if whole else math.nan
    found["z"] = z_value(values[both], pair.leaked[both])
    found["clusters"] = {name: _count(clusters[group]) for name, group in groups.items()}
    alone = found["clusters"]["all"] == found["all"]["items"]
    few = any(0 < found["clusters"][name] < LEAST for name in ("clean", "leaked"))
    found["over"] = "items" if alone or few else "clusters"
    return found


def _add_bootstrap(
    found: dict[str, Any], sums: Values, counts: Values, pair: Pair, clusters: Numbers
) -> None:
    """The intervals of a pair from sums and counts of its leaked and clean items, (resamples, 2) each."""
    of_leaked, of_clean = _count(clusters[pair.leaked]), _count(clusters[pair.clean])
    with np.errstate(divide="ignore", invalid="ignore"):
        dirty, clean = (sums / counts).T
        whole = sums.sum(axis=1) / counts.sum(axis=1)
    fewer = min(of_leaked, of_clean)
    for name, samples, known in (
        ("all", whole, _count(clusters[pair.leaked | pair.clean])),
        ("clean", clean, of_clean),
        ("leaked", dirty, of_leaked),
        ("leaked_minus_clean", dirty - clean, fewer),
        ("gain", whole - clean, fewer),
    ):
        found[name]["interval"] = _ends(samples, known)


def _add_exact(found: dict[str, Any], values: Values, pair: Pair) -> None:
    """The intervals of a pair of proportions; that of the gain is by the share of items that leaked."""
    hits = {"leaked": int(values[pair.leaked].sum()), "clean": int(values[pair.clean].sum())}
    hits["all"] = sum(hits.values())
    for name, successes in hits.items():
        found[name]["interval"] = exact_interval(successes, found[name]["items"])
    if found["leaked"]["items"] and found["clean"]["items"]:
        sides = [(hits[name], found[name]["items"]) for name in ("leaked", "clean")]
        low, high = proportions_interval(sides[0], sides[1])
        share = found["leaked"]["items"] / found["all"]["items"]
        found["leaked_minus_clean"]["interval"] = (low, high)
        found["gain"]["interval"] = (share * low, share * high)


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


def sweep_point(threshold: float, found: dict[str, Any]) -> dict[str, Any]:
    """What is said of a threshold: `found` of the items of at least that coverage beside the others."""
    return {
        "threshold": threshold,
        "remaining": found["clean"],
        "removed": found["leaked"]["items"],
        **{name: found[name] for name in ("gain", "z", "verdict")},
    }


def largest_gain(points: Sequence[dict[str, Any]]) -> float | None:
    """The threshold of the largest gain among those whose interval is above 0; None where none is."""
    shown = [point for point in points if point["verdict"] == "advantage"]
    best = max(shown, key=lambda point: point["gain"]["difference"], default=None)
    return None if best is None else float(best["threshold"])
