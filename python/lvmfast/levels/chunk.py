"""The same chunk of the same document."""

from __future__ import annotations

from lvmfast.levels.base import Keys, Level
from lvmfast.levels.doc import DOC

CHUNK = Level(
    name="chunk",
    needs=("doc_id", "chunk_id"),
    what="the same (document, chunk)",
    cannot_see="the same chunk under other ids",
    by_fingerprint=DOC.by_fingerprint,
    keys=Keys(words=4),
    of_chunks=True,
    phases={"join": "parts", "part": "spans"},
)
