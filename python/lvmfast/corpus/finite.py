"""Vectors that are no numbers: refused by file and row where they would make figures of nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.documents import Documents
from lvmfast.corpus.sequences import Sequences
from lvmfast.errors import DataError

#: Values that are looked at at a time.
_VALUES = 1 << 22


def finite_rows(vectors: Vectors) -> npt.NDArray[np.bool_]:
    """Which of the (n, d) vectors are numbers throughout; takes no memory of their size."""
    finite: npt.NDArray[np.bool_] = np.isfinite(vectors.min(axis=1)) & np.isfinite(vectors.max(axis=1))
    return finite


def check_finite(sequences: Sequences | Documents, rows: Rows) -> None:
    """Holds targets and contexts of some rows to finite values.

    Raises:
        DataError: one has NaN or an infinite value; the first is named, and the others are counted.
    """
    bad: list[int] = []
    block = max(1, _VALUES // (sequences.dim * (sequences.length + 1)))
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        targets, contexts = np.isfinite(sequences.targets(part)), np.isfinite(sequences.contexts(part))
        bad += part[~(targets.all(1) & contexts.all((1, 2)))].tolist()
    if bad:
        file, row = sequences.locate(bad[0])
        doc, chunk = sequences.keys[bad[0]].tolist()
        what = "context" if np.isfinite(sequences.targets(np.asarray(bad[:1]))).all() else "vector"
        raise DataError(
            f"{file}: row {row} (doc_id {doc}, chunk_id {chunk}): its {what} has values "
            f"that are NaN or infinite (such rows: {len(bad):,} of {len(rows):,}); "
            "embed them again, or leave them out"
        )
