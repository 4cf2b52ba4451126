"""Rows of one document."""

from __future__ import annotations

from lvmfast.levels.base import Keys, Level

DOC = Level(
    name="doc",
    needs=("doc_id",),
    what="the same document id",
    cannot_see="the same document under another id",
    by_fingerprint=(
        "exactly what a scan of the training set says: counts, rates, pairs, matched rows of both sides"
    ),
    keys=Keys(words=2),
    names_texts=False,  # a shared document is named by the first row of each side: two chunks
    phases={"join": "parts", "part": "spans"},
)
