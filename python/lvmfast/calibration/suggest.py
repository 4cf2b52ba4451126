"""From cosines of unrelated texts and of known duplicates to a threshold, and what it will call a match."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvmfast.calibration.edits import EDITS, SAME
from lvmfast.encoding.measured import Near
from lvmfast.errors import DataError

Cosines = npt.NDArray[np.float64]

#: Of a million unrelated rows so many may be called a match, by the fit.
BUDGET: Mapping[Near, float] = {"same": 1e-4, "paraphrase": 1e-3}
#: Of duplicates whose words are all there so many are to be found at `same`.
FOUND = 0.99
_Z95 = 1.959963984540054
#: Fewer rows say nothing about a distribution.
LEAST_ROWS = 20


@dataclass(frozen=True)
class Suggestion:
    """A threshold for what one asks for, and what was seen of it."""

    near: Near
    threshold: float
    above: int  #: unrelated rows whose nearest row is at or above it: matches, if they are no paraphrases
    rows: int  #: unrelated rows in all
    interval: tuple[float, float]  #: 95%, for above / rows
    found: Mapping[str, float]  #: share of known duplicates at or above it, by kind
    separate: bool  #: whether it lies below all but `1 - FOUND` of the duplicates that it is for

    @property
    def per_million(self) -> tuple[float, float, float]:
        """Rows called a match without one, in a million: as counted, and both ends of the interval."""
        low, high = self.interval
        return 1e6 * self.above / self.rows, 1e6 * low, 1e6 * high


def wilson(hits: int, rows: int) -> tuple[float, float]:
    """The 95% interval of a rate (Wilson 1927): of none in n rows the upper end is about 3.8/n."""
    rate, z2 = hits / rows, _Z95**2
    middle = (rate + z2 / (2 * rows)) / (1 + z2 / rows)
    half = _Z95 / (1 + z2 / rows) * math.sqrt(rate * (1 - rate) / rows + z2 / (4 * rows**2))
    return max(0.0, middle - half) if hits else 0.0, min(1.0, middle + half) if hits < rows else 1.0


def suggest(unrelated: Cosines, duplicates: Mapping[str, Cosines]) -> dict[Near, Suggestion]:
    """A threshold for ``paraphrase`` and one for ``same``, rounded up to thousandths.

    Some of the rows that no other level matches are paraphrases, which stand at the upper end. So that they
    do not decide what is unrelated, a Gumbel distribution, that of the largest of many (Fisher and Tippett
    1928), is fitted to the quartiles of the Fisher transforms (artanh) of their cosines; ``paraphrase`` is
    where it leaves 1 row of 1,000 above.
    ``same`` is where 99% of the texts are found of which case, white space or punctuation alone was changed,
    and no lower than where the fit leaves 1 of 10,000.

    Args:
        unrelated: (n,) the nearest cosine of each evaluation row that no level of texts matches.
        duplicates: by kind, cosines of texts that are known to say the same; may be empty.

    Raises:
        DataError: there are too few rows.
    """
    if len(unrelated) < LEAST_ROWS:
        raise DataError(
            f"{len(unrelated)} evaluation rows match at no level of texts: at least {LEAST_ROWS} of "
            "them are needed to tell what unrelated texts look like"
        )
    same = [duplicates[kind] for kind in SAME if len(duplicates.get(kind, ()))]
    floors = {near: _ceiled(_fitted(unrelated, budget)) for near, budget in BUDGET.items()}
    sought = float(np.quantile(np.concatenate(same), 1 - FOUND, method="inverted_cdf")) if same else None
    thresholds: dict[Near, float] = {
        "same": max(floors["same"], math.floor(1000 * sought) / 1000)
        if sought is not None
        else floors["same"],
        "paraphrase": floors["paraphrase"],
    }
    aimed = {"same": list(SAME), "paraphrase": list(EDITS)}
    return {
        near: _seen(near, threshold, unrelated, duplicates, aimed[near])
        for near, threshold in thresholds.items()
    }


def _fitted(cosines: Cosines, share: float) -> float:
    """The cosine above which the fit leaves `share`."""
    low, high = np.quantile(np.arctanh(np.clip(cosines, -0.999999, 0.999999)), (0.25, 0.75))
    scale = (high - low) / (_gumbel(0.75) - _gumbel(0.25))
    return math.tanh(low + scale * (_gumbel(1 - share) - _gumbel(0.25)))


def _gumbel(share: float) -> float:
    """The quantile of the standard distribution of maxima."""
    return -math.log(-math.log(share))


def _ceiled(cosine: float) -> float:
    return min(1.0, math.ceil(1000 * cosine) / 1000)


def _seen(
    near: Near, threshold: float, unrelated: Cosines, duplicates: Mapping[str, Cosines], aimed: list[str]
) -> Suggestion:
    above = int((unrelated >= threshold).sum())
    found = {
        kind: float(np.mean(cosines >= threshold)) for kind, cosines in duplicates.items() if len(cosines)
    }
    return Suggestion(
        near,
        threshold,
        above,
        len(unrelated),
        wilson(above, len(unrelated)),
        found,
        all(found[kind] >= FOUND for kind in aimed if kind in found),
    )
