"""Equal texts, normalised."""

from __future__ import annotations

from lvmfast.corpus.dataset import Batch, Rows
from lvmfast.corpus.keys import Keys
from lvmfast.leaks.keyed_by import Comparable, KeyedBy, text_keys
from lvmfast.levels.base import Level


def hashes(batch: Batch, options: Comparable) -> tuple[Keys, Rows] | None:
    """The hash (n, 2) of each row's text."""
    return None if batch.text is None else text_keys(batch.text, options)


TEXT = Level(
    name="text",
    needs=("text",),
    what=(
        "equal text, after lower-casing and collapsing white space (`--normalize default`, `none` or "
        "`strict`)"
    ),
    sought="equal texts",
    cannot_see="re-cut, paraphrased or translated text",
    by_fingerprint=(
        "the same, texts being compared by the xxh3-128 of their normalised form. The scan must ask for the "
        "`--normalize` and `--min-chars` that the fingerprint was made with, and its lvmfast must lower-case "
        "by the same version of Unicode; else it is refused"
    ),
    keys=KeyedBy(words=2, of=hashes, texts=True),
    within=True,
    of_chunks=True,
    payload=True,
    phases={"join": "parts", "compare": "parts", "part": "spans", "read": "spans"},
)
