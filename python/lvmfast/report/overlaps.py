"""The parquet table of the level overlap: where an evaluation text stands in a training text, run by run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Column
from lvmfast.corpus.plain import arrow_numbers
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.corpus.values import SEPARATOR
from lvmfast.leaks.evidence import NO_ROW, Evidence
from lvmfast.leaks.findings import Findings, LevelFinding
from lvmfast.levels import LEVELS
from lvmfast.report.tables import MATCH, LooksUp, locate

#: Where a run of equal tokens stands: in characters of both texts, and in bytes of their UTF-8.
RUN = pa.struct(
    [
        (f"{side}_{end}{unit}", pa.int64())
        for side in SIDES
        for unit in ("", "_byte")
        for end in ("start", "end")
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
        ("answer_start", pa.int64()),
        ("answer_end", pa.int64()),
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
    parts = [OVERLAPS.empty_table()]
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
    told = _stretches(matches, datasets, kind.column)
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


def _stretches(matches: Evidence, datasets: Mapping[Side, LooksUp], column: Column) -> list[dict[str, Any]]:
    """The texts and runs of each match; of documents, the stretches alone are kept."""
    rows, item_of = np.unique(matches.eval_row, return_inverse=True)
    items = datasets["eval"].take(rows, [column])[column]
    which = matches.eval_position.tolist()
    answers = _answers(matches, datasets["eval"])
    told: list[dict[str, Any]] = [{}] * len(matches)
    windows = np.stack([matches.details["window_start"], matches.details["window_end"]], axis=1)
    for row, text in _documents(datasets["train"], np.unique(matches.train_row)):
        here = slice(*np.searchsorted(matches.train_row, (row, row + 1)))
        shown = items.take(pa.array(item_of[here])).to_pylist()
        if column != "text":
            shown = [texts.split(SEPARATOR)[place] for texts, place in zip(shown, which[here], strict=True)]
        spans = _core.overlap_spans(text, shown, windows[here])
        answered = _core.overlap_answers(text, list(zip(shown, answers[here], strict=True)), windows[here])
        nbytes = _byte_places(text, np.array([runs[:, 0].min() for runs in spans]))
        found = zip(shown, spans, answered.tolist(), strict=True)
        for place, (item, runs, (start, end)) in enumerate(found, here.start):
            low, high = int(runs[:, 0].min()), int(runs[:, 1].max())
            runs[:, :2] -= low
            stretch = text[low:high]
            told[place] = {
                "train_start": low,
                "train_end": high,
                "answer_start": start if end else None,
                "answer_end": end or None,
                "runs": _runs(runs, stretch, item, low, nbytes[low]),
                "train_text": stretch,
                "train_text_with_answer": text[min(low, start) : max(high, end)] if end else None,
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


def _documents(dataset: LooksUp, rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, str]]:
    for piece in dataset.taken(rows, ["text"]):
        for row, text in zip(piece["row"].to_pylist(), piece["text"], strict=True):
            yield row, text.as_py()


def _runs(
    runs: npt.NDArray[np.int64], stretch: str, item: str, characters: int, nbytes: int
) -> list[dict[str, int]]:
    """Each run, given how many characters and bytes stand before the stretch."""
    train, eval_ = _byte_places(stretch, runs[:, :2]), _byte_places(item, runs[:, 2:])
    return [
        {
            "train_start": characters + a,
            "train_end": characters + b,
            "train_start_byte": nbytes + train[a],
            "train_end_byte": nbytes + train[b],
            "eval_start": c,
            "eval_end": d,
            "eval_start_byte": eval_[c],
            "eval_end_byte": eval_[d],
        }
        for a, b, c, d in runs.tolist()
    ]


def _byte_places(text: str, characters: npt.NDArray[np.int64]) -> dict[int, int]:
    """Where each of some characters stands in the UTF-8 of a text."""
    places, done, nbytes = {}, 0, 0
    for place in np.unique(characters).tolist():
        nbytes += len(text[done:place].encode())
        places[place], done = nbytes, place
    return places
