"""Small splits in which everything collides, and reports against what nested loops expect."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

import lvmfast
from tests.support import oracle

DIM, LENGTH, MIN_CHARS = 3, 2, 4
# Few values, so that keys repeat; small integers, so that every float64 sum is exact in any order.
DOCS = st.sampled_from([1, 2, 3])
CHUNKS = st.sampled_from([0, 1])
TEXTS = st.sampled_from(
    [None, "", "  ", "abc", "One  text", "one text", "ONE\ttext ", "another text", "ΑΣ ΣΑΣ", "ας σας"]
)
GOOD = [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 1, 1), (-1, 0, 0), (0, 3, 4), (5, 1, 0), (-0.0, 3, 4)]
BAD = [(0, 0, 0), (np.nan, 1, 0), (np.inf, 0, 1)]
VECTORS = st.sampled_from(GOOD * 2 + BAD)


@st.composite
def splits(draw, largest: int = 7):
    rows = draw(st.integers(1, largest))
    column = lambda values: draw(st.lists(values, min_size=rows, max_size=rows))  # noqa: E731
    return {
        "doc_id": column(DOCS),
        "chunk_id": column(CHUNKS),
        "text": column(TEXTS),
        "vector": column(VECTORS),
        "context": column(st.lists(VECTORS, min_size=LENGTH, max_size=LENGTH)),
    }


def as_arrays(split: dict) -> dict:
    return {
        "doc_id": np.array(split["doc_id"]),
        "chunk_id": np.array(split["chunk_id"]),
        "text": split["text"],
        "vector": np.array(split["vector"], np.float32).reshape(-1, DIM),
        "context": np.array(split["context"], np.float32).reshape(-1, LENGTH, DIM),
    }


def evidence_of(report: lvmfast.LeakReport, level: str) -> list[tuple]:
    columns = ["train_row", "train_position", "eval_row", "eval_position", "score"]
    rows = report.matches.filter(report.matches["level"].to_numpy() == level).to_pylist()
    return [(*(row[c] for c in columns), row["train_count"], row["eval_count"]) for row in rows]


def check(report: lvmfast.LeakReport, expected: dict[str, oracle.Expected], rows: dict[str, int]) -> None:
    for level, want in expected.items():
        finding = report.levels[level]
        if all(sum(want.unchecked[s].values()) < rows[s] for s in want.matched):
            assert finding.status == ("leak" if want.pairs else "clean"), level
        else:
            assert finding.status == "not_checkable", level
            continue
        assert finding.pairs == want.pairs, level
        for side, matched in want.matched.items():
            assert finding.sides[side].matched_rows.tolist() == sorted(matched), (level, side)
            assert dict(finding.sides[side].unchecked) == dict(want.unchecked[side]), (level, side)
            assert finding.sides[side].rows == rows[side]
