"""What a level says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lvmfast.corpus.dataset import Batch, Column, Dataset, Rows
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.leaks.keyed import KeyedLevel
from lvmfast.leaks.keyed_by import Comparable, KeyedBy, KeysOf
from lvmfast.leaks.options import LevelName, ScanOptions
from lvmfast.leaks.running import Beginning, Running
from lvmfast.leaks.slots import HashedRows

if TYPE_CHECKING:
    from lvmfast.corpus.fingerprint import Fingerprint

#: Batches, and which of the rows of each are meant.
Pieces = Iterable[tuple[Batch, Rows]]
#: Blocks of an index that are smaller make the other side go by too often.
LEAST_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class IndexBytes:
    """What an index of a level's own is expected to need."""

    whole: int  #: bytes held whatever the blocks
    blocks: int = 0  #: bytes of all blocks, of which one is held at a time

    @property
    def all(self) -> int:
        """Bytes of the whole index in memory."""
        return self.whole + self.blocks

    @property
    def least(self) -> int:
        """Bytes with the smallest blocks."""
        return self.whole + min(self.blocks, LEAST_BLOCK_BYTES)

    def reads(self, room: int) -> int | None:
        """How often the other side goes by, where there are `room` bytes; None where that is too little."""
        left = room - self.whole
        if self.blocks <= left:
            return 1
        return -(-self.blocks // left) if left >= LEAST_BLOCK_BYTES else None


@dataclass(frozen=True)
class Level:
    """A way in which rows of two sides match, and everything that differs from level to level."""

    name: LevelName
    needs: tuple[Column, ...]
    what: str  #: what matches
    sought: str  #: the same in few words
    cannot_see: str  #: what may be alike and does not match
    by_fingerprint: str  #: what a scan against a fingerprint says
    of_items: tuple[Column, ...] = ()  #: what it reads of evaluation items where it is there
    keys: KeyedBy | None = None  #: where rows match by equal keys
    cosine: bool = False  #: whether rows match by a cosine, from a threshold on
    windows: bool = False  #: whether it is vectors of windows, too, that match those of the other side
    nearest: bool = False  #: whether the nearest training row of every evaluation row can be asked for
    sides: tuple[Side, ...] = SIDES  #: whose rows it reads; of eval alone, where no other row is looked at
    indexes: Side | None = None  #: the side that is always indexed, where it has to be that one
    index_bytes: Callable[[Dataset, ScanOptions], IndexBytes] | None = (
        None  #: of an index of its own, given the side
    )
    in_blocks: bool = False  #: whether that index can be parted, and is `running.InBlocks`
    within: bool = False  #: whether it means something inside one set, which `split` joins by it
    not_in_fingerprint: Callable[[Fingerprint], str] = (
        lambda fingerprint: ""  #: what a fingerprint lacks for it, if it does
    )
    of_documents: bool = False  #: whether a match says that a document is shared, by its id
    of_chunks: bool = False  #: whether a match says that a chunk itself was seen, not its document or context
    names_texts: bool = True  #: whether the texts of the rows that a match names are what is alike
    known_by: tuple[Column, ...] = ("text",)  #: what of its rows tells a match from others, wherever they lie
    grouped: Callable[[Pieces, Comparable], Rows] | None = None  #: as `groups`, where rows match by no keys
    excerpts: bool = False  #: whether a match is a stretch of the training text, told by its runs
    payload: bool = False  #: whether a payload may have what it needs
    phases: Mapping[str, str] = field(default_factory=dict)  #: what its phases count that do not count rows
    run: Callable[[Beginning], Running] | None = None  #: begins a two-sided scan, where it is not of keys

    @property
    def two_sided(self) -> bool:
        """Whether a match says that rows of one side were seen on the other."""
        return self.sides == SIDES

    @property
    def compares_vectors(self) -> bool:
        """Whether vectors of one side are compared with those of the other."""
        return self.cosine and self.two_sided

    @property
    def boilerplate(self) -> bool:
        """Whether `max_df` sets apart what stands in many documents."""
        return self.keys is not None and self.keys.texts

    def texts_alike(self, normalize: str) -> str:
        """When two texts are the same one to it: as ``normalize`` has it, or of the same ``words``."""
        if self.excerpts:
            return "words"
        return normalize if self.boilerplate else "default"

    @property
    def stands_once(self) -> bool:
        """Whether all matches of a row are those that name it, or the first row like it."""
        return not self.windows

    def groups(self, side: Side, pieces: Pieces, options: Comparable) -> Rows | None:
        """(rows,) numbers, equal for rows behind one match; None where each row stands alone."""
        if self.grouped is not None:
            return None if self.excerpts and side == "train" else self.grouped(pieces, options)
        return None if self.keys is None else groups_of_keys(self.keys.of, pieces, options)

    def begin(self, beginning: Beginning) -> Running:
        """The level before the first row of a two-sided scan."""
        if self.run is not None:
            return self.run(beginning)
        assert self.keys is not None
        options = beginning.options
        hashed = None if beginning.fingerprint is None else HashedRows(self.keys, options)
        return KeyedLevel(self, beginning.indexed, beginning.files, options, hashed, cuts=beginning.cuts)


def groups_of_keys(keys_of: KeysOf, pieces: Pieces, options: Comparable) -> Rows:
    """(rows,) numbers, equal for rows of equal keys; a row without one is of no other's group."""
    found = []
    for batch, rows in pieces:
        of_batch = keys_of(batch, options)
        assert of_batch is not None
        found.append(of_batch[0][rows])
    keys = np.ascontiguousarray(np.concatenate(found))
    as_one = keys.view(np.dtype((np.void, keys.dtype.itemsize * keys.shape[1]))).ravel()
    return np.unique(as_one, return_inverse=True)[1].astype(np.int64)
