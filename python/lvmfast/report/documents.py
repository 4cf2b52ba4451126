"""Which documents the matched rows belong to, and which leak most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Rows
from lvmfast.corpus.plain import arrow_scalar, distinct_numbers, numpy_numbers
from lvmfast.corpus.sides import Side
from lvmfast.leaks.findings import Findings
from lvmfast.report.tables import LooksUp

MOST_NAMED = 20  #: documents that the summary names; how many there are is never cut


@dataclass(frozen=True)
class MatchedDocuments:
    """The document of every matched row of one side."""

    side: Side
    rows: Rows  #: ascending rows of the dataset
    document: npt.NDArray[np.int64]  #: place of each row's id in `names`; len(names) where it is null
    names: tuple[str, ...]  #: document ids in order of first appearance

    def described(self, findings: Findings) -> dict[str, Any]:
        """The part `documents` of the summary: rows of `findings` by document, most rows first.

        Every row of `findings` that matched on this side must be among `rows`. Ties go to the document that
        comes first.
        """
        counts = len(self.names) + 1  # the last one is that of null ids
        by_level = {}
        matched = np.zeros(len(self.rows), np.bool_)
        for level, finding in findings.levels.items():
            if finding.status != "not_checkable" and self.side in finding.sides:
                places = np.searchsorted(self.rows, finding.sides[self.side].counted_rows)
                matched[places] = True
                by_level[level] = np.bincount(self.document[places], minlength=counts)
        rows = np.bincount(self.document[matched], minlength=counts)
        named = rows[:-1]
        worst = np.argsort(-named, kind="stable")[: min(MOST_NAMED, np.count_nonzero(named))]
        return {
            "side": self.side,
            "count": int(np.count_nonzero(named)),
            "rows": int(named.sum()),
            "rows_without_id": int(rows[-1]),
            "top": [
                {
                    "doc_id": self.names[place],
                    "rows": int(named[place]),
                    "levels": {level: int(n[place]) for level, n in by_level.items() if n[place]},
                }
                for place in worst.tolist()
            ],
        }


def matched_documents(findings: Findings, side: Side, dataset: LooksUp) -> MatchedDocuments | None:
    """Looks up the document of every matched row of `side`; None where `dataset` has no document ids.

    Raises:
        DataError: the files changed or are broken.
    """
    if "doc_id" not in dataset.columns:
        return None
    matched = [
        finding.sides[side].matched_rows
        for finding in findings.levels.values()
        if finding.status != "not_checkable" and side in finding.sides
    ]
    rows = distinct_numbers(matched)
    if not len(rows):
        return MatchedDocuments(side, rows, rows, ())
    ids = dataset.take(rows, ["doc_id"])["doc_id"].combine_chunks().cast(pa.large_string())
    encoded = ids.dictionary_encode()
    names = tuple(encoded.dictionary.to_pylist())
    beyond = arrow_scalar(len(names)).cast(encoded.indices.type)
    places = numpy_numbers(encoded.indices.fill_null(beyond)).astype(np.int64)
    return MatchedDocuments(side, rows, places, names)
