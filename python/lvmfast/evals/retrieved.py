"""What every query retrieved, through the index that is scored; `hits.parquet`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.pools import DEPTH, Pool
from lvmfast.evals.queries import Queries
from lvmfast.evals.request import TopK
from lvmfast.evals.scoring import Context, excluded, pool_ranks
from lvmfast.evals.search import top_k

SCHEMA = pa.schema(
    [
        *((name, pa.large_string()) for name in ("model", "pool", "context")),
        ("query_idx", pa.int64()),
        ("doc_id", pa.large_string()),
        ("truth", pa.int64()),
        ("rank", pa.int64()),
        ("hit_indices", pa.large_list(pa.int64())),
        ("hit_scores", pa.large_list(pa.float64())),
    ]
)


@dataclass(frozen=True)
class Retrieved:
    """One model in one pool: how its true rows rank, and its first candidates."""

    model: str
    predicted: Vectors  #: (q, d)
    queries: Queries
    pool: Pool
    context: Context
    ranks: Rows  #: (q,)
    first: TopK  #: (q, DEPTH); -1 and NaN where a query sees fewer

    def hits(self) -> pa.Table:
        """A row per query."""
        n = len(self.ranks)
        kept: npt.NDArray[np.bool_] = self.first.rows >= 0
        offsets = pa.array(np.concatenate([[0], np.cumsum(kept.sum(axis=1))]))
        place = (self.model, self.pool.name, self.context)
        columns = [
            *(pa.repeat(pa.scalar(value, pa.large_string()), n) for value in place),
            pa.array(np.arange(n)),
            pa.array(self.queries.names, pa.large_string()),
            pa.array(self.pool.truth),
            pa.array(self.ranks),
            pa.LargeListArray.from_arrays(offsets, pa.array(self.first.rows[kept])),
            pa.LargeListArray.from_arrays(offsets, pa.array(self.first.scores[kept])),
        ]
        return pa.table(columns, schema=SCHEMA)


def retrieve(
    model: str, predicted: Vectors, queries: Queries, pool: Pool, context: Context, options: EvalOptions
) -> Retrieved:
    """Ranks and first candidates of (q, d) predictions, each found in a way of its own.

    Raises:
        DataError: as `truth_ranks` and `top_k`, or they disagree, so that no score can be believed.
    """
    ranks = pool_ranks(predicted, pool, context, options.threads)
    scores = np.full((len(predicted), DEPTH), np.nan)
    rows = np.full((len(predicted), DEPTH), -1, np.int64)
    sizes = pool.sizes(context)
    for asked, candidates in pool.groups():
        vectors = pool.vectors if pool.documents is None else pool.vectors[candidates]
        for depth, part in _by_depth(asked, sizes):
            found = top_k(
                np.ascontiguousarray(predicted[part]),
                np.ascontiguousarray(vectors),
                depth,
                exclude=excluded(pool, context, part, candidates),
                threads=options.threads,
                device=options.device,
            )
            rows[part, :depth] = candidates[found.rows]
            scores[part, :depth] = found.scores
    _check_agreement(model, rows, pool, ranks)
    return Retrieved(model, predicted, queries, pool, context, ranks, TopK(scores, rows))


def _by_depth(queries: Rows, sizes: Rows) -> list[tuple[int, Rows]]:
    """The queries that can be ranked equally deep: few candidates are ranked as deep as they are many."""
    depth = np.minimum(sizes[queries], DEPTH)
    return [(int(k), queries[depth == k]) for k in np.unique(depth) if k > 0]


def _check_agreement(model: str, rows: Rows, pool: Pool, ranks: Rows) -> None:
    """A true row of rank r <= k is retrieved; one retrieved at place p ranks p or, by its ties, lower."""
    is_truth = rows == pool.truth[:, None]
    place = np.where(is_truth.any(axis=1), is_truth.argmax(axis=1) + 1, rows.shape[1] + 1)
    wrong = np.flatnonzero((place > ranks) & (ranks <= rows.shape[1]))
    if len(wrong):
        query = int(wrong[0])
        raise DataError(
            f"{model}, pool {pool.name}: query {query}: its true row ranks {ranks[query]}, but was not "
            f"retrieved among the first {rows.shape[1]}: the index and the ranks disagree"
        )
