"""Fields of evaluation items that stand in training texts without their question: a passage, an answer."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Batch, Column
from lvmfast.corpus.keys import text_bytes
from lvmfast.corpus.plain import distinct
from lvmfast.corpus.values import SEPARATOR
from lvmfast.leaks.chunks import Documents
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.overlapping import MATCH, Alike, Places, counted, evidence_of, touched_rows
from lvmfast.leaks.results import Holders, LevelResult
from lvmfast.leaks.tally import NO_ROWS, Rows, Tally

#: A text of fewer words is not looked for alone: it stands in many documents of its own right.
LEAST_WORDS = 8


class FieldAlone:
    """One field of the evaluation items, with an index of its own.

    Each text of a row that has several is an item; those of equal tokens are compared once.
    """

    def __init__(self, column: Column, options: ScanOptions) -> None:
        """Nothing read yet."""
        self.column = column
        self._options = options
        self.items = _core.OverlapIndex()  #: the texts
        self._rows: list[Rows] = [NO_ROWS]
        self._texts: list[Rows] = [NO_ROWS]

    @property
    def name(self) -> str:
        """What is found goes by it."""
        return f"{self.column}_alone"

    @property
    def nbytes(self) -> int:
        """Bytes held by the index."""
        return self.items.nbytes

    def index(self, batch: Batch) -> None:
        """Takes the field of the next items."""
        values = cast("pa.Array | None", getattr(batch, self.column))
        if values is None or values.null_count == batch.rows:
            return
        import pyarrow.compute as pc  # which takes a while to load, for a set that has the field

        lists = pc.split_pattern(values, SEPARATOR)
        row = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
        self.items.add(*text_bytes(lists.flatten().cast(pa.large_string())), self._options.threads)
        self._rows.append(batch.start + row)
        self._texts.append(np.arange(len(row)) - np.searchsorted(row, row))

    def close(self, questions: _core.OverlapIndex, same_as: Rows) -> bool:
        """Ends the indexing; whether any text is long enough to be looked for.

        Args:
            questions: those of the items, to which none is added any more.
            same_as: the first evaluation row with the question of each.
        """
        self.items.end(self._options.threads)
        self._questions, self._question = questions, same_as
        self._row, self._text = np.concatenate(self._rows), np.concatenate(self._texts)
        texts = np.arange(len(self._row))
        self._like = self.items.same_as()
        self._alike = Alike.of(texts, self._like, len(texts))
        self._of_question = Alike.of(texts, same_as[self._row], len(same_as))
        return bool((self.items.words() >= LEAST_WORDS).any())

    def turn(self, block: int, of: int) -> None:
        """As `InBlocks.turn`; which questions a block has says nothing of its texts."""
        self._blocks = of
        self.items.turn(block, of, self._options.threads)

    def stream(
        self, documents: Documents, questions: _core.OverlapPairs
    ) -> tuple[LevelResult, npt.NDArray[np.bool_]]:
        """What stands alone in documents, and (pairs,) whether the field stands beside each question.

        Args:
            documents: those that are looked at.
            questions: those of a block that stand in the documents, by document and item.
        """
        pairs = self.items.scan(*documents.packed, self._options.threads, documents.starts)
        these = np.flatnonzero(pairs.strength == MATCH)
        place, text = self._alike.each(pairs.item[these])
        document, row = pairs.document[these][place], self._row[text]
        known = self._key(questions.document, questions.item)
        key = self._key(document, self._question[row])
        if self._blocks == 1:
            beside, alone = np.isin(known, key), ~np.isin(key, known)
        else:
            asked = self._standing(self._questions, documents, document, self._question[row])
            beside, alone = self._beside(documents, questions), ~np.isin(key, self._key(*asked))
        if not alone.any():
            return LevelResult({}), beside
        place, text, document, row = place[alone], text[alone], document[alone], row[alone]
        which, first, size = np.unique(place, return_index=True, return_counts=True)
        places = Places(row[first], size, self._text[text[first]])
        matches = evidence_of(pairs, these[which], documents, places)
        found = np.zeros(len(pairs), np.bool_)
        found[these[which]] = True
        train, _ = touched_rows(pairs, found, documents)
        held = np.unique(np.stack([document, row]), axis=1)
        if self._blocks > 1:
            held = self._held_first(documents, document, row, self._like[text])
        return (
            LevelResult(
                {"train": _rows(train), "eval": _rows(row)},
                matches,
                len(matches),
                holders=Holders.of(held[1], np.ones(held.shape[1], np.int64)),
            ),
            beside,
        )

    def _key(self, document: Rows, question: Rows) -> Rows:
        return document * len(self._question) + question

    def _standing(
        self, index: _core.OverlapIndex, documents: Documents, which: Rows, among: Rows
    ) -> tuple[Rows, Rows]:
        """The pairs of some documents and of some items of whatever block: the document and the item of each.

        Texts are matches.
        """
        if not len(which):
            return NO_ROWS, NO_ROWS
        which = distinct(which)
        pairs = index.scan(*text_bytes(documents.joined(which)), self._options.threads, None, distinct(among))
        found = slice(None) if index is self._questions else pairs.strength == MATCH
        return which[pairs.document[found]], pairs.item[found]

    def _beside(self, documents: Documents, questions: _core.OverlapPairs) -> npt.NDArray[np.bool_]:
        """(pairs,): whether a text of the field, of whatever block, stands beside each question."""
        pair, text = self._of_question.each(questions.item)
        document, like = questions.document[pair], self._like[text]
        there = np.stack(self._standing(self.items, documents, document, like))
        beside = np.zeros(len(questions), np.bool_)
        texts = len(self._like)
        beside[pair[np.isin(document * texts + like, there[0] * texts + there[1])]] = True
        return beside

    def _held_first(self, documents: Documents, document: Rows, row: Rows, like: Rows) -> Rows:
        """(2, n): the documents and rows of which no text of an earlier block stands there.

        Args:
            documents: those that are looked at.
            document: (n,) of each text that stands alone.
            row: (n,) its row.
            like: (n,) the first text with its tokens, of which blocks have the lower ones first.
        """
        firsts, ends = np.searchsorted(self._row, row), np.searchsorted(self._row, row, side="right")
        counts = ends - firsts
        several = np.flatnonzero(counts > 1)
        pair = several.repeat(counts[several])
        other = self._like[firsts[pair] + counted(counts[several])]
        there = np.stack(self._standing(self.items, documents, document[pair], other))
        texts = len(self._like)
        stands = np.isin(document[pair] * texts + other, there[0] * texts + there[1])
        least, here = like.copy(), np.full(len(like), texts)
        np.minimum.at(least, pair[stands], other[stands])
        held, of = np.unique(np.stack([document, row]), axis=1, return_inverse=True)
        of = of.ravel()
        np.minimum.at(here, of, like)
        keep = np.ones(held.shape[1], np.bool_)
        keep[of[least < here[of]]] = False
        return held[:, keep]


def _rows(rows: Rows) -> Tally:
    once = distinct(rows)
    return Tally.of_matches(once, np.ones(len(once)))
