"""Thresholds that were measured for an encoder, by `benches/encoding.py`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

from lvmfast.corpus.dataset import Dataset
from lvmfast.errors import DataError
from lvmfast.leaks.cost import Announce
from lvmfast.leaks.options import DEFAULT_THRESHOLD
from lvmfast.parse import read_toml

#: What one looks for: the same text, perhaps in other type, or a text that says the same.
Near = Literal["same", "paraphrase"]


def check_near(near: str, threshold: float) -> None:
    """Holds what is asked for to what there is, before hours are spent on vectors.

    Raises:
        DataError: there is no such `near`, or `threshold` is another than the default, too.
    """
    if near not in get_args(Near):
        raise DataError(f"near: expected {' or '.join(get_args(Near))}, got {near!r}")
    if threshold != DEFAULT_THRESHOLD:
        raise DataError(f"near: {near} chooses the threshold; leave out the threshold {threshold:g}")


def measured_threshold(near: Near, datasets: Iterable[Dataset], announce: Announce) -> float:
    """The threshold for `near` that was measured for the encoder of some splits, which `announce` is told.

    Raises:
        DataError: no file states its encoder, or nothing was measured for it; the message says what measures
            it.
    """
    way = "`lvmfast threshold --train X --eval Y` measures one; give it by --threshold"
    stated = {name: said for dataset in datasets for name, said in dataset.provenance.items()}
    if not stated:
        raise DataError(f"near: no file says which encoder made its vectors; {way}")
    name, provenance = next(iter(stated.items()))
    for encoder, table in read_toml(Path(__file__).with_name("thresholds.toml")).items():
        if provenance.get("weights") == table["weights"]:
            announce(f"threshold {table[near]:g}: measured for {near} with {encoder}")
            return float(table[near])
    raise DataError(
        f"near: no threshold was measured for {provenance.get('embedder_id', 'the encoder')}, which made the "
        f"vectors of {name}; {way}"
    )
