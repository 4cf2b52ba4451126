"""The texts of the matches that a page carries, and where the two of a match are alike."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvmfast.corpus.plain import arrow_numbers, arrow_texts, numpy_numbers
from lvmfast.corpus.sides import SIDES
from lvmfast.levels import LEVELS
from lvmfast.report.marked import ROWS, Alike, Run, alike

#: Runs of a match that are told at most.
MOST_RUNS = 50
#: Characters of texts that are packed at once.
BLOCK_CHARS = 4 << 20
COMPRESSION = 4  #: more takes twice as long and saves a twentieth

#: What is read of `overlaps.parquet`, and whole texts one at a time.
_OF_TOLD = (*ROWS, "train_start", "answer_start", "answer_end", "fields")
_TEXTS = ("train_text", "train_text_with_answer", "eval_text")
_AROUND = ("train_before", "train_after")


def texts_of(matches: pa.Table, overlaps: pa.Table | None, places: npt.NDArray[np.int64]) -> Iterator[Alike]:
    """Both texts of the matches at `places`, (n,) and ascending, and where they are alike.

    `overlaps` tells that of matches by a stretch of a text. One text at a time is made.
    """
    is_told = np.zeros(len(matches), np.bool_)
    if overlaps is not None:
        names = [name for name, level in LEVELS.items() if level.excerpts]
        excerpts = arrow_texts(names, np.arange(len(names)))
        is_told[numpy_numbers(pc.indices_nonzero(pc.is_in(matches["level"], excerpts)))] = True
    of_place = is_told[places]
    # They stand together, and in the same order first in `overlaps`.
    told = iter(()) if overlaps is None else _told(overlaps, places[of_place] - int(np.argmax(is_told)))
    plain = zip(*(_each(matches[f"{side}_text"], places[~of_place]) for side in SIDES), strict=True)
    for by_stretch in of_place.tolist():
        yield next(told) if by_stretch else Alike(*next(plain))


def _told(overlaps: pa.Table, rows: npt.NDArray[np.int64]) -> Iterator[Alike]:
    """What rows of `overlaps.parquet`, which ascend, tell."""
    taken = arrow_numbers(rows)
    narrow = overlaps.select(_OF_TOLD).take(taken).to_pylist()
    each, around = (
        zip(*(_each(overlaps[name], rows) for name in names), strict=True) for names in (_TEXTS, _AROUND)
    )
    runs = _runs(overlaps["runs"].take(taken))
    for of_row, texts, beside, of_match in zip(narrow, each, around, runs, strict=True):
        yield alike(of_row | dict(zip(_TEXTS, texts, strict=True)), of_match).within(*beside)


def _runs(lists: pa.ChunkedArray) -> Iterator[list[Run]]:
    """The runs of each row, of which four numbers are looked at."""
    for chunk in lists.chunks:
        flat = chunk.flatten()
        each = zip(
            *(flat.field(f"{side}_{end}").to_pylist() for side in SIDES for end in ("start", "end")),
            strict=True,
        )
        for runs in pc.list_value_length(chunk).to_pylist():
            yield list(islice(each, runs))


def _each(column: pa.ChunkedArray, places: npt.NDArray[np.int64]) -> Iterator[Any]:
    """The values at some places, which ascend, one at a time: texts may be long and many."""
    start = 0
    for chunk in column.chunks:
        low, high = np.searchsorted(places, (start, start + len(chunk)))
        for place in places[low:high].tolist():
            yield chunk[place - start].as_py()
        start += len(chunk)


class _Side:
    """What points to the texts of one side, a value a match."""

    def __init__(self) -> None:
        self.text: list[int | None] = []
        self.begin: list[int] = []  #: characters before what is carried
        self.length: list[int | None] = []  #: characters of all, where it is cut


class CarriedTexts:
    """Distinct texts, packed as they come, and what points to them."""

    def __init__(self, most: int) -> None:
        """`most` characters are carried of each text."""
        self.most = most
        self.cut = False  #: whether any text has more
        self.blocks: list[str] = []
        self.fields: dict[str, int] = {}  #: what of an item stands at a match, by number
        self._numbers: dict[str, int] = {}
        self._open: list[str] = []
        self._chars = 0
        self._sides = {side: _Side() for side in SIDES}
        self._runs: list[int] = []
        self._runs_from = [0]
        self._runs_found: list[int] = []
        self._fields: list[int | None] = []
        self._answers: list[Sequence[int] | None] = []

    def add(self, match: Alike) -> None:
        """The next match: of longer texts what is around its longest run."""
        train, eval_ = self._sides["train"], self._sides["eval"]
        if match.runs:
            low, high, eval_low, eval_high = max(match.runs, key=lambda run: run[1] - run[0])
            begin = self._show(train, match.train, low + high)
            eval_begin = self._show(eval_, match.eval, eval_low + eval_high)
            here = [
                run
                for run in match.runs
                if self._reaches(run[:2], begin) and self._reaches(run[2:], eval_begin)
            ]
            self._runs += chain.from_iterable(here[:MOST_RUNS])
        else:
            self._show(train, match.train, 0)
            self._show(eval_, match.eval, 0)
        self._runs_from.append(len(self._runs) // 4)
        self._runs_found.append(len(match.runs))
        fields = ", ".join(match.fields)
        self._fields.append(self.fields.setdefault(fields, len(self.fields)) if fields else None)
        self._answers.append(match.answer)

    def _show(self, side: _Side, text: str | None, ends: int) -> int:
        """What is carried of a text, around the middle of two places; the characters before it."""
        begin, length = 0, None
        if text is not None and len(text) > self.most:
            self.cut, length = True, len(text)
            begin = max(0, min((ends - self.most) // 2, length - self.most))
            text = text[begin : begin + self.most]
        side.text.append(None if text is None else self._number(text))
        side.begin.append(begin)
        side.length.append(length)
        return begin

    def _reaches(self, span: tuple[int, ...], begin: int) -> bool:
        return span[0] < begin + self.most and span[1] > begin

    def _number(self, text: str) -> int:
        known = len(self._numbers)
        number = self._numbers.setdefault(text, known)
        if number == known:
            self._open.append(text)
            self._chars += len(text)
            if self._chars >= BLOCK_CHARS:
                self._pack()
        return number

    def _pack(self) -> None:
        if self._open:
            self.blocks.append(packed(self._open))
            self._open, self._chars = [], 0

    def columns(self) -> dict[str, Any]:
        """What points to the texts, a value a match; a column in which nothing is told is left out."""
        self._pack()
        columns: dict[str, Any] = {
            name: {"text": side.text} | _if_any("begin", side.begin) | _if_any("length", side.length)
            for name, side in self._sides.items()
        }
        if self._runs:
            columns |= {"runs": self._runs, "runs_from": self._runs_from, "runs_found": self._runs_found}
            columns |= {"fields": self._fields} | _if_any("answer", self._answers)
        return columns


def _if_any(name: str, values: Sequence[Any]) -> dict[str, Any]:
    return {name: values} if any(values) else {}


def packed(value: Any) -> str:
    """A JSON value, deflated, in base64."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return b64encode(zlib.compress(text.encode(), COMPRESSION)).decode()
