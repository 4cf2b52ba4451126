"""Splits of few values, scanned by partitions or by blocks, and results compared."""

from __future__ import annotations

from hypothesis import strategies as st

from lvmfast.leaks.results import LevelResult
from lvmfast.scan.blocked import BlockedVectors
from lvmfast.scan.running import Comparison
from tests.support.colliding import DIM, LENGTH

COLUMNS = ("doc_id", "chunk_id", "text")
#: Few values, so that keys repeat; one of them in most rows.
DOCS = st.sampled_from([None, 1, 2, 3, 4, "seven", "8"])
CHUNKS = st.sampled_from([None, 0, 1, 2])
TEXTS = st.sampled_from([None, "", " ", "abc", *["One  text", "one TEXT"] * 3, *"defghijk", "ΑΣ", "ας"])


@st.composite
def splits(draw, largest: int = 40):
    rows = draw(st.integers(1, largest))
    column = lambda values: draw(st.lists(values, min_size=rows, max_size=rows))  # noqa: E731
    return {
        "doc_id": [None if v is None else str(v) for v in column(DOCS)],
        "chunk_id": [None if v is None else str(v) for v in column(CHUNKS)],
        "text": column(TEXTS),
    }


def same(one: LevelResult, other: LevelResult) -> None:
    for field in ("match_count", "pairs", "keys"):
        assert getattr(one, field) == getattr(other, field), field
    for name, array in vars(one.matches).items():
        if name == "details":
            continue
        assert array.tolist() == getattr(other.matches, name).tolist(), name
    for side, tally in one.sides.items():
        left, right = tally.count(), other.sides[side].count()
        assert left.matched_rows.tolist() == right.matched_rows.tolist(), side
        assert left.best.tolist() == right.best.tolist()
        assert left.file_rows.tolist() == right.file_rows.tolist()
        assert left.unchecked == right.unchecked


def in_blocks(datasets, indexed, options, groups_per_block, block_rows=3, journal=None):
    read = lambda side, columns, phase: datasets[side].batches(columns, block_rows)  # noqa: E731
    files = {side: len(dataset.files) for side, dataset in datasets.items()}
    comparison = Comparison(("vector", "context"), indexed, DIM, files, options)
    return BlockedVectors(comparison, LENGTH, groups_per_block, read, journal).results()
