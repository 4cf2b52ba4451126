"""The audits of a pool, before any score in it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.keys import Keys
from lvmfast.errors import DataError
from lvmfast.evals.audits import Audit, key_shift_audit, oracle_check, random_query_check, separation_check
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.pools import Pool
from lvmfast.evals.queries import Queries
from lvmfast.evals.search import open_pool


def audit_pool(queries: Queries, pool: Pool, options: EvalOptions) -> list[dict[str, Any]]:
    """Keys, oracle and random queries of one pool, through the index that is scored.

    Raises:
        DataError: an audit failed, so that no score in this pool can be believed.
    """
    index = open_pool(pool.vectors, threads=options.threads, device=options.device)
    where = f"{queries.name}, pool {pool.name}"
    audits = key_audits(where, queries.targets, queries.keys, index, pool.vectors, pool.keys, pool.truth)
    random = random_query_check(pool.vectors, exclude=pool.context, seed=options.seed)
    return [*audits, passed(where, random)]


def key_audits(
    where: str,
    targets: Vectors,
    keys: Keys | None,
    index: Any,
    pool_vectors: Vectors,
    pool_keys: Keys | None,
    truth: Rows,
) -> list[dict[str, Any]]:
    """Do the keys of (q, d) targets name the rows of the pool that hold them, and not others?

    Raises:
        DataError: they do not; led by `where`.
    """
    audits = []
    if keys is not None and pool_keys is not None and _integers(keys) and _integers(pool_keys):
        audits.append(passed(where, key_shift_audit(targets, keys, index, pool_vectors, pool_keys)))
    return [*audits, passed(where, oracle_check(targets, index, pool_vectors, truth))]


def passed(where: str, audit: Audit) -> dict[str, Any]:
    """The audit for JSON.

    Raises:
        DataError: it failed.
    """
    if not audit.passed:
        raise DataError(f"{where}: {audit.name} audit failed: {audit.sentence}")
    return plain_audit(audit)


def separations(predicted: Mapping[str, Vectors], queries: Queries) -> dict[str, dict[str, Any]]:
    """How far each model's predictions are nearer to their own targets than to those of other documents.

    It fails no evaluation: a model may be that bad, and then its score says so.

    Raises:
        DataError: there are not two documents.
    """
    return {
        name: plain_audit(separation_check(rows, queries.targets, queries.documents))
        for name, rows in predicted.items()
    }


def plain_audit(audit: Audit) -> dict[str, Any]:
    """For JSON."""
    return {"name": audit.name, "passed": audit.passed, "sentence": audit.sentence, **audit.found}


def _integers(keys: Keys) -> bool:
    """Whether all (n, 4) keys are of integers, which alone have neighbours."""
    return not keys[:, [0, 2]].any()
