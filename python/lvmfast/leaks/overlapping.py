"""Pairs of a document and an item that stands in it: as the core finds them, and what is kept of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.leaks.chunks import Documents
from lvmfast.leaks.evidence import NO_POSITION, Evidence
from lvmfast.leaks.tally import Rows

#: The strength of a pair in the core: a whole item too short to be a leak by itself, or a match.
SHORT, MATCH = 1, 2
#: What the core says of each pair, and evidence keeps.
DETAILS = (
    "covered",
    "weight",
    "tokens_covered",
    "words_covered",
    "longest",
    "in_8",
    "in_13",
    "window_start",  # counted from the row in which the stretch starts
    "window_end",
    "numbers_differ",
)


@dataclass(frozen=True)
class Alike:
    """Rows, or texts of rows, by the first one with their tokens."""

    rows: Rows  #: those of the same tokens stand behind each other, ascending
    ends: Rows  #: where those of each first one start, and the last ends

    @classmethod
    def of(cls, rows: Rows, firsts: Rows, there_are: int) -> Alike:
        """`rows`, ascending, given the first one like each of them, of so many rows that there are."""
        counts = np.bincount(firsts, minlength=there_are)
        return cls(rows[np.argsort(firsts, kind="stable")], np.concatenate([[0], np.cumsum(counts)]))

    def each(self, items: Rows) -> tuple[Rows, Rows]:
        """For each of `items`, all rows like it: (n,) the place of the item, and the row."""
        counts = self.ends[items + 1] - self.ends[items]
        place = np.repeat(np.arange(len(items)), counts)
        return place, self.rows[self.ends[items][place] + counted(counts)]


@dataclass(frozen=True)
class Places:
    """Where pairs stand in an evaluation set."""

    rows: Rows  #: (n,)
    size: Rows  #: (n,) how many rows each stands for
    texts: Rows | None = None  #: (n,) which text of its field each is, where a field may have several


def evidence_of(pairs: _core.OverlapPairs, these: Rows, documents: Documents, places: Places) -> Evidence:
    """Some of the pairs of documents, by the rows in which they start, and places."""
    nowhere, one = np.full(len(these), NO_POSITION, np.int64), np.ones(len(these), np.int64)
    details = {name: getattr(pairs, name)[these].astype(np.int64) for name in DETAILS}
    for name in ("window_start", "window_end"):
        details[name] -= pairs.row_token[these]
    details["rows"] = (pairs.near_end - pairs.row_start)[these]
    details["rows_before"] = (pairs.row_start - pairs.near_start)[these]
    details["tokens_before"] = (pairs.row_token - pairs.near_token)[these]
    return Evidence(
        documents.first_rows(pairs.document[these]) + pairs.row_start[these],
        nowhere,
        places.rows,
        nowhere if places.texts is None else places.texts,
        np.maximum(pairs.covered, pairs.in_document)[these] / pairs.weight[these],
        one,
        places.size,
        places.size,
        details,
    )


def rows_of(matches: Evidence) -> Rows:
    """The training rows in which stretches, and what is near them, stand; a row may come again."""
    if not len(matches):
        return matches.train_row
    before: Rows = matches.details["rows_before"]
    rows: Rows = before + matches.details["rows"]
    return np.repeat(matches.train_row - before, rows) + counted(rows)


def near_rows(pairs: _core.OverlapPairs, documents: Documents) -> Rows:
    """The training rows that evidence of the pairs shows, as `rows_of` gives them; a row may come again."""
    counts = pairs.near_end - pairs.near_start
    return np.repeat(documents.first_rows(pairs.document) + pairs.near_start, counts) + counted(counts)


def touched_rows(
    pairs: _core.OverlapPairs, which: npt.NDArray[np.bool_], documents: Documents
) -> tuple[Rows, Rows]:
    """The training rows that some pairs touch, and the pair of each, ascending."""
    touched = pairs.touched
    pair, first, end = touched[which[touched[:, 0]]].T
    of_pair = pair.repeat(end - first)
    starts = documents.first_rows(pairs.document[pair]) + first
    return starts.repeat(end - first) + counted(end - first), of_pair


def counted(counts: Rows) -> Rows:
    """0, 1, ... below each of `counts`, one after the other."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
