"""Which encoder made a split's vectors, and whether two splits can be compared at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lvmfast.errors import DataError

_DIMENSION = re.compile(r"[-_]\d+d?$")


#: What a file states about its vectors: `embedder_id`, `weights`, `norm` and more, each optional.
Provenance = Mapping[str, Any]


def check_same_encoder(*stated: Mapping[str, Provenance]) -> None:
    """Refuses vectors of different encoders: their cosines mean nothing. Files that state nothing pass.

    Args:
        stated: what files state, by file name: `Dataset.provenance` of each split.

    Raises:
        DataError: two files state different encoders.
    """
    named = [(name, provenance) for files in stated for name, provenance in files.items()]
    for name, provenance in named[1:]:
        first, expected = named[0]
        if differ(expected, provenance):
            raise DataError(
                f"{name}: vectors of {_named(provenance)}, but those of {first} of {_named(expected)}: "
                "cosines between two encoders mean nothing"
            )


def differ(a: Provenance, b: Provenance) -> bool:
    """Whether two statements are of different encoders, by the hash of the weights, else by name."""
    if a.get("weights") and b.get("weights"):
        return bool(a["weights"] != b["weights"])
    names = [_plain(stated.get("embedder_id")) for stated in (a, b)]
    return None not in names and names[0] != names[1]


def _plain(name: Any) -> str | None:
    """``GTR-T5-base-768`` and ``sentence-transformers/gtr-t5-base`` are one encoder: gtr-t5-base."""
    if not isinstance(name, str) or not name:
        return None
    return _DIMENSION.sub("", name.rstrip("/").rpartition("/")[2].lower().replace("_", "-"))


def _named(stated: Provenance) -> str:
    weights = f" (weights {stated['weights']})" if stated.get("weights") else ""
    return f"{stated.get('embedder_id', 'an unnamed encoder')}{weights}"
