"""Thresholds that were measured for an encoder, by `benches/encoding.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from lvmfast.corpus.provenance import Provenance
from lvmfast.errors import DataError
from lvmfast.parse import read_toml

#: What one looks for: the same text, perhaps in other type, or a text that says the same.
Near = Literal["same", "paraphrase"]


def measured_threshold(near: str, stated: Mapping[str, Provenance]) -> tuple[float, str]:
    """The threshold for `near` that was measured for the encoder of vectors, and the encoder's name.

    Args:
        near: same or paraphrase.
        stated: what files state about their encoder, by file name.

    Raises:
        DataError: there is no such `near`, no file states its encoder, or nothing was measured for it; the
            message says what measures it.
    """
    if near not in get_args(Near):
        raise DataError(f"near: expected {' or '.join(get_args(Near))}, got {near!r}")
    way = "`lvmfast threshold --train X --eval Y` measures one; give it by --threshold"
    if not stated:
        raise DataError(f"near: no file says which encoder made its vectors; {way}")
    name, provenance = next(iter(stated.items()))
    for encoder, table in read_toml(Path(__file__).with_name("thresholds.toml")).items():
        if provenance.get("weights") == table["weights"]:
            return float(table[near]), encoder
    raise DataError(
        f"near: no threshold was measured for {provenance.get('embedder_id', 'the encoder')}, which made the "
        f"vectors of {name}; {way}"
    )
