"""Equal texts, normalised."""

from __future__ import annotations

from lvmfast.levels.base import Keys, Level

TEXT = Level(
    name="text",
    needs=("text",),
    what=(
        "equal text, after lower-casing and collapsing white space (`--normalize default`, `none` or "
        "`strict`)"
    ),
    cannot_see="re-cut, paraphrased or translated text",
    by_fingerprint=(
        "the same, texts being compared by the xxh3-128 of their normalised form. The scan must ask for the "
        "`--normalize` and `--min-chars` that the fingerprint was made with, and its lvmfast must lower-case "
        "by the same version of Unicode; else it is refused"
    ),
    keys=Keys(words=2, compared="text"),
    within=True,
    of_chunks=True,
    boilerplate=True,
    payload=True,
    phases={"join": "parts", "compare": "parts", "part": "spans", "read": "spans"},
)
