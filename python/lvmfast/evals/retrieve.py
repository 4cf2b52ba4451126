"""The first candidates of every query, through the index that is scored."""

from __future__ import annotations

import numpy as np

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.evals.pools import DEPTH, Pool
from lvmfast.evals.request import TopK
from lvmfast.evals.scoring import Context, excluded
from lvmfast.evals.search import top_k


def retrieve(
    predicted: Vectors, pool: Pool, context: Context, *, threads: int = 0, device: str = "cpu"
) -> TopK:
    """The first `DEPTH` candidates of each query, (q, DEPTH); -1 and NaN where it sees fewer.

    Raises:
        DataError: as `top_k`.
    """
    scores = np.full((len(predicted), DEPTH), np.nan)
    rows = np.full((len(predicted), DEPTH), -1, np.int64)
    sizes = pool.sizes(context)
    for queries, candidates in pool.groups():
        vectors = pool.vectors if pool.documents is None else pool.vectors[candidates]
        for depth, part in _by_depth(queries, sizes):
            found = top_k(
                np.ascontiguousarray(predicted[part]),
                np.ascontiguousarray(vectors),
                depth,
                exclude=excluded(pool, context, part, candidates),
                threads=threads,
                device=device,
            )
            rows[part, :depth] = candidates[found.rows]
            scores[part, :depth] = found.scores
    return TopK(scores, rows)


def _by_depth(queries: Rows, sizes: Rows) -> list[tuple[int, Rows]]:
    """The queries that can be ranked equally deep: few candidates are ranked as deep as they are many."""
    depth = np.minimum(sizes[queries], DEPTH)
    return [(int(k), queries[depth == k]) for k in np.unique(depth) if k > 0]
