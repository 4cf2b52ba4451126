"""The streamed side of a scan, span by span into a journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from lvmfast.corpus.dataset import Column, Dataset
from lvmfast.errors import DataError
from lvmfast.leaks import memory
from lvmfast.leaks.cuts import Span, spans_read
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.levels import Level, Side
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Progress
from lvmfast.leaks.running import RunningLevels


@dataclass(frozen=True)
class Streamed:
    """What whoever streams spans must know of the scan."""

    levels: tuple[Level, ...]
    indexed: Side
    dim: int  #: of the vectors
    indexed_columns: tuple[Column, ...]
    columns: tuple[Column, ...]  #: that the streamed side is read for


class Streamer(Protocol):
    """Brings the spans of the streamed side into a journal."""

    def __call__(
        self,
        running: RunningLevels,
        sides: Mapping[Side, Dataset],
        streamed: Streamed,
        todo: Sequence[Span],
        journal: Journal,
        options: ScanOptions,
        progress: Progress,
        room: int | None,
    ) -> bool:
        """Records a cut of every span of `todo`; False where that needs more memory than `room`.

        Raises:
            KeyboardInterrupt: with what to do about it, if there is something to go on from.
        """
        ...


@contextmanager
def resumable(journal: Journal) -> Iterator[None]:
    """Says, when it is interrupted or ends with an error, that what was recorded is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        if journal.kept:
            raise KeyboardInterrupt("what was done is kept; the same command with --resume goes on") from None
        raise
    except DataError as error:
        if journal.kept:
            kept = "what was done is kept; the same command with --resume goes on, without it it begins anew"
            raise DataError(f"{error}; {kept}") from error
        raise


def record(
    running: RunningLevels,
    sides: Mapping[Side, Dataset],
    streamed: Streamed,
    todo: Sequence[Span],
    journal: Journal,
    options: ScanOptions,
    progress: Progress,
    room: int | None,
) -> bool:
    """As `Streamer`, in this process, with `running`."""
    side, dataset = running.streamed, sides[running.streamed]
    phase, total, done = f"scan {side}", dataset.rows if journal.share[1] == 1 else None, journal.rows_done
    progress(phase, done, total)
    pending: list[Span] = []
    rows = memory.block_rows(dataset, streamed.columns, options)
    with resumable(journal):
        for place, (span, batches) in enumerate(spans_read(dataset, todo, streamed.columns, rows)):
            for batch in batches:
                running.take(side, batch)
                if room is not None and running.nbytes > room:
                    return False
                done += batch.rows
                progress(phase, done, total)
            pending.append(span)
            following = todo[place + 1] if place + 1 < len(todo) else None
            if following is None or journal.due(span, following):
                journal.add(pending, running.cut(), last=following is None)
                pending = []
    return True
