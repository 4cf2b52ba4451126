"""Spans of the streamed side on several threads, each of which makes a cut of the next one.

Whoever asks folds the cuts in the order of the spans, so nobody can tell from what is found that there were
threads. What goes wrong before its turn is of no account: that span is read anew in its turn, when it has to
itself what spans beside each other share, and then the fault is raised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from itertools import islice
from threading import Condition, Lock

from lvmfast.corpus.budget import Budget, reading_beside
from lvmfast.corpus.dataset import Batch, Column, Dataset
from lvmfast.leaks.cuts import AS_THEY_ARE, Cut, Span, nbytes_of, spans_read
from lvmfast.scan.running import RunningLevels
from lvmfast.threads import threads

Batches = Generator[Batch, None, None]
#: Rows that went by, and a span once all of it is taken.
Taken = Generator[tuple[int, Span | None], None, None]
Readings = Iterator[tuple[Span, Batches]]

#: Seconds after which whoever waits for a span looks how many rows went by.
_LOOK = 0.2
#: What a span that waits for its turn takes beside the arrays of its cut.
_PIECE_BYTES = 64 << 10


@dataclass(frozen=True)
class Asked:
    """What is read of the streamed side, and how."""

    dataset: Dataset
    columns: Sequence[Column]
    rows: int  #: of a batch, at most
    room: int  #: bytes that the indexes may take, with what is held of the streamed side beside them


def taken(running: RunningLevels, spans: Sequence[Span], asked: Asked) -> Taken:
    """Gives spans to `running` in order; yields how many rows went by, and a span once all of it is taken.

    Raises:
        DataError: of the first span that cannot be read.
    """
    budget = Budget()
    at_once = min(budget.files_at_once, len(spans)) if asked.dataset.read_beside(asked.columns) else 1
    readings = spans_read(asked.dataset, spans, asked.columns, asked.rows)
    if at_once > 1:
        yield from _OnThreads(running, asked, at_once, budget.waiting_bytes).taken(readings)
        return
    for span, batches in readings:
        yield from _alone(running, asked, span, batches)


def _alone(running: RunningLevels, asked: Asked, span: Span, batches: Batches | None = None) -> Taken:
    file = asked.dataset.files[span.file]
    if batches is None:
        batches = span.batches(file, asked.columns, asked.rows)
    for batch in running.take_span(span, file, batches):
        yield batch.rows, None
    yield 0, span


class _Piece:
    """A span that is begun, and its cut once there is one."""

    def __init__(self, span: Span, batches: Batches, levels: RunningLevels) -> None:
        """Nobody is at it; `levels` are its own."""
        self.span, self.batches, self.levels, self.context = span, batches, levels, copy_context()
        self.claim = Lock()  #: of whoever does it
        self.ended = False
        self.cut: Cut | None = None  #: none where something went wrong
        self.rows = self.nbytes = 0


class _OnThreads:
    """See `taken`."""

    def __init__(self, running: RunningLevels, asked: Asked, at_once: int, waiting: int) -> None:
        """Nothing is begun; cuts of `waiting` bytes may wait for their turn, and the last one beside them."""
        self._running, self._asked, self._at_once, self._waiting = running, asked, at_once, waiting
        self._changed = Condition()
        self._begun: deque[_Piece] = deque()
        self._free: list[RunningLevels] = []
        self._index_bytes = self._of_all = running.nbytes  #: of the index; with all that went by it
        self._of_pieces = 0  #: bytes of what pieces hold that no cut was made of
        self._rows = 0  #: that went by and were not told of
        self._more, self._stopped = True, False

    def taken(self, readings: Readings) -> Taken:
        """Yields as `taken` does."""
        with threads(self._at_once, "lvmfast-spans") as pool, self._stopping():
            while True:
                while self._may_begin():
                    self._begin(readings, pool)
                if not self._begun:
                    break
                with self._changed:
                    self._changed.wait_for(lambda: self._begun[0].ended or self._may_begin(), _LOOK)
                    rows, self._rows = self._rows, 0
                yield rows, None
                if self._begun[0].ended:
                    yield from self._turn_of(self._begun.popleft())
        for span, _ in readings:  # for which there was no room beside each other
            yield from _alone(self._running, self._asked, span)

    def _may_begin(self) -> bool:
        at_work = sum(not piece.ended for piece in self._begun)
        waiting = sum(_PIECE_BYTES + piece.nbytes for piece in islice(self._begun, 1, None) if piece.ended)
        # One more than there are threads, for the one that is done first.
        return self._more and not self._stopped and at_work <= self._at_once and waiting < self._waiting

    def _begin(self, readings: Readings, pool: Executor) -> None:
        """Has a thread see to the next span, if there is one."""
        with reading_beside(self._at_once):
            following = next(readings, None)
            if following is None:
                self._more = False
                return
            levels = self._free.pop() if self._free else self._running.beside()
            self._begun.append(_Piece(*following, levels))
        try:
            pool.submit(self._work, self._begun[-1])
        except RuntimeError:  # no other thread can start
            self._work(self._begun[-1])

    def _work(self, piece: _Piece) -> None:
        if not piece.claim.acquire(blocking=False):
            return
        cut, nbytes = None, 0
        file = self._asked.dataset.files[piece.span.file]
        try:
            with closing(self._counted(piece)) as batches:
                cut = piece.context.run(piece.levels.cut_of, piece.span, file, batches)
            nbytes = nbytes_of(cut)
        except KeyboardInterrupt:  # in the thread of the asker
            raise
        except BaseException:  # of whatever other kind: it comes again in its turn
            cut = None
        finally:
            with self._changed:
                piece.cut, piece.nbytes, piece.ended = cut, nbytes, True
                if cut is not None:
                    self._free.append(piece.levels)
                self._changed.notify_all()

    def _counted(self, piece: _Piece) -> Batches:
        """The batches of a piece, while nobody stops it and there is room."""
        held = 0
        with closing(piece.batches):
            try:
                for batch in piece.batches:
                    yield batch
                    now = piece.levels.nbytes - self._index_bytes
                    with self._changed:
                        self._of_pieces += now - held
                        piece.rows += batch.rows
                        self._rows += batch.rows
                        too_much = self._of_all + self._of_pieces > self._asked.room
                    held = now
                    if self._stopped or too_much:
                        raise InterruptedError
            finally:
                with self._changed:
                    self._of_pieces -= held

    def _turn_of(self, piece: _Piece) -> Taken:
        if piece.cut is not None:
            self._running.fold(piece.cut, AS_THEY_ARE)
            self._of_all = self._running.nbytes
            yield 0, piece.span
            return
        with self._changed:
            self._changed.wait_for(lambda: all(other.ended for other in self._begun))
        yield -piece.rows, None
        yield from _alone(self._running, self._asked, piece.span)
        self._stopped = True  # it went through by itself: those that are ended keep their turns

    @contextmanager
    def _stopping(self) -> Iterator[None]:
        """In the end nothing more is begun, and whoever is at a span comes to the end of a batch first."""
        try:
            yield
        finally:
            self._stopped = True
            for piece in self._begun:
                piece.claim.acquire(blocking=False)
