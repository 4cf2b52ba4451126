"""Target vectors of one direction, or nearly."""

from __future__ import annotations

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Batch, Rows
from lvmfast.corpus.keys import Keys
from lvmfast.leaks.keyed_by import Comparable
from lvmfast.leaks.running import Beginning, Running
from lvmfast.levels.base import Level, Pieces, groups_of_keys


def begin(beginning: Beginning) -> Running:
    """The vectors themselves, or what a fingerprint keeps of them."""
    # Here and not above, as at every level that compares vectors: a scan of texts starts without it.
    from lvmfast.leaks.sketched import SketchedLevel
    from lvmfast.leaks.vectors import VectorLevel

    return VectorLevel(beginning) if beginning.fingerprint is None else SketchedLevel(VECTOR, beginning)


def vector_keys(batch: Batch, options: Comparable) -> tuple[Keys, Rows] | None:
    """The hash (n, 2) of the bytes of each row's vector."""
    if batch.vector is None:
        return None
    _, keys = _core.describe_rows(batch.vector, options.threads)
    return keys, np.zeros(batch.rows, np.int64)


def groups(pieces: Pieces, options: Comparable) -> Rows:
    """Rows of equal vectors are one group."""
    return groups_of_keys(vector_keys, pieces, options)


VECTOR = Level(
    name="vector",
    needs=("vector",),
    what="target vectors with cosine ≥ `--threshold` (0.995)",
    sought="near-equal vectors",
    cannot_see="text that another encoder embedded, or pairs below the threshold",
    by_fingerprint=(
        "equal vectors match. Every other row is **clean for certain**, or **undecided**: the bound below "
        "does not rule out a match. `train_…` counts, `pairs` and evidence are those of equal vectors alone, "
        "and there is no histogram"
    ),
    cosine=True,
    nearest=True,
    grouped=groups,
    within=True,
    of_chunks=True,
    phases={"join": "vectors"},
    run=begin,
)
