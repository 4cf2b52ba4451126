"""The parquet table of the level overlap: where an evaluation text stands in a training text, run by run."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.plain import arrow_numbers, distinct
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.corpus.values import SEPARATOR
from lvmfast.leaks.evidence import NO_ROW, Evidence
from lvmfast.leaks.findings import Findings, LevelFinding
from lvmfast.leaks.tally import Rows
from lvmfast.levels import LEVELS
from lvmfast.report.tables import MATCH, LooksUp, locate

ENDS = ("start", "end")
#: Where an answer stands: in characters of the texts of these rows.
ANSWER = ("answer_start", "answer_end", "answer_start_row", "answer_end_row")
#: Where a run of equal tokens stands: in characters of both texts, and in bytes of their UTF-8.
RUN = pa.struct(
    [
        *((f"{side}_{end}{unit}", pa.int64()) for side in SIDES for unit in ("", "_byte") for end in ENDS),
        *((f"train_{end}_row", pa.int64()) for end in ENDS),
    ]
)
OVERLAPS = pa.schema(
    [
        ("strength", pa.string()),
        ("coverage", pa.float64()),
        ("train_file", pa.string()),
        ("train_row", pa.int64()),
        ("train_start", pa.int64()),
        ("train_end", pa.int64()),
        ("train_end_row", pa.int64()),
        ("eval_file", pa.string()),
        ("eval_row", pa.int64()),
        ("train_rows", pa.int64()),
        ("tokens_covered", pa.int64()),
        ("words_covered", pa.int64()),
        ("longest", pa.int64()),
        ("in_8", pa.int64()),
        ("in_13", pa.int64()),
        ("numbers_differ", pa.bool_()),
        ("fields", pa.list_(pa.string())),
        *((name, pa.int64()) for name in ANSWER),
        ("runs", pa.list_(RUN)),
        ("train_text", pa.large_string()),
        ("train_text_with_answer", pa.large_string()),
        ("eval_text", pa.large_string()),
    ]
)


class Kind(NamedTuple):
    """What one part of the table is of."""

    strength: str
    column: Column  #: whose text of the evaluation side stands there


MATCHES = Kind(MATCH, "text")
#: What decides nothing and has evidence, by the name it is counted by.
BESIDE: Mapping[str, Kind] = {
    "short": Kind("short", "text"),
    "passage_alone": Kind("alone", "passage"),
    "answer_alone": Kind("alone", "answer"),
}


def overlaps(findings: Findings, datasets: Mapping[Side, LooksUp]) -> pa.Table | None:
    """The evidence of matches by a stretch of a training text, by strength and rows; None without the level.

    Both texts are fetched in a second look at the files, for the rows that match alone. Spans are of the
    texts as they are in the files, in characters (code points) and in bytes of their UTF-8.
    """
    finding = next((f for f in findings.levels.values() if LEVELS[f.level].excerpts), None)
    if finding is None or finding.status == "not_checkable":
        return None
    parts = [pa.Table.from_batches([], OVERLAPS)]
    beside = [(finding.beside[name], kind) for name, kind in BESIDE.items() if name in finding.beside]
    for found, kind in ((finding, MATCHES), *beside):
        if len(found.matches):
            parts.append(_told(kind, found, findings, datasets))
    return pa.concat_tables(parts).combine_chunks()


def _told(
    kind: Kind, finding: LevelFinding, findings: Findings, datasets: Mapping[Side, LooksUp]
) -> pa.Table:
    matches = finding.matches
    train, eval_ = (locate(getattr(matches, f"{side}_row"), findings.sides[side]) for side in SIDES)
    told = _stretches(matches, train[1].to_numpy(), datasets, kind.column)
    assert finding.holders is not None
    held = finding.holders.train_rows[np.searchsorted(finding.holders.eval_row, matches.eval_row)]
    counts = {
        name: arrow_numbers(matches.details[name]).cast(OVERLAPS.field(name).type)
        for name in ("tokens_covered", "words_covered", "longest", "in_8", "in_13", "numbers_differ")
    }
    columns = {
        "strength": pa.array([kind.strength] * len(matches)),
        "coverage": arrow_numbers(matches.score),
        "train_file": train[0],
        "train_row": train[1],
        "eval_file": eval_[0],
        "eval_row": eval_[1],
        "train_rows": arrow_numbers(held),
        **counts,
        "fields": pa.array(_fields(kind, matches)),
        **{name: pa.array([one[name] for one in told], OVERLAPS.field(name).type) for name in told[0]},
    }
    return pa.table([columns[name] for name in OVERLAPS.names], schema=OVERLAPS)


def _fields(kind: Kind, matches: Evidence) -> list[list[str]]:
    """What of the item stands at each match."""
    if kind.column != "text":
        return [[kind.column]] * len(matches)
    answered = (matches.details["answer"] != NO_ROW).tolist()
    passages = matches.details.get("passage", np.zeros(len(matches))).tolist()
    return [
        ["question", *["passage"] * bool(passage), *["answer"] * answer]
        for passage, answer in zip(passages, answered, strict=True)
    ]


def _stretches(
    matches: Evidence, file_rows: Rows, datasets: Mapping[Side, LooksUp], column: Column
) -> list[dict[str, Any]]:
    """The texts and runs of each match, given the row of its file where it begins.

    Of documents, the stretches alone are kept.
    """
    rows, item_of = np.unique(matches.eval_row, return_inverse=True)
    items = datasets["eval"].take(rows, [column])[column].combine_chunks()
    which = matches.eval_position.tolist()
    answers = _answers(matches, datasets["eval"])
    told: list[dict[str, Any]] = [{}] * len(matches)
    windows = np.stack([matches.details["window_start"], matches.details["window_end"]], axis=1)
    for row, before, tokens, texts in _documents(datasets["train"], matches):
        here = slice(*np.searchsorted(matches.train_row, (row, row + 1)))
        shown = items.take(pa.array(item_of[here])).to_pylist()
        if column != "text":
            shown = [of_row.split(SEPARATOR)[place] for of_row, place in zip(shown, which[here], strict=True)]
        document = _Joined(texts, int(file_rows[here.start]) - before)
        within = windows[here] + tokens
        spans = _core.overlap_spans(document.text, shown, within)
        asked = list(zip(shown, answers[here], strict=True))
        answered = _core.overlap_answers(document.text, asked, within)
        nbytes = _byte_places(document.text, np.array([runs[:, 0].min() for runs in spans]))
        found = zip(shown, spans, answered.tolist(), strict=True)
        for place, (item, runs, (first, last)) in enumerate(found, here.start):
            low, high = int(runs[:, 0].min()), int(runs[:, 1].max())
            stretch = document.text[low:high]
            places = _byte_places(stretch, runs[:, :2] - low)
            _, start, _ = document.place(low, 0)
            end_row, end, _ = document.place(high, 0, end=True)
            told[place] = {
                "train_start": start,
                "train_end": end,
                "train_end_row": end_row,
                **document.answer(first, last),
                "runs": _runs(runs, document, {low + at: nbytes[low] + n for at, n in places.items()}, item),
                "train_text": stretch,
                "train_text_with_answer": document.text[min(low, first) : max(high, last)] if last else None,
                "eval_text": item,
            }
    return told


def _answers(matches: Evidence, items: LooksUp) -> list[str]:
    """The answers of each match that has one near its question; of others nothing."""
    answers = [""] * len(matches)
    of_row = matches.details.get("answer", np.full(len(matches), NO_ROW))
    near = np.flatnonzero(of_row != NO_ROW)
    if len(near):
        rows, place = np.unique(of_row[near], return_inverse=True)
        texts = items.take(rows, ["answer"])["answer"].take(pa.array(place)).to_pylist()
        for match, text in zip(near.tolist(), texts, strict=True):
            answers[match] = text
    return answers


class _Joined:
    """The texts of consecutive rows of a file, with a line break between them."""

    def __init__(self, texts: Sequence[str], row: int) -> None:
        """`row` is that of the first of them."""
        self.text = "\n".join(texts)
        self._row = row
        self._starts = list(accumulate((len(text) + 1 for text in texts[:-1]), initial=0))
        self._bytes = list(accumulate((len(text.encode()) + 1 for text in texts[:-1]), initial=0))

    def place(self, character: int, byte: int, *, end: bool = False) -> tuple[int, int, int]:
        """The row of the file in which a place of the whole text is, and its character and byte in that row.

        With `end`, of something that ends there.
        """
        at = bisect_right(self._starts, character - end) - 1
        return self._row + at, character - self._starts[at], byte - self._bytes[at]

    def answer(self, start: int, end: int) -> dict[str, int | None]:
        """Where an answer stands, given its characters; 0 is the end of none."""
        if not end:
            return dict.fromkeys(ANSWER)
        ends = (self.place(start, 0), self.place(end, 0, end=True))
        return dict(zip(ANSWER, [*(at for _, at, _ in ends), *(row for row, _, _ in ends)], strict=True))


class _Piece(NamedTuple):
    """Rows of a document around the matches that begin in one of them."""

    row: int  #: in which they begin
    before: int  #: rows before it
    tokens: int  #: of these
    texts: list[str]


def _documents(dataset: LooksUp, matches: Evidence) -> Iterator[_Piece]:
    """For each row in which stretches begin, the texts with what is near the first and the last."""
    rows, first = np.unique(matches.train_row, return_index=True)
    before, tokens, after = (
        np.maximum.reduceat(matches.details[name], first) for name in ("rows_before", "tokens_before", "rows")
    )
    starts, stops = rows - before, rows + after
    wanted = distinct(np.concatenate([np.arange(*ends) for ends in zip(starts, stops, strict=True)]))
    open_ = deque(zip(*(values.tolist() for values in (rows, before, tokens, stops)), strict=True))
    held: dict[int, str] = {}
    for piece in dataset.taken(wanted, ["text"]):
        for row, text in zip(piece["row"].to_pylist(), piece["text"], strict=True):
            held[row] = text.as_py() or ""
            while open_ and open_[0][3] <= row + 1:
                at, rows_before, of_these, stop = open_.popleft()
                yield _Piece(at, rows_before, of_these, [held[n] for n in range(at - rows_before, stop)])
                needed = open_[0][0] - open_[0][1] if open_ else stop
                held = {n: text for n, text in held.items() if n >= needed}


def _runs(
    runs: npt.NDArray[np.int64], document: _Joined, nbytes: Mapping[int, int], item: str
) -> list[dict[str, int]]:
    """Each run, given the bytes of the document before each of its places."""
    of_item, told = _byte_places(item, runs[:, 2:]), []
    for a, b, c, d in runs.tolist():
        start_row, start, start_byte = document.place(a, nbytes[a])
        end_row, end, end_byte = document.place(b, nbytes[b], end=True)
        told.append(
            {
                "train_start": start,
                "train_end": end,
                "train_start_byte": start_byte,
                "train_end_byte": end_byte,
                "eval_start": c,
                "eval_end": d,
                "eval_start_byte": of_item[c],
                "eval_end_byte": of_item[d],
                "train_start_row": start_row,
                "train_end_row": end_row,
            }
        )
    return told


def _byte_places(text: str, characters: npt.NDArray[np.int64]) -> dict[int, int]:
    """Where each of some characters stands in the UTF-8 of a text."""
    places, done, nbytes = {}, 0, 0
    for place in sorted(set(characters.ravel().tolist())):
        nbytes += len(text[done:place].encode())
        places[place], done = nbytes, place
    return places
