"""Which sequences stand in which step: a function of seed and epoch, and of nothing that happened before.

So a run that goes on from the middle of an epoch, on more GPUs or with smaller microbatches, sees the same
steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lvmfast.corpus.dataset import Rows


def generator(*key: int) -> np.random.Generator:
    """A generator of its own for each key, such as (seed, purpose, epoch)."""
    return np.random.default_rng(np.random.SeedSequence(key))


#: The purposes that a seed is used for.
ORDER, CORRUPTION, BANK, DROPOUT, QUERIES, SAMPLE, LISTS = range(7)


#: A limit per document makes no step smaller than this, or than an eighth of what was asked for.
FEWEST = 32


@dataclass(frozen=True)
class Batching:
    """How an epoch is cut into effective batches."""

    step_rows: int  #: sequences per step at most
    max_per_document: int  #: of one document per step at most, where steps stay as large as `fewest`; 0: any
    seed: int

    def steps(self, document: Rows) -> int:
        """Steps of an epoch over sequences of these (n,) documents.

        Without a limit per document, one for every `step_rows`, the last for what is left. With it, as many
        as the largest document needs, and no more than leave `fewest` sequences to each: no sequence is left
        out, steps become smaller, and where one document is most of a set the limit gives way (`limit`).
        """
        needed = -(-len(document) // self.step_rows)
        if self.max_per_document:
            most = len(document) // self.fewest
            needed = max(needed, min(most, -(-largest(document) // self.max_per_document)))
        return needed

    @property
    def fewest(self) -> int:
        """Sequences of a step, to which a limit per document gives way."""
        return max(1, min(FEWEST, self.step_rows // 8))

    def limit(self, document: Rows) -> int:
        """Sequences of one document that a step holds at most; 0: any number."""
        if not self.max_per_document:
            return 0
        return max(self.max_per_document, -(-largest(document) // self.steps(document)))

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


def largest(document: Rows) -> int:
    """Sequences of the largest of (n,) documents."""
    return int(np.bincount(document).max(initial=0))


@dataclass(frozen=True)
class PieceBatching:
    """How an epoch of documents is cut: pieces stay whole, steps are about as large as was asked for."""

    step_rows: int  #: targets per step, as nearly as pieces allow
    seed: int

    def steps(self, piece: Rows) -> int:
        """Steps of an epoch over targets of these (n,) pieces, which are numbered from 0 and ascend."""
        return min(-(-len(piece) // self.step_rows), int(piece[-1]) + 1)

    def epoch(self, piece: Rows, epoch: int) -> Sequence[Rows]:
        """The places in `piece`, each once, step by step: pieces in random order."""
        steps, pieces = self.steps(piece), int(piece[-1]) + 1
        order = generator(self.seed, ORDER, epoch).permutation(pieces)
        first = np.searchsorted(piece, np.arange(pieces + 1))
        sizes = np.diff(first)[order]
        done = np.cumsum(sizes)
        even = np.arange(1, steps) * len(piece) / steps
        cuts = np.searchsorted(done - sizes / 2, even)  # a piece goes where most of it lies
        ahead = np.arange(steps - 1)
        cuts = np.maximum.accumulate(np.maximum(cuts, 1) - ahead) + ahead  # no step is empty
        cuts = np.minimum(cuts, pieces - steps + 1 + ahead)
        places = [np.arange(first[p], first[p + 1]) for p in order]
        return [np.concatenate(places[a:b]) for a, b in pairwise([0, *cuts.tolist(), pieces])]


def whole_pieces(piece: Rows, part: slice, most: int) -> list[slice]:
    """`part` of (n,) rows, moved to where pieces begin, in slices of whole pieces and about `most` rows.

    Parts that cover all rows still do so, and share none.
    """
    borders = np.concatenate([np.flatnonzero(np.diff(piece, prepend=-1)), [len(piece)]])
    low, high = (int(borders[np.searchsorted(borders, end)]) for end in (part.start, part.stop))
    found, start = [], low
    inside = borders[(borders > low) & (borders <= high)].tolist()
    for place, border in enumerate(inside):
        last = place + 1 == len(inside)
        if last or inside[place + 1] - start > most:
            found.append(slice(start, border))
            start = border
    return found
