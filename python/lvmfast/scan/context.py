"""What a scan is carried out with: one value, which goes whole to whoever does a piece of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from lvmfast.corpus.dataset import Batch, Column, Dataset
from lvmfast.errors import DataError
from lvmfast.leaks.cost import Announce, say_nothing
from lvmfast.leaks.cuts import Span
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.options import LevelName as Level
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Clock, Progress, read, silent
from lvmfast.leaks.results import LevelResult
from lvmfast.leaks.tally import Rows
from lvmfast.scan.plan import Plan, Sides
from lvmfast.scan.running import RunningLevels


class Executor(Protocol):
    """Who does the work of a scan."""

    #: Whether other machines do it, who read the files themselves and find no repeated vectors in one set.
    on_cluster: bool

    def stream(
        self, running: RunningLevels, sides: Sides, todo: Sequence[Span], planned: Plan, context: ScanContext
    ) -> bool:
        """Puts a cut of every span of `todo`, of the streamed side, into the journal of `context`.

        Returns False where that needs more memory than the plan has room for.

        Raises:
            KeyboardInterrupt: with what to do about it, if there is something to go on from.
        """
        ...

    def shuffle(
        self, levels: Sequence[Level], sides: Sides, budget: int, context: ScanContext
    ) -> Generator[LevelResult, None, None]:
        """What each of the keyed `levels` finds, in order, by bringing together the rows of equal keys.

        `sides` has the indexed side first, or ``train`` alone; this process may hold `budget` bytes of them.
        """
        ...


@dataclass(frozen=True)
class ScanContext:
    """What is asked for, who does it, and who is told of it."""

    options: ScanOptions
    executor: Executor
    progress: Progress = silent
    clock: Clock = field(default_factory=Clock)
    announce: Announce = say_nothing
    journal: Journal | None = None

    def read(
        self, dataset: Dataset, columns: Sequence[Column], phase: str, wanted: Rows | None = None
    ) -> Iterator[Batch]:
        """Streams `dataset`, or what holds `wanted` rows, telling how far it is after each batch."""
        return read(dataset, columns, phase, self.options, self.progress, wanted)

    @contextmanager
    def resumable(self) -> Iterator[None]:
        """Says, when it is interrupted or ends with an error, that what was recorded is not lost."""
        try:
            yield
        except KeyboardInterrupt:
            if self._kept:
                told = "what was done is kept; the same command with --resume continues"
                raise KeyboardInterrupt(told) from None
            raise
        except DataError as error:
            if self._kept:
                told = (
                    "what was done is kept; the same command with --resume continues, without it starts again"
                )
                raise DataError(f"{error}; {told}") from error
            raise

    @property
    def _kept(self) -> bool:
        return self.journal is not None and self.journal.kept
