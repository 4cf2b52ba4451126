"""Which sequences stand in which step: a function of seed and epoch, and of nothing that happened before.

So a run that goes on from the middle of an epoch, on more GPUs or with smaller microbatches, sees the same
steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lvmfast.corpus.dataset import Rows


def generator(*key: int) -> np.random.Generator:
    """A generator of its own for each key, such as (seed, purpose, epoch)."""
    return np.random.default_rng(np.random.SeedSequence(key))


#: The purposes that a seed is used for.
ORDER, CORRUPTION, BANK, DROPOUT, QUERIES, SAMPLE, LISTS = range(7)


@dataclass(frozen=True)
class Batching:
    """How an epoch is cut into effective batches."""

    step_rows: int  #: sequences per step at most
    max_per_document: int  #: of one document per step at most; 0: any number
    seed: int

    def steps(self, document: Rows) -> int:
        """Steps of an epoch over sequences of these (n,) documents.

        Without a limit per document, one for every `step_rows`, the last for what is left. With it, as many
        as the largest document needs: no sequence is left out and the limit always holds, at the price of
        smaller steps.
        """
        needed = -(-len(document) // self.step_rows)
        if self.max_per_document:
            largest = int(np.bincount(document).max(initial=0))
            needed = max(needed, -(-largest // self.max_per_document))
        return needed

    def epoch(self, document: Rows, epoch: int) -> Sequence[Rows]:
        """The places in `document`, each once, step by step.

        With a limit, sequences are sorted by document, in random order within and among documents, and dealt
        to the steps like cards: neighbours go to different steps, and steps differ by one sequence at most.
        """
        rng = generator(self.seed, ORDER, epoch)
        shuffled = rng.permutation(len(document))
        steps = self.steps(document)
        if not self.max_per_document:
            return [shuffled[i * self.step_rows : (i + 1) * self.step_rows] for i in range(steps)]
        rank = rng.permutation(int(document.max(initial=0)) + 1)
        dealt = shuffled[np.argsort(rank[document[shuffled]], kind="stable")]
        hands = [dealt[step::steps] for step in range(steps)]
        return [hands[i] for i in rng.permutation(steps)]
