"""The parquet table of the level overlap: where an evaluation text stands in a training text, run by run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.plain import arrow_large_texts, arrow_numbers, arrow_texts, distinct, numpy_numbers
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.corpus.values import SEPARATOR
from lvmfast.leaks.evidence import NO_ROW, Evidence
from lvmfast.leaks.findings import Findings, LevelFinding
from lvmfast.leaks.tally import Rows
from lvmfast.levels import LEVELS
from lvmfast.report.tables import MATCH, LooksUp, locate

Numbers: TypeAlias = npt.NDArray[np.int64]

ENDS = ("start", "end")
#: Where an answer stands: in characters of the texts of these rows.
ANSWER = ("answer_start", "answer_end", "answer_start_row", "answer_end_row")
#: What both sides have there.
TEXTS = ("train_text", "train_text_with_answer", "train_before", "train_after", "eval_text")
#: Characters that are kept before and behind what stands in a training text.
AROUND = 200
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
        ("train_before", pa.large_string()),
        ("train_after", pa.large_string()),
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
    told = _stretches(matches, numpy_numbers(train[1]), datasets, kind.column)
    assert finding.holders is not None
    held = finding.holders.train_rows[np.searchsorted(finding.holders.eval_row, matches.eval_row)]
    counts = {
        name: arrow_numbers(matches.details[name]).cast(OVERLAPS.field(name).type)
        for name in ("tokens_covered", "words_covered", "longest", "in_8", "in_13", "numbers_differ")
    }
    columns = {
        "strength": arrow_texts([kind.strength], np.zeros(len(matches), np.int64)),
        "coverage": arrow_numbers(matches.score),
        "train_file": train[0],
        "train_row": train[1],
        "eval_file": eval_[0],
        "eval_row": eval_[1],
        "train_rows": arrow_numbers(held),
        **counts,
        "fields": _fields(kind, matches),
        **told,
    }
    return pa.table([columns[name] for name in OVERLAPS.names], schema=OVERLAPS)


def _fields(kind: Kind, matches: Evidence) -> pa.Array:
    """What of the item stands at each match, in a list."""
    if kind.column == "text":
        stands = {
            "question": np.ones(len(matches), np.bool_),
            "passage": matches.details.get("passage", np.zeros(len(matches))) != 0,
            "answer": matches.details["answer"] != NO_ROW,
        }
    else:
        stands = {kind.column: np.ones(len(matches), np.bool_)}
    by_match = np.stack(list(stands.values()), axis=1)
    return _lists(by_match.sum(axis=1), arrow_texts(list(stands), np.nonzero(by_match)[1]))


def _lists(lengths: Numbers, values: pa.Array) -> pa.Array:
    """Lists of so many of the values each."""
    return pa.ListArray.from_arrays(arrow_numbers(np.cumsum([0, *lengths], dtype=np.int32)), values)


def _stretches(
    matches: Evidence, file_rows: Rows, datasets: Mapping[Side, LooksUp], column: Column
) -> dict[str, pa.Array]:
    """The texts and runs of each match, by column of the table, given the row of its file where it begins.

    Of documents, the stretches alone are kept.
    """
    rows, item_of = np.unique(matches.eval_row, return_inverse=True)
    items = datasets["eval"].take(rows, [column])[column].to_pylist()
    which = matches.eval_position.tolist()
    answers = _answers(matches, datasets["eval"])
    windows = np.stack([matches.details["window_start"], matches.details["window_end"]], axis=1)
    texts: dict[str, list[str | None]] = {name: [] for name in TEXTS}
    runs: list[Numbers] = []
    documents = _Joined()
    near = np.zeros((len(matches), 2), np.int64)  # of the answer, in characters; 0 is the end of none
    for row, before, tokens, of_rows in _documents(datasets["train"], matches):
        here = slice(*np.searchsorted(matches.train_row, (row, row + 1)))
        shown = [items[item] for item in item_of[here].tolist()]
        if column != "text":
            shown = [of_row.split(SEPARATOR)[place] for of_row, place in zip(shown, which[here], strict=True)]
        document = documents.add(of_rows, int(file_rows[here.start]) - before, len(shown))
        within = windows[here] + tokens
        found = _core.overlap_spans(document, shown, within)
        if any(answers[here]):
            asked = list(zip(shown, answers[here], strict=True))
            near[here] = _core.overlap_answers(document, asked, within)
        for item, spans, (first, last) in zip(shown, found, near[here].tolist(), strict=True):
            low, high = int(spans[:, 0].min()), int(spans[:, 1].max())
            begin, end = (min(low, first), max(high, last)) if last else (low, high)
            texts["train_text"].append(document[low:high])
            texts["train_text_with_answer"].append(document[begin:end] if last else None)
            texts["train_before"].append(document[max(begin - AROUND, 0) : begin])
            texts["train_after"].append(document[end : end + AROUND])
            texts["eval_text"].append(item)
        runs += found
    told = {name: arrow_large_texts(of_matches) for name, of_matches in texts.items()}
    return {**told, **_places(documents, runs, near)}


def _places(documents: _Joined, runs: Sequence[Numbers], near: Numbers) -> dict[str, pa.Array]:
    """Where the runs of n matches, and the answers near them (n, 2), stand, by column of the table."""
    counts = np.array([len(spans) for spans in runs])
    ends = np.concatenate([[0], np.cumsum(counts)])
    a, b, c, d, a_byte, b_byte, c_byte, d_byte = np.concatenate(runs).T
    of_match = np.arange(len(runs))
    of_run = np.repeat(of_match, counts)
    start_row, start, start_byte = documents.place(of_run, a, a_byte)
    end_row, end, end_byte = documents.place(of_run, b, b_byte, end=True)
    of_runs = {
        "train_start": start,
        "train_end": end,
        "train_start_byte": start_byte,
        "train_end_byte": end_byte,
        "eval_start": c,
        "eval_end": d,
        "eval_start_byte": c_byte,
        "eval_end_byte": d_byte,
        "train_start_row": start_row,
        "train_end_row": end_row,
    }
    low, high = (ufunc.reduceat(place, ends[:-1]) for ufunc, place in ((np.minimum, a), (np.maximum, b)))
    _, train_start, _ = documents.place(of_match, low, low)
    train_end_row, train_end, _ = documents.place(of_match, high, high, end=True)
    none = near[:, 1] == 0
    answer_start_row, answer_start, _ = documents.place(of_match, near[:, 0], near[:, 0])
    answer_end_row, answer_end, _ = documents.place(of_match, near[:, 1], near[:, 1], end=True)
    answer = zip(ANSWER, (answer_start, answer_end, answer_start_row, answer_end_row), strict=True)
    return {
        "train_start": arrow_numbers(train_start),
        "train_end": arrow_numbers(train_end),
        "train_end_row": arrow_numbers(train_end_row),
        **{name: arrow_numbers(values, none) for name, values in answer},
        "runs": _lists(
            counts,
            pa.StructArray.from_arrays(
                [arrow_numbers(of_runs[field.name]) for field in RUN], fields=list(RUN)
            ),
        ),
    }


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
    """Documents, each the texts of consecutive rows with a line break between: in which row a place is."""

    def __init__(self) -> None:
        """None yet."""
        self._rows: list[int] = []  #: of the files, of all documents
        self._starts: list[int] = []  #: in characters of all documents, one after another
        self._bytes: list[int] = []  #: of its document before each row
        self._length = 0
        self._of_match: list[int] = []  #: where its document starts in characters of all

    def add(self, texts: Sequence[str], row: int, matches: int) -> str:
        """The next document, in which so many matches are; `row` is that of its first text."""
        self._of_match += [self._length] * matches
        nbytes = 0
        for number, text in enumerate(texts, row):
            self._rows.append(number)
            self._starts.append(self._length)
            self._bytes.append(nbytes)
            self._length += len(text) + 1
            nbytes += len(text.encode()) + 1
        return "\n".join(texts)

    def place(
        self, match: Numbers, characters: Numbers, nbytes: Numbers, *, end: bool = False
    ) -> tuple[Numbers, Numbers, Numbers]:
        """The rows of the files in which places of the documents are, and their characters and bytes there.

        With `end`, of what ends there.
        """
        starts = np.array(self._starts)
        places = np.array(self._of_match)[match] + characters
        at = np.maximum(np.searchsorted(starts, places - end, "right") - 1, 0)
        return np.array(self._rows)[at], places - starts[at], nbytes - np.array(self._bytes)[at]


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
