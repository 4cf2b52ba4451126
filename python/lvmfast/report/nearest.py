"""The nearest cosines of the evaluation rows: their distribution and the sentence about it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lvmfast.leaks.findings import LevelFinding
from lvmfast.leaks.results import NearestRows
from lvmfast.shown import percent

BINS = 400
#: Edge k is (k - 200) / 200, rounded once; the last bin holds 1.0 as well.
EDGES = (np.arange(BINS + 1) - BINS // 2) / (BINS // 2)
QUANTILES = {"p01": 0.01, "p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}


def distribution(nearest: NearestRows) -> dict[str, Any]:
    """Plain JSON values. A quantile is a cosine of some row: the least that so many rows do not exceed."""
    cosine = nearest.cosine
    bins = np.minimum(np.searchsorted(EDGES, cosine, side="right") - 1, BINS - 1)
    middle = np.quantile(cosine, list(QUANTILES.values()), method="inverted_cdf")
    named = dict(zip(QUANTILES, middle.tolist(), strict=True))
    return {
        "rows": len(cosine),
        "quantiles": {"min": float(cosine.min()), **named, "max": float(cosine.max())},
        "histogram": {
            "bin_width": 1 / (BINS // 2),
            "first_edge": -1.0,
            "counts": np.bincount(bins, minlength=BINS).tolist(),
        },
    }


def nearest_sentence(finding: LevelFinding, nearest: NearestRows) -> str:
    """Median, maximum and the share that the threshold calls a match."""
    cosine, threshold = nearest.cosine, finding.threshold or 0.0
    median = float(np.quantile(cosine, 0.5, method="inverted_cdf"))
    share = float(np.mean(cosine >= threshold))
    return (
        f"{finding.level}: nearest training row of {len(cosine):,} eval rows: median cosine {median:.3f}, "
        f"highest {cosine.max():.3f}; {percent(share)} at or above {threshold:g}"
    )
