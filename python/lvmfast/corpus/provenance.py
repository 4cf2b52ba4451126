"""Which encoder made a split's vectors, and whether two splits can be compared at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lvmfast.corpus.dataset import Dataset
from lvmfast.errors import DataError

_DIMENSION = re.compile(r"[-_]\d+d?$")


def check_same_encoder(*splits: Dataset) -> None:
    """Refuses vectors of different encoders: their cosines mean nothing. Files that state nothing pass.

    Raises:
        DataError: two files state different encoders.
    """
    first: tuple[str, Mapping[str, Any]] | None = None
    for split in splits:
        for name, stated in split.provenance.items():
            if first is None:
                first = name, stated
            elif differ(first[1], stated):
                raise DataError(
                    f"{name}: vectors of {_named(stated)}, but those of {first[0]} of {_named(first[1])}: "
                    "cosines between two encoders mean nothing"
                )


def differ(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
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


def _named(stated: Mapping[str, Any]) -> str:
    weights = f" (weights {stated['weights']})" if stated.get("weights") else ""
    return f"{stated.get('embedder_id', 'an unnamed encoder')}{weights}"
