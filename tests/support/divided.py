"""Documents of colliding rows, and their components by a naive search."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from tests.support import oracle
from tests.support.colliding import LENGTH, MIN_CHARS, TEXTS, VECTORS

THRESHOLD = 0.97


def related(rows: dict, i: int, j: int) -> bool:
    """Whether rows i and j would match if they stood on two sides."""
    keys = [oracle.key_of(rows, "text", r, MIN_CHARS)[0] for r in (i, j)]
    if keys[0] is not None and keys[0] == keys[1]:
        return True
    one = [rows["vector"][i], rows["vector"][j]]
    pairs = [one, *([one[0], v] for v in rows["context"][j]), *([one[1], v] for v in rows["context"][i])]
    return any(
        not oracle.vector_fault(x) and not oracle.vector_fault(y) and oracle.cosine(x, y) >= THRESHOLD
        for x, y in pairs
    )


def naive_components(rows: dict) -> list[set[int]]:
    """Sets of rows that have to stay together."""
    n = len(rows["doc_id"])
    same = [
        {j for j in range(n) if rows["doc_id"][i] is not None and rows["doc_id"][i] == rows["doc_id"][j]}
        | {j for j in range(n) if related(rows, i, j)}
        | {i}
        for i in range(n)
    ]
    found = []
    left = set(range(n))
    while left:
        group, front = set(), [min(left)]
        while front:
            row = front.pop()
            if row not in group:
                group.add(row)
                front += same[row]
        found.append(group)
        left -= group
    return found


@st.composite
def documents(draw, largest: int = 12):
    rows = draw(st.integers(2, largest))
    column = lambda values: draw(st.lists(values, min_size=rows, max_size=rows))  # noqa: E731
    return {
        "doc_id": column(st.sampled_from(["1", "2", "3", "4", "x", None])),
        "chunk_id": list(range(rows)),
        "text": column(TEXTS),
        "vector": column(VECTORS),
        "context": column(st.lists(VECTORS, min_size=LENGTH, max_size=LENGTH)),
    }


def as_table(rows: dict) -> pa.Table:
    vector, context = np.array(rows["vector"], np.float32), np.array(rows["context"], np.float32)
    return pa.table(
        {
            "doc_id": pa.array(rows["doc_id"], pa.string()),
            "chunk_id": pa.array(rows["chunk_id"]),
            "text": pa.array(rows["text"], pa.large_string()),
            "vector": pa.array(vector.tolist(), pa.list_(pa.float32())),
            "context": pa.array(context.tolist(), pa.list_(pa.list_(pa.float32()))),
        }
    )


def dataset(docs: int, per_doc: int = 12, seed: int = 0, first: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    chunks = rng.normal(size=(docs, per_doc + 3, 8)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(chunks, 3, axis=1)[:, :per_doc].transpose(0, 1, 3, 2)
    keys = np.stack(np.meshgrid(first + np.arange(docs), np.arange(per_doc), indexing="ij"), -1)
    return {
        "truth_keys": keys.reshape(-1, 2),
        "targets": chunks[:, 3:].reshape(-1, 8),
        "contexts": np.ascontiguousarray(windows).reshape(-1, 3, 8),
    }
