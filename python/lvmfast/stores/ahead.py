"""Byte ranges of objects, fetched before they are asked for, by several connections and in bounded memory.

There is one queue for the process, as there is one network and one memory. Ranges are fetched in the order in
which they were expected; whoever needs a range that is still waiting fetches it at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

#: A range (start, stop) of an object's bytes.
Range = tuple[int, int]
#: Ranges that are read in the same stretch of time, in the order in which they are needed first.
Stage = Sequence[Range]

#: Bytes that are fetched and not yet used, or under way, all together.
AHEAD_BYTES = 64 << 20
#: One request: long enough that the wait for its first byte is short beside it.
PIECE_BYTES = 4 << 20
#: Two ranges with less between them are fetched by one request.
GAP_BYTES = 256 << 10
FETCHERS = 16


class Ranged(Protocol):
    """What can be read by ranges, from many threads."""

    def read(self, start: int, stop: int, abandoned: threading.Event | None = None) -> bytes:
        """Bytes `start` to `stop`; may give up once `abandoned` is set."""
        ...


def in_order(size: int) -> list[Stage]:
    """The stages of an object that is read from its beginning to its end."""
    return [[(start, min(start + PIECE_BYTES, size))] for start in range(0, size, PIECE_BYTES)]


def in_lockstep(ranges: Iterable[Range]) -> Stage:
    """The pieces of several ranges that are read side by side, each from its beginning to its end."""
    pieces: list[tuple[int, int, float]] = []  # with how far into its range a piece begins
    for start, stop in sorted(ranges):
        if start >= stop:
            continue
        if pieces and start - pieces[-1][1] <= GAP_BYTES and stop - pieces[-1][0] <= PIECE_BYTES:
            pieces[-1] = (pieces[-1][0], max(stop, pieces[-1][1]), pieces[-1][2])
            continue
        for at in range(start, stop, PIECE_BYTES):
            pieces.append((at, min(at + PIECE_BYTES, stop), (at - start) / (stop - start)))
    return [(start, stop) for start, stop, _ in sorted(pieces, key=lambda piece: (piece[2], piece[0]))]


class Piece:
    """A range that is expected: waiting, under way, here, or given up."""

    __slots__ = ("abandoned", "content", "error", "here", "plan", "start", "state", "stop")

    def __init__(self, plan: Plan, start: int, stop: int) -> None:
        """Waiting."""
        self.plan, self.start, self.stop = plan, start, stop
        self.state = "waiting"
        self.here, self.abandoned = threading.Event(), threading.Event()
        self.content: bytes | None = None
        self.error: BaseException | None = None

    @property
    def size(self) -> int:
        """In bytes."""
        return self.stop - self.start

    @property
    def given_up(self) -> bool:
        """Whether its bytes are not kept."""
        return self.state == "given up" or self.abandoned.is_set()


class Plan:
    """What one reader of an object will read."""

    def __init__(self, stored: Ranged, stages: Iterable[Stage], most: int = AHEAD_BYTES) -> None:
        """Nothing is fetched before the plan is given to the queue; `most` bytes of it are held at once."""
        self.stored, self.most, self.held = stored, most, 0
        self.stages = [[Piece(self, start, stop) for start, stop in stage] for stage in stages]
        self.waiting = [piece for stage in self.stages for piece in stage][::-1]


class Queue:
    """The plans that are being fetched, in the order in which they came."""

    def __init__(self, most: int = AHEAD_BYTES, fetchers: int = FETCHERS) -> None:
        """Starts no thread before there is something to fetch."""
        self._most, self._fetchers = most, fetchers
        self._lock = threading.Lock()
        self._plans: dict[int, Plan] = {}
        self._threads: ThreadPoolExecutor | None = None
        self.held = 0  #: bytes that are here or under way
        self.peak = 0  #: the most that `held` was

    def add(self, plan: Plan) -> None:
        """Begins to fetch the plan, as far as there is room for it."""
        with self._lock:
            self._plans[id(plan)] = plan
            self._pump()

    def content(self, piece: Piece) -> bytes:
        """The bytes of a piece, once they are here.

        Raises:
            DataError: what the store said.
        """
        with self._lock:
            mine = piece.state == "waiting"
            if mine:
                self._begin(piece)
        if mine:
            self._fetch(piece)
        piece.here.wait()
        if piece.error is not None:
            raise piece.error
        if piece.content is None:
            raise ValueError("the piece was given up")
        return piece.content

    def drop(self, pieces: Iterable[Piece]) -> None:
        """Gives the pieces up: their bytes are freed, or not fetched at all."""
        with self._lock:
            for piece in pieces:
                if piece.state == "here":
                    self._free(piece)
                elif piece.state == "under way":
                    piece.abandoned.set()
                if piece.state != "under way":
                    piece.state, piece.content = "given up", None
            self._pump()

    def remove(self, plan: Plan) -> None:
        """Gives a whole plan up."""
        with self._lock:
            self._plans.pop(id(plan), None)
        self.drop(piece for stage in plan.stages for piece in stage)

    def _pump(self) -> None:
        """Begins what there is room for. Called with the lock."""
        for plan in list(self._plans.values()):
            while plan.waiting:
                piece = plan.waiting[-1]
                if piece.state == "waiting":
                    if self.held + piece.size > self._most:
                        return
                    if plan.held + piece.size > plan.most:
                        break
                    self._begin(piece)
                    if self._threads is None:
                        self._threads = ThreadPoolExecutor(self._fetchers, thread_name_prefix="lvmfast-fetch")
                    self._threads.submit(self._fetch, piece)
                plan.waiting.pop()

    def _begin(self, piece: Piece) -> None:
        piece.state = "under way"
        piece.plan.held += piece.size
        self.held += piece.size
        self.peak = max(self.peak, self.held)

    def _free(self, piece: Piece) -> None:
        piece.plan.held -= piece.size
        self.held -= piece.size

    def _fetch(self, piece: Piece) -> None:
        try:
            if not piece.abandoned.is_set():
                piece.content = piece.plan.stored.read(piece.start, piece.stop, piece.abandoned)
        except BaseException as error:  # it is raised where the piece is asked for
            piece.error = error
        with self._lock:
            piece.state = "here"
            if piece.abandoned.is_set():
                piece.state, piece.content = "given up", None
                self._free(piece)
                self._pump()
        piece.here.set()


queue = Queue()
