"""Queries and pools as arrays that the core takes, and which of their rows have a direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError

#: Usability codes of the core, from 1 on.
REASONS = ("zero", "NaN", "infinite", "of a norm below the smallest normal float32")
_NOT_FINITE = (2, 3)


def check_rows(name: str, rows: Any) -> None:
    """Refuses what is not (n, d) floats with a row and a component.

    Raises:
        DataError: it is not.
    """
    if rows.ndim != 2 or rows.dtype.kind != "f" or 0 in rows.shape:
        raise DataError(f"{name}: expected (n, d) floats, n and d at least 1, got {rows.shape} {rows.dtype}")


def float_rows(name: str, array: Any) -> Vectors:
    """`array` as C-contiguous float32, (n, d); not copied where it is that already.

    Raises:
        DataError: as `check_rows`.
    """
    rows = np.asarray(array)
    check_rows(name, rows)
    return np.ascontiguousarray(rows, np.float32)


def pair_scores(left: Vectors, i: Rows, right: Vectors, j: Rows, threads: int = 0) -> npt.NDArray[np.float64]:
    """The cosine (k,) of left row i[k] with right row j[k]: the core's, NaN where either has no direction."""
    scores = np.empty(len(i))
    step = max(1, (8 << 20) // left.shape[1])
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        scores[part] = _core.window_cosines(left[i[part]], right[j[part]][:, None], threads)[0][:, 0]
    return scores


def usability(rows: Vectors, threads: int = 0) -> npt.NDArray[np.uint8]:
    """The usability code (n,) of each row, as in `_core.NearIndex`."""
    return _core.describe_rows(rows, threads)[0]


def usable_queries(queries: Vectors, threads: int = 0) -> npt.NDArray[np.bool_]:
    """Which queries (q,) have a direction; one that is zero, or as good as, has none.

    Raises:
        DataError: a query is NaN or infinite, which no model should predict.
    """
    codes = usability(queries, threads)
    wrong = np.flatnonzero(np.isin(codes, _NOT_FINITE))
    if len(wrong):
        raise DataError(
            f"queries: {len(wrong)} of {len(queries)} are not finite; the first is row {wrong[0]}, "
            f"which is {REASONS[codes[wrong[0]] - 1]}"
        )
    usable: npt.NDArray[np.bool_] = codes == 0
    return usable
