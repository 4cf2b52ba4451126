"""Training documents without the stretches in which evaluation items stand, and a margin around them.

The way of GPT-3 (Brown et al. 2020, appendix C), which has the same limits: what collides is cut out with 200
characters on either side, pieces under 200 characters are dropped, and documents in more than 10 pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus import Dataset
from lvmfast.corpus.keys import text_bytes
from lvmfast.corpus.rewriters.rows import Stretch
from lvmfast.leaks import memory
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.progress import Progress, read
from lvmfast.levels.overlap import index_bytes, leaks

#: A piece of fewer characters is dropped,
LEAST_CHARACTERS = 200
#: a document in more pieces is dropped whole,
MOST_PIECES = 10
#: and so is one in which an item stands when it was cut so often: each time the pieces are looked at anew.
MOST_LOOKS = 20

#: What became of a document: its pieces are kept, or why it was dropped.
Fate = Literal["cut", "too_short", "too_many_pieces", "still_matches"]
DROPPED: tuple[Fate, ...] = ("too_short", "too_many_pieces", "still_matches")


@dataclass
class Cut:
    """A document that was cut. Stretches are in characters of its text, disjoint and ascending."""

    characters: int
    removed: list[Stretch] = field(default_factory=list)  #: items with their margins
    pieces: list[Stretch] = field(default_factory=list)  #: what is left; none of a document that is dropped
    fate: Fate = "cut"

    @property
    def gone(self) -> int:
        """Characters that no piece has."""
        return self.characters - sum(end - start for start, end in self.pieces)


class Cutter:
    """The items of an evaluation side, and what is left of documents without them."""

    def __init__(self, items: Dataset, margin: int, options: ScanOptions, progress: Progress) -> None:
        """Reads the evaluation side; `margin` is in characters, `options` are those of the scan.

        Raises:
            DataError: the memory limit is too low, or a file is broken.
        """
        memory.check(memory.working_bytes(options) + index_bytes(items, options).all, options)
        self._margin, self._options = margin, options
        self._index = _core.OverlapIndex()
        for batch in read(items, ("text",), "index eval", options, progress):
            if batch.text is not None:
                self._index.add(*text_bytes(batch.text.fill_null("")), options.threads)
        self._index.close(options.threads)

    def cut(self, texts: Sequence[str]) -> list[Cut]:
        """What is left of each of `texts` when nothing in it matches any more."""
        cuts = [Cut(len(text)) for text in texts]
        pieces = [(row, (0, len(text))) for row, text in enumerate(texts)]
        for _ in range(MOST_LOOKS):
            pieces = list(self._cut_once(texts, cuts, pieces))
            begun = np.bincount([row for row, _ in pieces], minlength=len(texts))
            for row, cut in enumerate(cuts):
                if cut.fate == "cut" and len(cut.pieces) + begun[row] > MOST_PIECES:
                    cut.fate = "too_many_pieces"
            pieces = [(row, piece) for row, piece in pieces if cuts[row].fate == "cut"]
            if not pieces:
                break
        for row, _ in pieces:
            cuts[row].fate = "still_matches"
        for cut in cuts:
            if cut.fate == "cut" and not cut.pieces:
                cut.fate = "too_short"
            cut.pieces = sorted(cut.pieces) if cut.fate == "cut" else []
            cut.removed = list(_joined(0, cut.characters, 0, cut.removed))
        return cuts

    def _cut_once(
        self, texts: Sequence[str], cuts: Sequence[Cut], pieces: Sequence[tuple[int, Stretch]]
    ) -> Iterator[tuple[int, Stretch]]:
        """Keeps the pieces that hold no item; the others come back in pieces, to be looked at in turn."""
        held = self._stretches([texts[row][start:end] for row, (start, end) in pieces])
        for (row, (start, end)), found in zip(pieces, held, strict=True):
            if not found:
                cuts[row].pieces.append((start, end))
                continue
            removed = list(_joined(start, end, self._margin, found))
            cuts[row].removed += removed
            borders = [start, *(at for stretch in removed for at in stretch), end]
            for low, high in zip(borders[::2], borders[1::2], strict=True):
                if high - low >= LEAST_CHARACTERS:
                    yield row, (low, high)

    def _stretches(self, texts: Sequence[str]) -> Iterator[list[Stretch]]:
        """Where items stand in each text: for each from the first to the last run that both have."""
        pairs = self._index.scan(*text_bytes(pa.array(texts, pa.large_string())), self._options.threads)
        these = np.flatnonzero(leaks(pairs, self._options))
        windows = np.stack([pairs.window_start, pairs.window_end], axis=1)[these].astype(np.int64)
        firsts = np.searchsorted(pairs.document[these], np.arange(len(texts) + 1)).tolist()
        for text, (first, last) in zip(texts, pairwise(firsts), strict=True):
            # Most pieces hold none, and are not looked through for it.
            found = _core.overlap_stretches(text, windows[first:last]).tolist() if first < last else []
            yield [(start, end) for start, end in found]


def _joined(start: int, end: int, margin: int, found: Iterable[Stretch]) -> Iterator[Stretch]:
    """Stretches of a piece of a text with their margins, in characters of the text; those that meet are one.

    The piece stands from `start` to `end`, and `found` is in characters of the piece.
    """
    open_: Stretch | None = None
    for low, high in sorted(found):
        low, high = max(start, start + low - margin), min(end, start + high + margin)
        if open_ is not None and low <= open_[1]:
            open_ = open_[0], max(open_[1], high)
            continue
        if open_ is not None:
            yield open_
        open_ = low, high
    if open_ is not None:
        yield open_
