"""What a step needs, read and drawn while the one before it is computed."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.blocks import read_ahead
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.documents import Packs
from lvmfast.training.batches import BANK, Batching, PieceBatching, generator, whole_pieces
from lvmfast.training.config import TrainConfig
from lvmfast.training.corruption import corrupted
from lvmfast.training.data import Side
from lvmfast.training.identities import Identities
from lvmfast.training.negatives import Exclusions, NegativeMasks
from lvmfast.training.ranks import Ranks
from lvmfast.training.recipes import ON_LISTS

#: Targets that a validation sequence is scored against at most, beside those of its step.
VALIDATION_BANK = 65_536


@dataclass(frozen=True)
class Micro:
    """A microbatch: what goes through the model at once."""

    place: Rows  #: (k,) which of the effective batch each row is
    contexts: Vectors | Packs  #: (k, length, d), or documents of which k places are asked for
    exclusions: Exclusions | None  #: None without InfoNCE, and of lists of candidates


def windows_alone(contexts: Vectors | Packs) -> Vectors:
    """(k, length, d): the contexts, where they are no documents."""
    assert not isinstance(contexts, Packs)
    return contexts


@dataclass(frozen=True)
class Step:
    """An effective batch: this process's microbatches of it, and the targets of all."""

    rows: Rows  #: (e,) places in the side
    targets: Vectors  #: (e, d)
    micros: Sequence[Micro]


@dataclass(frozen=True)
class StepReader:
    """Reads the effective batches of one side."""

    config: TrainConfig
    side: Side
    document: Rows  #: (n,) of the side's rows, numbered from 0
    identities: Identities | None  #: None without InfoNCE
    ranks: Ranks
    trains: bool  #: what is trained on is corrupted and limited; validation is taken as it is, and whole

    @cached_property
    def pieces(self) -> Rows | None:
        """(n,) of the side's rows, numbered from 0 and ascending; None of windows."""
        pieces = self.side.pieces
        return None if pieces is None else np.unique(pieces, return_inverse=True)[1].reshape(-1)

    @property
    def steps_per_epoch(self) -> int:
        """Effective batches that the side is cut into."""
        batching, groups = self._batching()
        return batching.steps(groups)

    @property
    def limit(self) -> int:
        """Sequences of one document that a step holds at most; 0: any number."""
        batching, groups = self._batching()
        return batching.limit(groups) if isinstance(batching, Batching) else 0

    def _batching(self) -> tuple[Batching | PieceBatching, Rows]:
        """How the side is cut into effective batches, and by what."""
        if self.pieces is not None:
            return PieceBatching(self.config.step_rows, self.config.seed), self.pieces
        limit = self.config.max_per_document if self.trains else 0
        return Batching(self.config.step_rows, limit, self.config.seed), self.document

    def bank(self, epoch: int) -> Rows:
        """Places of the sequences whose targets make the bank of an epoch, ascending.

        In validation they are all, up to `VALIDATION_BANK`: what a sequence is scored against hangs neither
        on its step nor on what training does. There are none without InfoNCE.
        """
        n = len(self.side)
        size = self.config.bank if self.trains else VALIDATION_BANK * (self.config.infonce > 0)
        if size >= n:
            return np.arange(n)
        drawn = generator(self.config.seed, BANK, epoch).choice(n, size, replace=False)
        return np.sort(drawn)

    def targets(self, places: Rows) -> Vectors:
        """(k, d) of (k,) places in the side."""
        return self.side.sequences.targets(self.side.rows[places])

    def steps(self, epoch: int, first: int, bank: Rows) -> Generator[Step, None, None]:
        """The steps of an epoch from `first` on."""
        masks = None
        if self.identities is not None and self.config.recipe not in ON_LISTS:  # lists have their own
            masks = NegativeMasks(self.config, self.identities, self.document, bank)
        batching, groups = self._batching()
        order = batching.epoch(groups, epoch)

        def read(step: int) -> Step:
            rows = order[step]
            zeroed = None
            if self.trains:
                zeroed = corrupted(self.config, len(rows), self.side.sequences.length, epoch, step)
            micros = [self._micro(rows, part, zeroed, masks) for part in self._parts(rows)]
            return Step(rows, self.targets(rows), micros)

        yield from read_ahead(read, range(first, len(order)))

    def _parts(self, rows: Rows) -> list[slice]:
        """This process's microbatches of an effective batch."""
        share, batch = self.ranks.share(len(rows)), self.config.batch
        if self.pieces is not None:
            return whole_pieces(self.pieces[rows], share, batch)
        starts = range(share.start, share.stop, batch)
        return [slice(start, min(start + batch, share.stop)) for start in starts]

    def _micro(
        self, rows: Rows, part: slice, zeroed: npt.NDArray[np.bool_] | None, masks: NegativeMasks | None
    ) -> Micro:
        contexts = self.side.sequences.inputs(self.side.rows[rows[part]])
        if zeroed is not None:
            contexts = np.where(zeroed[part][:, :, None], np.float32(0), windows_alone(contexts))
        place = np.arange(part.start, part.stop)
        return Micro(place, contexts, None if masks is None else masks.of(rows, part))
