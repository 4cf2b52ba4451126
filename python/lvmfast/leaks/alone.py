"""Fields of evaluation items that stand in training texts without their question: a passage, an answer."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Batch, Column
from lvmfast.corpus.keys import text_bytes
from lvmfast.corpus.values import SEPARATOR
from lvmfast.leaks.chunks import Documents
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.overlapping import MATCH, Alike, Places, evidence_of, touched_rows
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
        self._index = _core.OverlapIndex()
        self._rows: list[Rows] = [NO_ROWS]
        self._texts: list[Rows] = [NO_ROWS]

    @property
    def name(self) -> str:
        """What is found goes by it."""
        return f"{self.column}_alone"

    @property
    def nbytes(self) -> int:
        """Bytes held by the index."""
        return self._index.nbytes

    def index(self, batch: Batch) -> None:
        """Takes the field of the next items."""
        import pyarrow.compute as pc

        values = cast("pa.Array | None", getattr(batch, self.column))
        if values is None or values.null_count == batch.rows:
            return
        lists = pc.split_pattern(values, SEPARATOR)
        row = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
        self._index.add(*text_bytes(lists.flatten().cast(pa.large_string())), self._options.threads)
        self._rows.append(batch.start + row)
        self._texts.append(np.arange(len(row)) - np.searchsorted(row, row))

    def close(self) -> bool:
        """Ends the indexing; whether any text is long enough to be looked for."""
        self._index.close(self._options.threads)
        same_as = self._index.same_as()
        self._row, self._text = np.concatenate(self._rows), np.concatenate(self._texts)
        self._alike = Alike.of(np.arange(len(same_as)), same_as)
        return bool((self._index.words() >= LEAST_WORDS).any())

    def stream(
        self, documents: Documents, questions: _core.OverlapPairs, same_as: Rows
    ) -> tuple[LevelResult, npt.NDArray[np.bool_]]:
        """What stands alone in documents, and (pairs,) whether the field stands beside each question.

        Args:
            documents: those that are looked at.
            questions: those that stand in the documents, by document and item.
            same_as: the first evaluation row with the question of each.
        """
        pairs = self._index.scan(*documents.packed, self._options.threads, documents.starts)
        these = np.flatnonzero(pairs.strength == MATCH)
        place, text = self._alike.each(pairs.item[these])
        document, row = pairs.document[these][place], self._row[text]
        known = questions.document * len(same_as) + questions.item
        key = document * len(same_as) + same_as[row]
        beside = np.isin(known, key)
        alone = ~np.isin(key, known)
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
        return (
            LevelResult(
                {"train": _rows(train), "eval": _rows(held[1])},
                matches,
                len(matches),
                holders=Holders.of(held[1], np.ones(held.shape[1], np.int64)),
            ),
            beside,
        )


def _rows(rows: Rows) -> Tally:
    once = np.unique(rows)
    return Tally.of_matches(once, np.ones(len(once)))
