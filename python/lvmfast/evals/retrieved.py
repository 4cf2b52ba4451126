"""`hits.parquet`: what every query retrieved, through the index that is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError
from lvmfast.evals.pools import Pool
from lvmfast.evals.queries import Queries
from lvmfast.evals.request import TopK
from lvmfast.evals.retrieve import retrieve
from lvmfast.evals.scoring import Context
from lvmfast.evals.table import ScoreTable, contexts_of
from lvmfast.leaks.progress import Progress

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


def check_agreement(model: str, found: TopK, pool: Pool, ranks: Rows) -> None:
    """Holds the ranks to the rows retrieved: two ways to the same answer.

    A true row of rank r <= k is retrieved; one that is retrieved at place p ranks p or, by its ties, lower.

    Raises:
        DataError: they disagree, so that no score can be believed.
    """
    is_truth = found.rows == pool.truth[:, None]
    place = np.where(is_truth.any(axis=1), is_truth.argmax(axis=1) + 1, found.rows.shape[1] + 1)
    wrong = np.flatnonzero((place > ranks) & (ranks <= found.rows.shape[1]))
    if len(wrong):
        query = int(wrong[0])
        raise DataError(
            f"{model}, pool {pool.name}: query {query}: its true row ranks {ranks[query]}, but was not "
            f"retrieved among the first {found.rows.shape[1]}: the index and the ranks disagree"
        )


def hits_table(
    predicted: Mapping[str, Vectors],
    queries: Queries,
    pools: Sequence[Pool],
    table: ScoreTable,
    *,
    threads: int,
    device: str,
    progress: Progress,
) -> pa.Table:
    """What every model retrieved in every pool, by query.

    Raises:
        DataError: as `retrieve` and `check_agreement`.
    """
    parts: list[pa.Table] = []
    places = [(pool, context) for pool in pools for context in contexts_of(pool)]
    total = len(places) * len(predicted)
    for pool, context in places:
        for model, vectors in predicted.items():
            found = retrieve(vectors, pool, context, threads=threads, device=device)
            ranks = table.scored[model, pool.name, context].ranks
            check_agreement(model, found, pool, ranks)
            parts.append(_rows(model, pool, context, queries, ranks, found))
            progress("retrieve", len(parts), total)
    return pa.concat_tables(parts)


def _rows(model: str, pool: Pool, context: Context, queries: Queries, ranks: Rows, found: TopK) -> pa.Table:
    n = len(ranks)
    kept: npt.NDArray[np.bool_] = found.rows >= 0
    offsets = pa.array(np.concatenate([[0], np.cumsum(kept.sum(axis=1))]))
    columns = [
        *(pa.repeat(pa.scalar(value, pa.large_string()), n) for value in (model, pool.name, context)),
        pa.array(np.arange(n)),
        pa.array(queries.names, pa.large_string()),
        pa.array(pool.truth),
        pa.array(ranks),
        pa.LargeListArray.from_arrays(offsets, pa.array(found.rows[kept])),
        pa.LargeListArray.from_arrays(offsets, pa.array(found.scores[kept])),
    ]
    return pa.table(columns, schema=SCHEMA)
