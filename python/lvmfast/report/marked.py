"""The two texts of a match by a stretch of a training text, with what both have marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from lvmfast import _core

#: The rows in which a match and its answer start and end.
ROWS = ("train_row", "train_end_row", "answer_start_row", "answer_end_row")
#: What a piece is: in both texts, the answer, in one text alone, or not shown.
Mark = Literal["common", "answer", "alone", "left out"]
Span = tuple[int, int]
#: Start and end of a run in the training text, then in the evaluation text.
Run = tuple[int, int, int, int]

#: Characters that are shown of a text, and of either end of a longer piece of it.
MOST_CHARS = 4000
ENDS: Mapping[Mark, int] = {"common": 600, "answer": 600, "alone": 120}


@dataclass(frozen=True)
class Piece:
    """A stretch of one text; of what is not shown, how many characters it has."""

    text: str
    mark: Mark
    left_out: int = 0


@dataclass(frozen=True)
class Marked:
    """Both texts in pieces, and what is known of the match."""

    train: tuple[Piece, ...]
    eval: tuple[Piece, ...]
    fields: tuple[str, ...]  #: what of the item stands there
    train_rows: int  #: that hold it
    numbers_differ: bool  #: whether nothing else does

    @property
    def alike(self) -> bool:
        """Whether both texts have the same words, each in a run."""
        pieces = [piece for piece in (*self.train, *self.eval) if piece.mark != "common"]
        return not any(piece.left_out or any(map(str.isalnum, piece.text)) for piece in pieces)


class Alike(NamedTuple):
    """Both texts of a match, and where they are alike, in characters (code points) of them."""

    train: str | None
    eval: str | None
    runs: Sequence[Run] = ()
    answer: Span | None = None  #: where the answer stands in `train`
    fields: tuple[str, ...] = ()  #: what of the item stands there

    def within(self, before: str | None, after: str | None) -> Alike:
        """The same with what stands around the training text."""
        if self.train is None:
            return self
        text, moved = f"{before or ''}{self.train}{after or ''}", len(before or "")
        runs = [(a + moved, b + moved, c, d) for a, b, c, d in self.runs]
        answer = None if self.answer is None else (self.answer[0] + moved, self.answer[1] + moved)
        return self._replace(train=text, runs=runs, answer=answer)


def alike(told: Mapping[str, Any], runs: Iterable[Run]) -> Alike:
    """What a row of `overlaps.parquet` tells, given its runs as they stand there."""
    text, start, answer = told["train_text"], told["train_start"], None
    rows = {told.get(name) for name in ROWS} - {None}
    if len(rows) > 1:  # whose places count in texts that are not known here
        (found,) = _core.overlap_spans(text, [told["eval_text"]], np.array([[0, len(text)]]))
        runs, start = found[:, :4].tolist(), 0
    elif told["answer_start"] is not None:
        text, start = told["train_text_with_answer"], min(start, told["answer_start"])
        answer = told["answer_start"] - start, told["answer_end"] - start
    placed = [(a - start, b - start, c, d) for a, b, c, d in runs]
    return Alike(text, told["eval_text"], placed, answer, tuple(told["fields"]))


def marked(told: Mapping[str, Any]) -> Marked:
    """The texts of a row of `overlaps.parquet`, from the first common run or the answer to the last."""
    found = alike(
        told,
        ((run["train_start"], run["train_end"], run["eval_start"], run["eval_end"]) for run in told["runs"]),
    )
    assert found.train is not None
    assert found.eval is not None
    return Marked(
        _pieces(found.train, [run[:2] for run in found.runs], found.answer),
        _pieces(found.eval, [run[2:] for run in found.runs], None),
        found.fields,
        told["train_rows"],
        told["numbers_differ"],
    )


def _pieces(text: str, runs: list[Span], answer: Span | None) -> tuple[Piece, ...]:
    """A text in pieces: what is in no run is cut to its ends, and all to `MOST_CHARS` characters."""
    shown: list[tuple[int, int, Mark]] = []
    for low, high, mark in _segments(len(text), runs, answer):
        # Before the first run its end is enough, behind the last one its beginning.
        first = 0 if (low, mark) == (0, "alone") else ENDS[mark]
        last = 0 if (high, mark) == (len(text), "alone") else ENDS[mark]
        if high - low > 2 * (first + last):
            shown += [(low, low + first, mark), (high - last, high, mark)]
        else:
            shown.append((low, high, mark))
    pieces, done, room = [], 0, MOST_CHARS
    for low, high, mark in shown:
        if room <= 0:
            break
        if low < high:
            if low > done:
                pieces.append(Piece("", "left out", low - done))
            pieces.append(Piece(text[low:high], mark))
            done, room = high, room - (high - low)
    if done < len(text):
        pieces.append(Piece("", "left out", len(text) - done))
    return tuple(pieces)


def _segments(size: int, runs: list[Span], answer: Span | None) -> Iterator[tuple[int, int, Mark]]:
    """All of a text of `size` characters, in order: the answer, the runs beside it, and the rest."""
    spans: list[tuple[int, int, Mark]] = [] if answer is None else [(*answer, "answer")]
    free = [(0, size)] if answer is None else [(0, answer[0]), (answer[1], size)]
    for start, end in free:
        done = start
        for low, high in sorted(runs):
            low, high = max(low, done), min(high, end)
            if low < high:
                spans += [(done, low, "alone"), (low, high, "common")]
                done = high
        spans.append((done, end, "alone"))
    yield from sorted(span for span in spans if span[0] < span[1])
