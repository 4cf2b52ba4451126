"""Published rules of contamination: which n-grams of an evaluation item stand anywhere in training.

They decide nothing here; they are counted, to be held beside figures of papers (docs/overlap.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.leaks.findings import LevelFinding
from lvmfast.leaks.tally import Rows

Places = npt.NDArray[np.uint32]  #: of tokens of all distinct items, behind each other

#: Tokens of the n-grams, in the order in which the core has them.
LENGTHS = (8, 11, 13)
#: The rules, and by what name people know them.
NAMES = {"gpt3": "GPT-3", "palm": "PaLM", "llama2": "Llama 2", "llama3": "Llama 3"}
RULES = tuple(NAMES)
#: No n-gram begins here.
NONE = np.iinfo(np.uint32).max


@dataclass(frozen=True)
class Grams:
    """The n-grams of the evaluation side, as they are saved."""

    tokens: Rows  #: (distinct items,)
    first: Mapping[str, Places]  #: by length: (tokens,) where each token's n-gram stands first, or NONE

    @classmethod
    def of(cls, index: _core.OverlapIndex) -> Grams:
        """Those of an index that is closed and watches n-grams."""
        distinct = np.unique(index.same_as())
        places = {str(length): index.first_places(which) for which, length in enumerate(LENGTHS)}
        return cls(index.tokens()[distinct].astype(np.int64), places)

    def rows(self, seen: Mapping[str, Places], same_as: Rows) -> Mapping[str, Rows]:
        """By rule, the rows that it calls contaminated, given the first places of the n-grams that were seen.

        gpt3 (Brown et al. 2020): any 13-gram. palm (Chowdhery et al. 2022): 70% of the 8-grams.
        llama2 (Touvron et al. 2023): 80% of the tokens in runs of more than 10. llama3 (Dubey et al. 2024):
        half of the tokens in 8-grams, where the authors choose a share for each benchmark. An item that is
        too short for such n-grams is none.
        """
        begins = {length: self._begins(length, seen[str(length)]) for length in LENGTHS}
        eights = np.maximum(self.tokens - 7, 0)
        of_item = {
            "gpt3": self._of_each(begins[13]) > 0,
            "palm": (10 * self._of_each(begins[8]) >= 7 * eights) & (eights > 0),
            "llama2": (10 * self._covered(begins[11], 11) >= 8 * self.tokens) & (self.tokens > 0),
            "llama3": (2 * self._covered(begins[8], 8) >= self.tokens) & (self.tokens > 0),
        }
        item = np.unique(same_as, return_inverse=True)[1]
        return {rule: np.flatnonzero(of_item[rule][item]) for rule in RULES}

    def _begins(self, length: int, seen: Places) -> npt.NDArray[np.bool_]:
        """(tokens,): whether an n-gram that was seen begins there."""
        first = self.first[str(length)]
        there = np.zeros(len(first) + 1, np.bool_)
        there[seen] = True
        return there[np.minimum(first, len(first))]

    def _covered(self, begins: npt.NDArray[np.bool_], length: int) -> Rows:
        """(distinct items,): tokens in n-grams that begin there."""
        depth = np.zeros(len(begins) + 1, np.int64)
        at = np.flatnonzero(begins)
        depth[at] += 1
        depth[at + length] -= 1
        return self._of_each(np.cumsum(depth)[:-1] > 0)

    def _of_each(self, tokens: npt.NDArray[np.bool_]) -> Rows:
        sums, ends = np.append(0, np.cumsum(tokens)), np.cumsum(self.tokens)
        counts: Rows = sums[ends] - sums[ends - self.tokens]
        return counts


def union(parts: Iterable[Mapping[str, Places]]) -> Mapping[str, Places]:
    """The n-grams that were seen in any of the parts, by length: of any order, the same."""
    nothing = {str(length): np.empty(0, np.uint32) for length in LENGTHS}
    every = [nothing, *parts]
    return {length: np.unique(np.concatenate([part[length] for part in every])) for length in nothing}


def taken(index: _core.OverlapIndex) -> Mapping[str, Places]:
    """What was seen since it was last taken."""
    return dict(zip(map(str, LENGTHS), index.take_seen(), strict=True))


def rows_by_rule(finding: LevelFinding) -> Mapping[str, Rows]:
    """By rule, the evaluation rows that it calls contaminated, ascending; nothing where none was asked."""
    asked = {rule: finding.beside[rule] for rule in RULES if rule in finding.beside}
    return {rule: beside.sides["eval"].matched_rows for rule, beside in asked.items()}
