"""Rows of one document."""

from __future__ import annotations

import numpy as np

from lvmfast.corpus.dataset import Batch, Rows
from lvmfast.corpus.keys import Keys, id_keys
from lvmfast.leaks.keyed_by import NULL_ID, Comparable, KeyedBy
from lvmfast.levels.base import Level


def document_keys(batch: Batch, options: Comparable) -> tuple[Keys, Rows] | None:
    """The key (n, 2) of each row's document."""
    if batch.doc_id is None:
        return None
    keys, valid = id_keys(batch.doc_id)
    return keys, np.where(valid, 0, NULL_ID)


DOC = Level(
    name="doc",
    needs=("doc_id",),
    what="the same document id",
    sought="shared documents",
    cannot_see="the same document under another id",
    by_fingerprint=(
        "exactly what a scan of the training set says: counts, rates, pairs, matched rows of both sides"
    ),
    keys=KeyedBy(words=2, of=document_keys),
    of_documents=True,
    known_by=("doc_id",),
    names_texts=False,  # a shared document is named by the first row of each side: two chunks
    phases={"join": "parts", "part": "spans"},
)
