"""The level vector against a fingerprint: keys and sketches of the training vectors are known, not they."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.fingerprint import NO_WORD, Fingerprint, vector_keys
from lvmfast.errors import DataError
from lvmfast.leaks.keyed import Keyed, KeyedLevel
from lvmfast.leaks.keyed_by import NO_TEXT
from lvmfast.leaks.near import UNUSABLE
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult, Undecided
from lvmfast.leaks.running import Beginning
from lvmfast.leaks.slots import REASONS, DistinctKeys
from lvmfast.leaks.tally import NO_ROWS, Rows, Scores

#: The slot of a vector that cannot be compared is this less its usability code.
UNUSABLE_SLOT = -10


class SketchedLevel(KeyedLevel):
    """Equal vectors match; of every other evaluation row it is proven that none does, or undecided."""

    def __init__(self, level: Keyed, beginning: Beginning) -> None:
        """Nothing read yet.

        Raises:
            DataError: the directions or codes are not what a fingerprint holds.
        """
        train, options = beginning.fingerprint, beginning.options
        assert train is not None
        self._vectors = SketchedVectors(train, options)
        super().__init__(level, "train", beginning.files, options, self._vectors)

    def result(self) -> LevelResult:
        """What was found, once every row went by."""
        return replace(super().result(), undecided=self._vectors.undecided())


class SketchedVectors:
    """Slots of vectors by the hash of their bytes, and bounds of their cosines from sketches."""

    reasons: Mapping[int, str] = {
        **REASONS,
        **{UNUSABLE_SLOT - code: reason for code, reason in UNUSABLE.items()},
    }
    streamed: DistinctKeys | None = None

    def __init__(self, train: Fingerprint, options: ScanOptions) -> None:
        """Every vector of `train`, which has some.

        Raises:
            DataError: the directions or codes are not what a fingerprint holds.
        """
        column, sketches = train.column("vector"), train.sketches
        assert sketches is not None
        self._train, self._threshold = train, options.threshold
        self._table = _core.KeyTable(2, options.threads)
        real = np.flatnonzero(column.keys[:, 0] != NO_WORD)
        slots = np.empty(len(column.keys), np.int64)
        slots[real] = self._table.insert(np.ascontiguousarray(column.keys[real]))
        faulty = column.keys[:, 0] == NO_WORD
        slots[faulty] = UNUSABLE_SLOT - column.keys[faulty, 1].astype(np.int64)
        self._slots = np.append(slots, NO_TEXT)[column.index]  # a place of -1 is that of the last
        try:
            self._index = _core.SketchIndex(
                sketches.directions,
                sketches.steps,
                sketches.codes[real],
                sketches.rests[real],
                options.threads,
            )
        except ValueError as error:
            raise DataError(f"{train.path}: {error}") from error
        self._rows: list[Rows] = []
        self._bounds: list[Scores] = []

    def add(self, batch: Batch) -> Rows | None:
        """The slots of training rows."""
        if "vector" not in self._train.files[batch.file].fields:
            return None
        return self._slots[batch.start : batch.start + batch.rows]

    def find(self, batch: Batch) -> Rows | None:
        """The slots of eval rows; remembers those that neither match nor are proven not to."""
        if batch.vector is None:
            return None
        bound, codes, keys = self._index.bounds(batch.vector, self._threshold)
        slots = self._table.find(vector_keys(keys, codes))
        slots[codes != 0] = UNUSABLE_SLOT - codes[codes != 0].astype(np.int64)
        open_ = np.flatnonzero((slots == -1) & (bound >= self._threshold))
        self._rows.append(batch.start + open_)
        self._bounds.append(bound[open_])
        return slots

    def undecided(self) -> Undecided:
        """What was remembered."""
        return Undecided(
            np.concatenate(self._rows or [NO_ROWS]), np.concatenate(self._bounds or [np.empty(0)])
        )

    def __len__(self) -> int:
        """Distinct vectors of the training rows."""
        return len(self._table)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._table.nbytes + self._slots.nbytes
