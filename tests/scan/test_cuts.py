"""A scan in pieces is the scan in one: whatever is cut, lost, scanned again and folded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lvmfast.corpus import Dataset, load_split
from lvmfast.errors import DataError
from lvmfast.leaks import journal as journals
from lvmfast.leaks.journal import Journal
from lvmfast.leaks.options import ScanOptions
from lvmfast.scan.context import ScanContext
from lvmfast.scan.executors import LOCAL
from lvmfast.scan.run import scan
from lvmfast.stores.folders import MemoryFolder
from tests.support.cuts import said

TEXTS = [None, "", "short", *(f"a text that is long enough, number {n}" for n in range(6))]


def random_file(rng: np.random.Generator, pool: np.ndarray, rows: int, drop: set[str]) -> Dataset:
    """Rows drawn from few ids, texts and vectors, so that everything repeats within files and across them."""
    vectors = pool[rng.integers(len(pool), size=rows)]
    contexts = pool[rng.integers(len(pool), size=(rows, 2))]
    columns: dict[str, Any] = {
        "doc_id": pa.array([None if n == 0 else int(n) for n in rng.integers(0, 5, rows)], pa.int64()),
        "chunk_id": pa.array(rng.integers(0, 3, rows)),
        "text": pa.array([TEXTS[n] for n in rng.integers(len(TEXTS), size=rows)], pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), pool.shape[1]),
        "context": pa.FixedSizeListArray.from_arrays(
            pa.FixedSizeListArray.from_arrays(pa.array(contexts.ravel()), pool.shape[1]), 2
        ),
    }
    return load_split(pa.table({name: column for name, column in columns.items() if name not in drop}))


def random_side(
    rng: np.random.Generator, pool: np.ndarray, sizes: list[int], drops: list[set[str]]
) -> Dataset:
    files = [random_file(rng, pool, n, drop).files[0] for n, drop in zip(sizes, drops, strict=True)]
    return Dataset(tuple(files))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    train=st.lists(
        st.tuples(st.integers(1, 40), st.sets(st.sampled_from(["text", "doc_id", "context"]), max_size=1)),
        min_size=1,
        max_size=5,
    ),
    evals=st.lists(st.integers(1, 20), min_size=1, max_size=2),
    max_pairs=st.sampled_from([1, 3, 10, 100_000]),
    max_df=st.sampled_from([None, 2, 4]),
    threshold=st.sampled_from([0.5, 0.9, 1.0]),
    nearest=st.booleans(),
    threads=st.sampled_from([1, 2]),
    often=st.booleans(),
)
def test_a_scan_in_pieces_is_the_scan_in_one(
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    train: Any,
    evals: Any,
    max_pairs: int,
    max_df: int | None,
    threshold: float,
    nearest: bool,
    threads: int,
    often: bool,
) -> None:
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal((9, 4)).astype(np.float32)
    pool[0], pool[1, 2], pool[3] = 0, np.nan, pool[2] * 1.0001
    train[0] = (train[0][0], set())
    sides = {
        "train": random_side(rng, pool, [n for n, _ in train], [drop for _, drop in train]),
        "eval": random_side(rng, pool, evals, [set() for _ in evals]),
    }
    options = ScanOptions(
        threshold=threshold, max_pairs=max_pairs, max_df=max_df, nearest=nearest, threads=threads
    )
    try:
        whole = scan(sides["train"], sides["eval"], ScanContext(options, LOCAL))
    except DataError:  # by chance no row can be checked
        assume(False)
    monkeypatch.setattr(journals, "SECONDS", 0.0 if often else 60.0)
    place = MemoryFolder()
    first = Journal(place, span_bytes=256)
    first.open({})
    pieces = scan(sides["train"], sides["eval"], ScanContext(options, LOCAL, journal=first))
    assert said(pieces, sides) == said(whole, sides)

    names = place.names()  # some records are lost, and one is torn: the rest is not scanned again
    for name in names[1::3]:
        place.remove(name)
    cuts = [name for name in names if name.endswith(journals.CUT)]
    if cuts:
        torn = cuts[rng.integers(len(cuts))]
        if place.exists(torn):
            place.write(torn, place.read(torn)[:-3])
    again = Journal(place, resume=True, span_bytes=256)
    again.open({})
    pieces = scan(sides["train"], sides["eval"], ScanContext(options, LOCAL, journal=again))
    assert said(pieces, sides) == said(whole, sides)
