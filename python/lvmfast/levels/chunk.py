"""The same chunk of the same document."""

from __future__ import annotations

import numpy as np

from lvmfast.corpus.dataset import Batch, Rows
from lvmfast.corpus.keys import Keys, pair_keys
from lvmfast.leaks.keyed_by import NULL_ID, Comparable, KeyedBy
from lvmfast.levels.base import Level
from lvmfast.levels.doc import DOC


def chunk_keys(batch: Batch, options: Comparable) -> tuple[Keys, Rows] | None:
    """The key (n, 4) of each row's document and chunk."""
    if batch.doc_id is None or batch.chunk_id is None:
        return None
    keys, valid = pair_keys(batch.doc_id, batch.chunk_id)
    return keys, np.where(valid, 0, NULL_ID)


CHUNK = Level(
    name="chunk",
    needs=("doc_id", "chunk_id"),
    what="the same (document, chunk)",
    sought="shared chunks",
    cannot_see="the same chunk under other ids",
    by_fingerprint=DOC.by_fingerprint,
    keys=KeyedBy(words=4, of=chunk_keys),
    known_by=("doc_id", "chunk_id", "text"),
    of_chunks=True,
    phases={"join": "parts", "part": "spans"},
)
