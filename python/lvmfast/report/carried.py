"""The matches that a page carries: compressed blocks, which its script (`script/`) unpacks in a browser.

The first block is an object of columns, one value a match; the others are lists of texts, to which the
columns `text` point. Each is JSON in UTF-8, deflated (RFC 1950), in base64: nothing of it is markup.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvmfast.corpus.plain import arrow_numbers, arrow_scalar, numpy_numbers
from lvmfast.corpus.sides import SIDES, Side
from lvmfast.levels import LEVELS
from lvmfast.report.carried_texts import CarriedTexts, packed, texts_of
from lvmfast.report.decisions import decisions_on
from lvmfast.report.lines import Lines

#: Matches that a page carries at most; of more, the strongest of each level.
MOST_MATCHES = 100_000
#: Bytes of distinct texts, before they are compressed, that a page carries (but for the shortest cut).
TEXT_BYTES = 48 << 20
#: Characters of each text: the first of these with which all texts fit.
CUTS = tuple(n << power for power in range(14, 5, -1) for n in (4, 3))

Places = npt.NDArray[np.int64]
#: What is told of the row of a match on each side, beside its file and its text.
_OF_ROW = ("row", "doc_id", "chunk_id", "position", "count")
_OF_HUB = re.compile(r"datasets--([^/\\]+?)--([^/\\]+)")


@dataclass(frozen=True)
class Carried:
    """What a page has of its matches.

    Attributes:
        config: what the script has to know, as JSON values.
        blocks: in base64; none where a server has the matches.
        said: sentences about what is there and what is not.
    """

    config: Mapping[str, Any]
    blocks: Sequence[str] = ()
    said: str = ""


def carried(
    summary: Mapping[str, Any],
    matches: pa.Table,
    overlaps: pa.Table | None = None,
    decided: pa.Table | None = None,
) -> Carried:
    """What a page carries of `matches`, at least one, with the runs of `overlaps` and what is `decided`.

    Deterministic. Beside the tables it holds at most `TEXT_BYTES` of texts, or `MOST_MATCHES` pairs of texts
    of the shortest cut.
    """
    places = _chosen(matches)
    rows = matches.drop_columns([f"{side}_text" for side in SIDES]).take(arrow_numbers(places))
    of_rows = rows["level"].to_pylist()
    levels = [name for name in LEVELS if name in set(of_rows)]
    files = _Files(summary)
    texts = CarriedTexts(_cut(matches, rows, places))
    for match in texts_of(matches, overlaps, places):
        texts.add(match)
    columns = texts.columns()
    for side in SIDES:
        columns[side]["file"] = files.numbers(side, rows[f"{side}_file"].to_pylist())
        for name in _OF_ROW:
            column = rows[f"{side}_{name}"]
            if column.null_count < len(column):
                columns[side][name] = column.to_pylist()
    columns |= {"place": places.tolist(), "score": rows["score"].to_pylist()}
    columns["level"] = [levels.index(name) for name in of_rows]
    if decided is not None and len(decided):
        columns["decision"] = decisions_on(rows, decided)
    config = {
        "one_set": "eval" not in summary["inputs"],
        "source": "block",
        "decided": "decision" in columns,
        "carried": len(places),
        "levels": [described(name) for name in levels],
        "fields": list(texts.fields),
        "files": files.described,
    }
    blocks = [packed(columns), *texts.blocks]
    return Carried(config, blocks, _said(len(places), len(matches), texts))


def described(level: str) -> dict[str, Any]:
    """What the script has to know of a level."""
    of = LEVELS[level]
    return {
        "name": level,
        "cosine": of.cosine,
        "excerpts": of.excerpts,
        "alike": of.names_texts,
        "keyed": of.keys is not None,
    }


def benchmark_of(path: str) -> str:
    """What the evaluation set of a file is called: a data set of a hub, or the name of the file."""
    if of_hub := _OF_HUB.search(path):
        return "/".join(of_hub.groups())
    name = re.split(r"[/\\]", path)[-1]
    return name.split(".")[0] or name


class _Files:
    """The files of a scan by number, as far as they come up."""

    def __init__(self, summary: Mapping[str, Any]) -> None:
        self._sides = summary["inputs"]
        self._lines = Lines(summary)
        self._numbers: dict[tuple[str, str], int] = {}
        self.described: list[dict[str, Any]] = []

    def numbers(self, side: Side, names: Sequence[str | None]) -> list[int | None]:
        """The number of each file of one side; of one split, both sides are the same."""
        of = side if side in self._sides else "train"
        return [None if name is None else self._number(of, name) for name in names]

    def _number(self, side: Side, name: str) -> int:
        number = self._numbers.setdefault((side, name), len(self._numbers))
        if number == len(self.described):
            told = {"name": name, "first_line": self._lines.first(side, name)}
            self.described.append(told | {"benchmark": benchmark_of(name) if side == "eval" else None})
        return number


def _chosen(matches: pa.Table) -> Places:
    """Which matches are carried, ascending: the strongest of each level, as many as there is room for."""
    if len(matches) <= MOST_MATCHES:
        return np.arange(len(matches))
    of_levels = [
        numpy_numbers(pc.indices_nonzero(pc.equal(matches["level"], arrow_scalar(name)))).astype(np.int64)
        for name in LEVELS
    ]
    of_levels = sorted((rows for rows in of_levels if len(rows)), key=len)
    kept, room = [], MOST_MATCHES
    for left, rows in zip(range(len(of_levels), 0, -1), of_levels, strict=True):
        scores = matches["score"].take(arrow_numbers(rows)).combine_chunks()
        best = np.argsort(-numpy_numbers(scores), kind="stable")[: room // left]
        kept.append(rows[best])
        room -= len(best)
    return np.sort(np.concatenate(kept))


def _cut(matches: pa.Table, rows: pa.Table, places: Places) -> int:
    """Characters that are carried of each text at most; `rows` are the matches at `places`, without texts."""
    stretch = np.array([LEVELS[name].excerpts for name in rows["level"].to_pylist()])
    lengths, nbytes, chars = [], 0, 0
    for side in SIDES:
        texts = matches[f"{side}_text"]
        points = numpy_numbers(pc.fill_null(pc.utf8_length(texts), arrow_scalar(0)).combine_chunks())
        nbytes += pc.sum(pc.binary_length(texts)).as_py() or 0
        chars += int(points.sum())
        # A row has one text, but for stretches of it.
        names = pc.fill_null(rows[f"{side}_file"], arrow_scalar("")).combine_chunks()
        file = numpy_numbers(names.dictionary_encode().indices).astype(np.int64)
        row = numpy_numbers(pc.fill_null(rows[f"{side}_row"], arrow_scalar(-1)).combine_chunks())
        own = np.where(stretch & (side == "train"), np.arange(len(row)), -1)
        _, first = np.unique(np.stack([file, row, own]), axis=1, return_index=True)
        lengths.append(points[places][first])
    each = np.concatenate(lengths)
    room = TEXT_BYTES * chars / max(nbytes, 1)
    return next((cut for cut in CUTS if np.minimum(each, cut).sum() <= room), CUTS[-1])


def _said(carried: int, all_: int, texts: CarriedTexts) -> str:
    said = [f"This page has {'the only match' if all_ == 1 else f'all {all_:,} matches'} of the evidence."]
    if carried < all_:
        said = [
            f"This page has {carried:,} of the {all_:,} matches of the evidence: the strongest of each "
            "level. Filters and the search go through these alone."
        ]
    if texts.cut:
        said.append(
            f"It has up to {texts.most:,} characters of each text, around what matched; where a text is "
            "longer, the match says so, and the search looks at that part alone."
        )
    return " ".join(said)
