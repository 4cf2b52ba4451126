"""Several files read at once, whose batches come in the order of the files.

What goes wrong before its turn is of no account: that file is read anew in its turn, when it has to itself
the memory that files side by side share, and then it is raised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextvars import copy_context
from itertools import islice
from threading import Condition, Lock
from typing import Any, Generic, Protocol, TypeVar

from lvmfast.corpus.budget import Budget, reading_beside
from lvmfast.threads import threads


class Rows(Protocol):
    """What waits for its turn."""

    @property
    def rows(self) -> int:
        """How many they are."""
        ...

    @property
    def nbytes(self) -> int:
        """How much of the memory they take."""
        ...

    def sliced(self, start: int, stop: int) -> Any:
        """Some of them."""
        ...


Batch = TypeVar("Batch", bound="Rows")
#: Has the first bytes fetched where they are objects in a store, and gives what is read.
Reading = Callable[[], Iterator[Batch]]

#: Readings that are begun, and so fetched from their store, while one before them is read.
BEGUN_AHEAD = 16


class ReadBeside:
    """A file whose batches another thread may ask for while other files are read, and ask for again."""


def in_turn(readings: Sequence[Reading[Batch]], *, beside: bool = True) -> Iterator[Iterator[Batch]]:
    """What each of `readings` gives, in their order; the next are begun, and read as far as there is room.

    Args:
        readings: each is called once or twice.
        beside: whether threads may read some before their turn.
    """
    budget = Budget()
    at_once = min(budget.files_at_once, len(readings)) if beside else 1
    if at_once > 1:
        yield from _side_by_side(readings, at_once, budget.waiting_bytes)
        return
    begun: deque[Iterator[Batch]] = deque()
    for place in range(len(readings)):
        begun.extend(read() for read in readings[place + len(begun) : place + 1 + BEGUN_AHEAD])
        yield begun.popleft()


def _side_by_side(readings: Sequence[Reading[Batch]], at_once: int, room: int) -> Iterator[Iterator[Batch]]:
    shared = _Shared(room)
    begun: deque[_Waiting[Batch]] = deque()

    def read_on() -> None:
        """Keeps `at_once` of those that are not at their end at work."""
        for waiting in islice((waiting for waiting in begun if not waiting.ended), at_once):
            waiting.read_on(pool)

    with threads(at_once, "lvmfast-files") as pool:
        try:
            for place in range(len(readings)):
                with reading_beside(at_once):
                    begun.extend(
                        _Waiting(read, shared)
                        for read in readings[place + len(begun) : place + 1 + BEGUN_AHEAD]
                    )
                yield begun[0].in_its_turn(read_on)
                begun.popleft().stop()
        finally:
            for waiting in begun:
                waiting.stop()


def _behind(batches: Iterator[Batch], rows: int) -> Iterator[Batch]:
    """What stands behind the first `rows` rows."""
    for batch in batches:
        if rows < batch.rows:
            yield batch.sliced(rows, batch.rows) if rows else batch
        rows = max(0, rows - batch.rows)


class _Shared:
    """What readings that wait have in common: the room for what they hold, and whom to wait for."""

    def __init__(self, room: int) -> None:
        self.room, self.held, self.changed = room, 0, Condition()


class _Waiting(Generic[Batch]):
    """A reading that may be ahead of its turn."""

    def __init__(self, read: Reading[Batch], shared: _Shared) -> None:
        """Begun, under the limits of the asker."""
        self._read, self._shared = read, shared
        self._batches, self._context = read(), copy_context()
        self._ready: deque[Batch] = deque()
        self._held = 0
        self._at_work = self._turn = self._failed = False
        self._claim = Lock()  #: of whoever does the work that was asked for last, or has it not done
        self.ended = False  #: nothing more is read of it, for one reason or another

    def read_on(self, pool: Executor) -> None:
        """Has a thread read what there is room for, unless one is at it."""
        with self._shared.changed:
            if self._at_work or not self._may_go_on():
                return
            self._at_work, self._claim = True, Lock()
        try:
            pool.submit(self._work, self._claim)
        except RuntimeError:  # no other thread can start: one that is there does it, or the asker
            self._work(self._claim)

    def _may_go_on(self) -> bool:
        held = self._held if self._turn else self._shared.held
        return not self.ended and held < self._shared.room

    def _work(self, claim: Lock) -> None:
        more = claim.acquire(blocking=False)
        while more:
            batch, failed = None, False
            try:  # the context is left before anybody else is let in
                batch = self._context.run(next, self._batches, None)
            except KeyboardInterrupt:  # in the thread of the asker
                claim.release()
                raise
            except BaseException:  # of whatever other kind: it comes again in its turn
                failed = True
            with self._shared.changed:
                if batch is not None:
                    self._ready.append(batch)
                    self._held += batch.nbytes
                    self._shared.held += batch.nbytes
                self._failed = failed
                self.ended = self.ended or batch is None
                self._at_work = more = self._may_go_on()
                self._shared.changed.notify_all()

    def in_its_turn(self, read_on: Callable[[], None]) -> Iterator[Batch]:
        """All of it; `read_on` has it and those behind it go on."""
        self._turn, given = True, 0
        while True:
            read_on()
            with self._shared.changed:
                self._shared.changed.wait_for(lambda: self._ready or not self._at_work)
                if not self._ready:
                    break
                one = [self._taken()]
            given += one[0].rows
            yield one.pop()  # which is not held here any longer than by whoever asked
        if self._failed:
            yield from _behind(self._read(), given)

    def _taken(self) -> Batch:
        batch = self._ready.popleft()
        self._held -= batch.nbytes
        self._shared.held -= batch.nbytes
        return batch

    def stop(self) -> None:
        """Nothing more is read, and what waits is let go; whoever reads comes to the end of a batch first."""
        with self._shared.changed:
            self.ended = True
            self._ready.clear()
            self._shared.held -= self._held
            self._held = 0
            if self._claim.acquire(blocking=False):  # it was asked for, and nobody has begun
                self._at_work = False
            self._shared.changed.wait_for(lambda: not self._at_work)
        if close := getattr(self._batches, "close", None):
            self._context.run(close)
