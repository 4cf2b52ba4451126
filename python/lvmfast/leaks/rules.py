"""The rules by which an evaluation item counts as leaked at the level overlap (docs/overlap.md): a row each.

The first is lvmfast's own, which looks at an item in one document. The others are published ones, which look
at all of training at once: which n-grams of an item stand anywhere in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]  #: (items,)


@dataclass(frozen=True)
class SeenItems:
    """Distinct items of an evaluation side, and which of their n-grams stand in training."""

    tokens: Counts
    begins: Mapping[int, npt.NDArray[np.bool_]]  #: by n: (tokens of all,) whether such an n-gram begins there

    def grams(self, n: int) -> Counts:
        """N-grams of each."""
        return np.maximum(self.tokens - n + 1, 0)

    def seen(self, n: int) -> Counts:
        """N-grams of each that stand in training."""
        return self._of_each(self.begins[n])

    def covered(self, n: int) -> Counts:
        """Tokens of each in n-grams that stand in training."""
        depth = np.zeros(len(self.begins[n]) + 1, np.int64)
        at = np.flatnonzero(self.begins[n])
        depth[at] += 1
        depth[at + n] -= 1
        return self._of_each(np.cumsum(depth)[:-1] > 0)

    def longest(self, n: int) -> Counts:
        """Of each, the most tokens in a row of which every `n` in a row stand in training."""
        edges = np.diff(np.concatenate([[0], self.begins[n], [0]]).astype(np.int8))
        starts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
        longest: Counts = np.zeros(len(self.tokens), np.int64)
        item = np.searchsorted(np.cumsum(self.tokens), starts, side="right")
        np.maximum.at(longest, item, ends - starts + n - 1)
        return longest

    def _of_each(self, tokens: npt.NDArray[np.bool_]) -> Counts:
        sums, ends = np.append(0, np.cumsum(tokens)), np.cumsum(self.tokens)
        counts: Counts = sums[ends] - sums[ends - self.tokens]
        return counts


@dataclass(frozen=True)
class Rule:
    """When an item counts as leaked."""

    name: str  #: as people know it
    says: str  #: an item is leaked if ...
    cannot_see: str
    tokens: int  #: an item of fewer cannot be checked
    leaked: Callable[[SeenItems], npt.NDArray[np.bool_]] | None = None  #: None: if it matches a document


def _published(name: str, n: int, says: str, leaked: Callable[[SeenItems], npt.NDArray[np.bool_]]) -> Rule:
    return Rule(
        name, says, f"text of which no {n} tokens in a row are left, and evaluation texts of fewer", n, leaked
    )


#: lvmfast's own.
OWN = "lvmfast"
#: By the name that an option has.
RULES: Mapping[str, Rule] = {
    OWN: Rule(
        "lvmfast",
        "it stands in one training text, as it is, cut, re-wrapped or edited",
        "paraphrased or translated text, and evaluation texts under 5 tokens",
        5,
    ),
    # Brown et al. 2020
    "gpt3": _published(
        "GPT-3", 13, "any of its 13-grams stands in training", lambda items: items.seen(13) > 0
    ),
    # Chowdhery et al. 2022
    "palm": _published(
        "PaLM",
        8,
        "at least 70% of its 8-grams stand in training",
        lambda items: 10 * items.seen(8) >= 7 * items.grams(8),
    ),
    # Touvron et al. 2023
    "llama2": _published(
        "Llama 2",
        11,
        "at least 80% of its tokens are in runs of more than 10 that stand in training",
        lambda items: 10 * items.covered(11) >= 8 * items.tokens,
    ),
    # Dubey et al. 2024, where the share is chosen for each benchmark
    "llama3": _published(
        "Llama 3",
        8,
        "at least half of its tokens are in 8-grams that stand in training",
        lambda items: 2 * items.covered(8) >= items.tokens,
    ),
}
