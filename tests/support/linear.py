"""The linear scorer by loops in float64, on small runs."""

import numpy as np
import pyarrow.parquet as pq

from lvmfast.models.registry import ALL, MODELS
from tests.support import walks

#: With few documents and 36 candidates of validation; a list of 100 then holds all that is no context.
QUICK = {
    "model": "linear",
    "batch": 16,
    "epochs": 3,
    "device": "cpu",
    "val_docs": 3,
    "patience": 0,
    "threads": 1,
}
NEIGHBOURS = MODELS["linear"].neighbours


def scored(windows, pool, vectors, a, b):
    """Scores of each window by candidate, by the formula, without the window's own vectors."""
    units = {c: v.astype(np.float64) / np.linalg.norm(v.astype(np.float64)) for c, v in enumerate(vectors)}
    dense = {}
    for c in pool:
        others = sorted((units[c] @ units[o] for o in pool if o != c), reverse=True)
        dense[c] = np.array([np.mean(others if k == ALL else others[:k]) for k in NEIGHBOURS])
    return [
        {
            c: sum(weight * units[x] @ units[c] for weight, x in zip(a, window, strict=False)) - b @ dense[c]
            for c in pool
            if c not in window[:-1]
        }
        for window in windows
    ]


def side(run, part):
    documents = pq.read_table(run / "split" / "documents.parquet").to_pydict()
    held = {int(d) for d, p in zip(documents["doc_id"], documents["part"], strict=True) if p == part}
    vectors, keys, windows = walks.walks()
    return vectors, [window for window in windows if keys[window[-1], 0] in held]
