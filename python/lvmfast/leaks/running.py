"""What every level is while the rows of a two-sided scan go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from lvmfast.corpus.dataset import Batch
from lvmfast.corpus.sides import Side
from lvmfast.leaks.evidence import Named
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.tally import Rows
from lvmfast.leaks.trees import Tree

if TYPE_CHECKING:
    from lvmfast.corpus.fingerprint import Fingerprint
    from lvmfast.leaks.vector_pool import VectorPool


class Running(Protocol):
    """A level that indexes one side and streams the other.

    It gets the rows of the sides it reads alone. What it found so far can be cut out and folded elsewhere, as
    `cuts.py` says.
    """

    def index(self, batch: Batch) -> None:
        """Takes the next rows of the indexed side."""
        ...

    def close(self) -> None:
        """Called between the two sides."""
        ...

    def stream(self, batch: Batch) -> None:
        """Takes the next rows of the streamed side."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes held by the index, the vectors that levels share aside."""
        ...

    @property
    def matched(self) -> int:
        """Streamed rows held that matched, where each is held."""
        ...

    @property
    def evidence(self) -> int:
        """Matches held for a report."""
        ...

    def indexed(self) -> Tree:
        """What the indexed side is for `result`, once closed; it stays."""
        ...

    def restore(self, tree: Tree) -> None:
        """Takes the place of a level that indexed what `indexed` tells of."""
        ...

    def cut(self) -> Tree:
        """What was streamed since the last cut; nothing of it is left."""
        ...

    def fold(self, tree: Tree, starts: Rows) -> None:
        """Adds a cut of later rows than all before, given the dataset row at which each file starts."""
        ...

    def named(self) -> Named:
        """The rows that the evidence may name, and those of the indexed side that match."""
        ...

    def result(self) -> LevelResult:
        """What was found, once every row went by."""
        ...


class Beside(Running, Protocol):
    """A level whose index several threads may look into at once: one that compares no vectors."""

    def beside(self) -> Beside:
        """A level with the same index, as it is now, that has streamed nothing.

        Another thread streams to it; what it found is cut out and folded into the one level that is asked.
        """
        ...


class InBlocks(Running, Protocol):
    """A level whose index can be that of a block of the indexed rows: the other side goes by each in turn.

    What is found by all blocks adds up to what is found by one of all rows.
    """

    def blocks(self, room: int) -> int | None:
        """Once closed: how many there have to be, for the index of one to take `room` bytes beside `nbytes`.

        None where there are none so small.
        """
        ...

    def turn(self, block: int, of: int) -> None:
        """The rows that are streamed next go by the block of that number, from 0 on, of so many."""
        ...


class Joining(Running, Protocol):
    """A level that joins rows of the streamed side which are chunks of one document (`chunks.py`).

    Around the rows of each piece of a file it is told what stands before and behind them.
    """

    def begin(self, before: Batch | None) -> None:
        """The next row stands behind `before`, one row with its ids alone; None at the start of a file."""
        ...

    def follow(self, batch: Batch) -> bool:
        """Takes rows behind the piece, which only go on with what is open; whether they all do."""
        ...

    def end(self) -> None:
        """No more rows go on with what is open."""
        ...


@dataclass(frozen=True)
class Beginning:
    """What the levels of a two-sided scan begin with."""

    indexed: Side
    files: Mapping[Side, int]  #: how many each side has
    options: ScanOptions
    dim: int = 1  #: of the vectors
    fingerprint: Fingerprint | None = None  #: what train is known by, if that is all

    @property
    def cuts(self) -> bool:
        """Whether what is found can be cut out: not of a fingerprint, which has no rows."""
        return self.fingerprint is None

    @cached_property
    def vectors(self) -> VectorPool:
        """The vectors of the indexed side, which levels share."""
        from lvmfast.leaks.vector_pool import VectorPool

        return VectorPool(self.dim, self.options)
