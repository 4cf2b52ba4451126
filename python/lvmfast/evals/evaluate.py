"""`evaluate`: the stages of an evaluation in their order. Each is a function of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any

import pyarrow as pa

from lvmfast import _core
from lvmfast.evals.approximate import FaissPool, open_faiss
from lvmfast.evals.checks import audit_pool, separations
from lvmfast.evals.compared import chief_of, open_runs, with_baselines
from lvmfast.evals.evaluation import STAMP, Evaluation
from lvmfast.evals.gated import gated, open_source
from lvmfast.evals.given import audit_given, open_payload
from lvmfast.evals.histories import histories
from lvmfast.evals.judgement import (
    Figures,
    exit_code,
    judge_all,
    judged_record,
    open_gates,
    phase_1,
    rivals_of,
)
from lvmfast.evals.latency import SHARE, latency, median, parted_note
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.pools import Pool, Space, build_pool
from lvmfast.evals.predictors import Predictor, emit, open_train
from lvmfast.evals.queries import Queries, open_queries
from lvmfast.evals.reordering import open_reorderings, reordered, with_fitted_to
from lvmfast.evals.scanned import refuse_leaks, scan_runs
from lvmfast.evals.scored_pools import direction, pools_as_scored
from lvmfast.evals.scoring import Bootstrap
from lvmfast.evals.split_status import SplitStatus, worst
from lvmfast.evals.stated import eval_stated, model_stated, pool_stated
from lvmfast.evals.table import COPY_LAST, by_document, differences, records, score_all
from lvmfast.evals.variants import AS_IS, FITTED_ELSEWHERE, Variant
from lvmfast.evals.ways import Index, Way, open_indexes
from lvmfast.leaks.progress import Progress
from lvmfast.models.config import LAG_MIX_DENSITY
from lvmfast.report.progress import shown


def evaluate(
    checkpoint: str | PathLike[str] | None,
    eval_npz: Any,
    *,
    payload: Any = None,
    pools: Sequence[str] = ("eval",),
    compare: Sequence[str | PathLike[str]] = (),
    train: Any = None,
    domains: str | PathLike[str] | None = None,
    density: float | None = None,
    rerank: str | None = None,
    gate_domains: str | None = None,
    approximate: str | None = None,
    gates: str | None = None,
    max_p95: float | None = None,
    phase: int | None = None,
    device: str = "cpu",
    form: str | None = None,
    columns: Mapping[str, str] | None = None,
    allow_leaked: bool = False,
    resamples: int = Bootstrap.resamples,
    seed: int = 0,
    threads: int = 0,
    progress: Progress | bool = False,
) -> Evaluation:
    """Scores models on an evaluation set, after scanning it against what they were trained on.

    Args:
        checkpoint: a run's folder, a checkpoint, or a baseline (copy-last, mean, lag-mix, lag-mix-density);
            None where `compare` names the models.
        eval_npz: the evaluation set, in any layout of `load_split` with doc_id, vector and context.
        payload: vectors or texts by (doc_id, chunk_id), for the pool `corpus` and the scan; the set's keys
            are held to them whichever pool is asked for.
        pools: some of eval, corpus and same-doc.
        compare: more runs, in the same table, with paired differences.
        train: training set or fingerprint, for models that carry no fingerprint, and for the lag mix.
        domains: parquet with doc_id and domain of both sides: tells whether the set is of other domains.
        density: also order each model's first candidates by cosine less this much of their density.
        rerank: also order them by the reranker in this file, as `lvmfast rerank fit` makes it.
        gate_domains: also limit candidates to the query's domain: ``clusters:K``, fitted to chunks of
            `train`, or a parquet table with doc_id and domain.
        approximate: also retrieve through the FAISS index of this factory string, such as ``IVF256,Flat``
            or ``HNSW32``, and state its recall against the exact search (extra `faiss`).
        gates: a set (minimum, target, production, stretch, honest) or a file of gates that decides.
        max_p95: milliseconds; one more gate beside `gates`: the 95th percentile of a query's time, at most.
        phase: 1 compares two runs on one split, and its verdict is about their difference alone; 2 takes
            absolute figures, on a clean split only.
        device: where checkpoints and searches run: cpu, cuda or cuda:N.
        form: kernels or reference, for a Mamba-S; None: what its checkpoint asks for.
        columns: column -> field, where a field has an unusual name.
        allow_leaked: score on a set that leaked; every record is then stamped LEAKED.
        resamples: bootstrap samples.
        seed: of the bootstrap.
        threads: 0 for one per available core.
        progress: True shows how far it is; or what is called as (phase, rows done, rows in all or None).

    Raises:
        LeakError: the set was seen in training, and `allow_leaked` was not given.
        DataError: bad input, or a failed audit.
    """
    given = locals()
    with shown(progress) as told:
        return _evaluated(EvalOptions(**{**given, "progress": told}))


def _evaluated(options: EvalOptions) -> Evaluation:
    began = time.perf_counter()
    sets = open_gates(options)
    queries = open_queries(options.eval_npz, columns=options.columns, allow_leaked=options.allow_leaked)
    reorderings = open_reorderings(options, queries)
    runs, said = open_runs(options, queries, sets)
    options = with_fitted_to(options, reorderings, runs)
    given = open_payload(options, queries)
    for info in (run.checkpoint for run in runs if run.checkpoint is not None):
        info.check_encoder({} if given.vectors is None else given.vectors.provenance)
    scanned = scan_runs(options, queries, runs, given)
    refuse_leaks(queries, scanned, options.allow_leaked)
    train = open_train(options.train, options.columns)
    predictors, notes = with_baselines(options, runs, train, queries)
    pools = [build_pool(name, queries, given.vectors) for name in options.pool_names]
    predicted = {predictor.name: emit(predictor, queries, options.progress) for predictor in predictors}
    audits = {str(pool.name): audit_pool(queries, pool, options) for pool in pools}
    audits |= audit_given(queries, pools, given, options)
    scored_pools = pools_as_scored(pools, predictors, options.threads)
    variants = [AS_IS, *reordered(reorderings, queries, train, pools, options)]
    if options.gate_domains is not None:
        source = open_source(options.gate_domains, train, seed=options.seed)
        variants += gated(source, queries, pools, options)
    indexes = open_faiss(scored_pools.values(), options)
    table = score_all(predicted, queries, pools, options, variants, scored_pools, indexes)
    statuses, kinds = _known(variants, predictors, scanned)
    found = records(table, statuses, kinds)
    trained = [run.name for run in runs]
    shown = [p.name for p in predictors if p.name in (COPY_LAST, LAG_MIX_DENSITY)]
    apart = differences(table, [*shown, *trained], options.bootstrap)
    others = [p.name for p in predictors if p.is_baseline and p.name not in shown]
    apart += differences(table, others, options.bootstrap, only=trained)  # a run is held to every baseline
    seconds = SHARE * (time.perf_counter() - began)
    first = {p.name: scored_pools[p.name, pools[0].name] for p in predictors}
    timed, through = _timings(options, predictors, queries, first, variants, indexes, seconds)
    figures = Figures(found, apart, timed, histories(runs))
    judged = judge_all(sets, figures, rivals_of(runs, options.phase), predictors, variants)
    compared = phase_1(runs, figures) if options.phase == 1 else None
    chief = chief_of(options, runs)
    status = worst(*scanned.values()).status
    both = {"exact": timed, "index": through}
    nearby = [
        {**row, "P50": {name: median(found, row["model"], row["pool"]) for name, found in both.items()}}
        for row in table.approximate
    ]
    details = {
        "version": _core.__version__,
        "stamp": STAMP if status == STAMP else None,
        "exit_code": exit_code(options, status, judged[chief], compared),
        "phase": options.phase,
        "chief": chief,
        "gates_asked": options.gates,
        "judged_on": {name: judged_record(found, chief)[name] for name in ("pool", "context")},
        "eval": eval_stated(queries),
        "models": {p.name: model_stated(p, statuses[p.name]) for p in predictors},
        "pools": {pool.name: pool_stated(pool, given.vectors) for pool in pools},
        "separation": separations(
            {name: direction(rows, queries.sequences.dim) for name, rows in predicted.items()}, queries
        ),
        "audits": audits,
        "differences": apart,
        "gates": {
            name: {each: verdict.to_dict() for each, verdict in of_sets.items()}
            for name, of_sets in judged.items()
        },
        "phase_1": compared,
        "latency": timed,
        "histories": figures.histories,
        "density": options.density,
        "rerank": options.rerank,
        "gate_domains": options.gate_domains,
        "gated": [
            {**row, "P50": {"without": median(timed, row["model"]), "with": median(timed, row["name"])}}
            for row in table.gated
        ],
        "approximate": {"index": options.approximate, "found": nearby} if options.approximate else None,
        "bootstrap": vars(options.bootstrap),
        "notes": [
            *notes,
            *said,
            *(f"{options.rerank}: {FITTED_ELSEWHERE.reasons[0]}" for each in variants if each.elsewhere),
            *given.notes,
            *queries.sequences.dataset.notes,
            *(note for pool in pools for note in pool.notes),
            *parted_note(timed),
        ],
    }
    return Evaluation(found, details, pa.concat_tables(table.hits), by_document(table, queries), statuses)


def _known(
    variants: Sequence[Variant], predictors: Sequence[Predictor], scanned: Mapping[str, SplitStatus]
) -> tuple[dict[str, SplitStatus], dict[str, str]]:
    """What is known of the split, and the kind, of every model by every variant."""
    statuses, kinds = {}, {}
    for variant in variants:
        for p in (each for each in predictors if variant.serves(each.neighbours)):
            name = variant.name(p.name)
            statuses[name] = variant.status(scanned.get(p.name, worst(*scanned.values())))
            kinds[name] = variant.kind or ("baseline" if p.is_baseline else "run")
    return statuses, kinds


def _timings(
    options: EvalOptions,
    predictors: Sequence[Predictor],
    queries: Queries,
    pools: Mapping[str, Pool],
    variants: Sequence[Variant],
    indexes: Mapping[Space, FaissPool],
    seconds: float,
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The latency of every model by every variant, in the pool as it scores it; and by the other index."""
    share = seconds / (len(predictors) * (len(variants) + bool(indexes)))
    taken = partial(latency, queries=queries, seconds=share, device=options.device)
    plain = {pool.space: Way(open_indexes(pool, options)) for pool in pools.values()}
    timed = {}
    for variant in variants:
        ways: dict[Space, Way | None] = {}
        for p in (each for each in predictors if variant.suits(pools[each.name])):
            pool = pools[p.name]
            if pool.space not in ways:
                ways[pool.space] = variant.way(pool, plain[pool.space]) if variant.way else None
            if (way := ways[pool.space]) is not None:
                timed[variant.name(p.name)] = taken(p, pool=pool, way=way)
    through = {
        p.name: taken(p, pool=pools[p.name], way=Way({0: Index(indexes[pools[p.name].space])}))
        for p in predictors
        if pools[p.name].space in indexes
    }
    return timed, through
