"""`evaluate`: the stages of an evaluation in their order. Each is a function of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

from lvmfast import _core
from lvmfast.corpus import load_payload, load_split
from lvmfast.corpus.load import as_fingerprint
from lvmfast.corpus.payload import Payload
from lvmfast.corpus.sequences import Sequences
from lvmfast.errors import DataError, LeakError
from lvmfast.evals.approximate import FaissPool
from lvmfast.evals.approximate import with_latency as with_both_latencies
from lvmfast.evals.checks import audit_pool, separations
from lvmfast.evals.domain_level import Domains
from lvmfast.evals.evaluation import STAMP, Evaluation
from lvmfast.evals.gated import DomainSource, gated_name, open_source, with_latency
from lvmfast.evals.given import audit_texts, audit_vectors
from lvmfast.evals.histories import histories
from lvmfast.evals.judgement import (
    check_phase_1,
    evidence,
    judged_record,
    open_gates,
    phase_1,
    rivals_of,
    verdicts,
)
from lvmfast.evals.latency import SHARE, Index, latency, open_indexes, parted_note
from lvmfast.evals.payload import VectorPayload, load_vector_payload
from lvmfast.evals.pools import DEPTH, POOLS, Pool, PoolName, build_pool
from lvmfast.evals.predictors import (
    Predictor,
    amn_beside,
    baseline,
    emit,
    is_baseline_name,
    lag_mix_weights,
    load_run,
    open_train,
    trained_on,
    training_files,
)
from lvmfast.evals.queries import DEFAULT_EVAL, Queries, open_queries
from lvmfast.evals.reordering import (
    Order,
    by_density,
    by_reranker,
    densities_of,
    fitted_elsewhere,
)
from lvmfast.evals.retrieved import hits_table
from lvmfast.evals.scoring import Bootstrap
from lvmfast.evals.split_status import SplitStatus, scan_split, worst
from lvmfast.evals.table import COPY_LAST, by_document, differences, records, score_all
from lvmfast.leaks.progress import Progress, silent
from lvmfast.splits.fingerprint import fingerprint_identity

#: Of what a reranker ordered whose training documents were not among those that the scan saw.
FITTED_ELSEWHERE = SplitStatus(
    "unscanned",
    reasons=(
        "the chunks that the reranker was fitted to are not known to be those that the set was scanned "
        "against: --train with the file it was fitted to tells",
    ),
)


def evaluate(
    checkpoint: str | PathLike[str] | None,
    eval_npz: Any = DEFAULT_EVAL,
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
    phase: int | None = None,
    device: str = "cpu",
    form: str | None = None,
    columns: Mapping[str, str] | None = None,
    allow_leaked: bool = False,
    resamples: int = Bootstrap.resamples,
    seed: int = 0,
    threads: int = 0,
    progress: Progress = silent,
) -> Evaluation:
    """Scores models on an evaluation set, after scanning it against what they were trained on.

    Args:
        checkpoint: a run's folder, a checkpoint, or a baseline (copy-last, mean, lag-mix); None where
            `compare` names the models.
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
        phase: 1 compares two runs on one split, and its verdict is about their difference alone; 2 takes
            absolute figures, on a clean split only.
        device: where checkpoints and searches run: cpu, cuda or cuda:N.
        form: kernels or reference, for a Mamba-S; None: what its checkpoint asks for.
        columns: column -> field, where a field has an unusual name.
        allow_leaked: score on a set that leaked; every record is then stamped LEAKED.
        resamples: bootstrap samples.
        seed: of the bootstrap.
        threads: 0 for one per available core.
        progress: called as (phase, rows done, rows in all or None).

    Raises:
        LeakError: the set was seen in training, and `allow_leaked` was not given.
        DataError: bad input, or a failed audit.
    """
    began = time.perf_counter()
    bootstrap = Bootstrap(resamples=resamples, seed=seed)
    wanted, sets = _pool_names(pools), open_gates(gates)
    names = ([checkpoint] if checkpoint is not None else []) + list(compare)
    _check_phase(phase, allow_leaked)
    asked = {
        "density": density,
        "rerank": rerank,
        "gate-domains": gate_domains,
        "approximate": approximate,
    }
    _check_asked(wanted, [name for name, value in asked.items() if value is not None])
    reorderings = [] if density is None else [by_density(density)]
    queries = open_queries(eval_npz, columns=columns, allow_leaked=allow_leaked)
    if rerank is not None:
        reorderings.append(by_reranker(rerank, queries, DEPTH, allow_leaked=allow_leaked))
    if not names:
        raise DataError("nothing to evaluate: --checkpoint RUN (or copy-last, mean, lag-mix) is missing")
    named_runs = [name for name in names if not is_baseline_name(name)]
    runs = _named_apart([load_run(name, queries, device, form, threads) for name in named_runs])
    if phase == 1:
        check_phase_1(runs)
    amn, closed = (None, []) if phase == 1 else amn_beside(runs, queries, device, form, threads)
    runs = _named_apart([*runs, *([] if amn is None else [amn])])
    texts, vectors, quarantined = _open_payload(payload, wanted, columns, allow_leaked)
    covered = () if texts is None else audit_texts(queries.sequences.dataset, texts)
    for run in runs:
        run.check_encoder({} if vectors is None else vectors.provenance)
    named = None if domains is None else Domains(domains)
    scanned = _scan(queries, runs, train, texts, quarantined, named, columns, threads, progress)
    refuse_leaks(queries, scanned, allow_leaked)
    opened = open_train(train, columns)
    predictors, notes = _with_baselines(names, runs, opened, queries)
    if amn is not None:
        notes.append(
            f"{runs[-1].name}: not named, but found at {amn.run}: an AMN with the same training fingerprint"
        )
    if closed:
        which = ", ".join(map(str, closed[:3])) + (f" and {len(closed) - 3} more" if len(closed) > 3 else "")
        notes.append(f"{which}: beside a run, and none that opens for this set: an AMN there is not compared")
    statuses = {p.name: scanned.get(p.name, worst(*scanned.values())) for p in predictors}
    built = [build_pool(name, queries, vectors) for name in wanted]
    predicted = {predictor.name: emit(predictor, queries, progress) for predictor in predictors}
    audits: dict[str, list[dict[str, Any]]] = {
        pool.name: audit_pool(queries, pool, seed=seed, threads=threads, device=device) for pool in built
    }
    if vectors is not None and all(pool.vectors is not vectors.vectors for pool in built):
        dataset = queries.sequences.dataset
        audits["payload"] = audit_vectors(
            dataset, queries.targets, queries.keys, vectors, threads=threads, device=device
        )
    densities = densities_of(built, reorderings, threads)
    gate = None if gate_domains is None else open_source(gate_domains, opened, seed=seed)
    indexes: dict[str, FaissPool] = {
        pool.name: FaissPool(approximate, pool.vectors, threads)
        for pool in built
        if approximate is not None and pool.documents is None
    }
    table = score_all(
        predicted,
        queries,
        built,
        bootstrap,
        threads,
        progress,
        reorderings=reorderings,
        densities=densities,
        gate=gate,
        indexes=indexes,
    )
    hits = hits_table(predicted, queries, built, table, threads=threads, device=device, progress=progress)
    kinds = {predictor.name: "baseline" if predictor.is_baseline else "run" for predictor in predictors}
    for reordering in reorderings:
        kinds |= {reordering.name(name): "reranked" for name in predicted}
        elsewhere = fitted_elsewhere(reordering, opened, threads)
        statuses |= {
            reordering.name(name): worst(statuses[name], FITTED_ELSEWHERE) if elsewhere else statuses[name]
            for name in predicted
        }
        if elsewhere:
            notes.append(f"{rerank}: {FITTED_ELSEWHERE.reasons[0]}")
    for by in () if gate is None else gate.told_by:
        kinds |= {gated_name(name, by): "oracle" if by == "truth" else "gated" for name in predicted}
        statuses |= {gated_name(name, by): statuses[name] for name in predicted}
    found = records(table, statuses, kinds)
    trained = [run.name for run in runs]
    apart = differences(table, [COPY_LAST, *trained], bootstrap)
    others = [p.name for p in predictors if p.is_baseline and p.name != COPY_LAST]
    apart += differences(table, others, bootstrap, only=trained)  # a run is held to every baseline
    timed, through = _timings(
        predictors,
        queries,
        built[0],
        orders={
            each.name: each.order(built[0], densities[built[0].name], threads)
            for each in (reorderings if built[0].name in densities else ())
        },
        gate=gate if built[0].documents is None else None,
        index=indexes.get(built[0].name),
        threads=threads,
        device=device,
        seconds=SHARE * (time.perf_counter() - began),
    )
    curves = histories(runs)
    judged = {
        p.name: verdicts(
            sets,
            evidence(
                p.name,
                found,
                apart,
                timed,
                curves,
                rivals_of(runs, phase),
                gated=None if gate is None else gated_name(p.name, gate.told_by[0]),
            ),
        )
        for p in predictors
    }
    compared = phase_1(runs, found, apart) if phase == 1 else None
    chief = _chief(names, runs, phase)
    status = worst(*scanned.values()).status
    codes = [0 if status in ("clean", "unscanned", STAMP) and (phase != 2 or status == "clean") else 3]
    codes += [judged[chief][gates].exit_code] if gates is not None else []
    codes += [{"better": 0, "worse": 1, "undecided": 3}[compared["outcome"]]] if compared else []
    details = {
        "version": _core.__version__,
        "stamp": STAMP if status == STAMP else None,
        "exit_code": next((code for code in (1, 3) if code in codes), 0),
        "phase": phase,
        "chief": chief,
        "gates_asked": gates,
        "judged_on": {name: judged_record(found, chief)[name] for name in ("pool", "context")},
        "eval": _eval_stated(queries),
        "models": {p.name: _stated(p, statuses[p.name]) for p in predictors},
        "pools": {pool.name: _pool_stated(pool, vectors) for pool in built},
        "separation": separations(predicted, queries),
        "audits": audits,
        "differences": apart,
        "gates": {
            name: {each: verdict.to_dict() for each, verdict in found.items()}
            for name, found in judged.items()
        },
        "phase_1": compared,
        "latency": timed,
        "histories": curves,
        "density": density,
        "rerank": rerank,
        "gate_domains": gate_domains,
        "gated": with_latency(table.gated, timed),
        "approximate": {"index": approximate, "found": with_both_latencies(table.approximate, timed, through)}
        if approximate is not None
        else None,
        "bootstrap": {"resamples": resamples, "seed": seed, "level": bootstrap.level},
        "notes": [
            *notes,
            *covered,
            *queries.sequences.dataset.notes,
            *(note for pool in built for note in pool.notes),
            *parted_note(timed),
        ],
    }
    return Evaluation(found, details, hits, by_document(table, queries), statuses)


def _timings(
    predictors: Sequence[Predictor],
    queries: Queries,
    pool: Pool,
    *,
    orders: Mapping[Callable[[str], str], Order],
    gate: DomainSource | None,
    index: FaissPool | None,
    threads: int,
    device: str,
    seconds: float,
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """The latency of every model, as it is, reordered and gated; and of each through the other index."""
    whole = open_indexes(pool, None, threads, device)
    ways: dict[Callable[[str], str], dict[str, Any]] = {str: {"indexes": whole}}
    ways |= {name: {"indexes": whole, "order": order} for name, order in orders.items()}
    if gate is not None:
        ways[lambda model: gated_name(model, gate.told_by[0])] = {
            "indexes": open_indexes(pool, gate, threads, device),
            "gate": gate,
        }
    share = seconds / (len(predictors) * (len(ways) + (index is not None)))
    timed = {
        name(p.name): latency(p, queries, pool, seconds=share, device=device, **way)
        for name, way in ways.items()
        for p in predictors
    }
    through = {
        p.name: latency(p, queries, pool, seconds=share, device=device, indexes={0: Index(index, None)})
        for p in predictors
        if index is not None
    }
    return timed, through


def _check_phase(phase: int | None, allow_leaked: bool) -> None:
    if phase not in (None, 1, 2):
        raise DataError(f"phase: expected 1 or 2, got {phase}")
    if phase == 2 and allow_leaked:
        raise DataError("phase 2: absolute figures, on a clean split only: --allow-leaked is for phase 1")


def _check_asked(pools: Sequence[PoolName], asked: Sequence[str]) -> None:
    if asked and all(pool == "same-doc" for pool in pools):
        raise DataError(
            f"{asked[0]}: the pool same-doc has a document's few candidates and is neither reordered nor "
            "gated; ask for the pool eval or corpus too"
        )


def _chief(names: Sequence[Any], runs: Sequence[Predictor], phase: int | None) -> str:
    """The model that gates decide about: the one named first, in phase 1 the second run."""
    if phase == 1:
        return runs[1].name
    return str(names[0]) if is_baseline_name(names[0]) else runs[0].name


def refuse_leaks(queries: Queries, statuses: Mapping[str, SplitStatus], allow_leaked: bool) -> None:
    """Lets a set that was seen in training through only where that was asked for.

    Raises:
        LeakError: it was not.
    """
    for model, status in statuses.items():
        if status.status == STAMP and not allow_leaked:
            of = f"model {model}, " if model else ""
            raise LeakError(
                f"{queries.name}: {'; '.join(status.reasons)} ({of}against {status.train}): a "
                "score on it says nothing about unseen data; --allow-leaked scores it all the same, and "
                "stamps the result LEAKED"
            )


def _pool_names(pools: Sequence[str]) -> list[PoolName]:
    wanted: list[PoolName] = []
    for name in dict.fromkeys(pools):
        known = next((pool for pool in POOLS if pool == name), None)
        if known is None:
            raise DataError(f"pool: expected one of {', '.join(POOLS)}, got {name!r}")
        wanted.append(known)
    if not wanted:
        raise DataError(f"pool: expected at least one of {', '.join(POOLS)}")
    return wanted


def _named_apart(runs: Sequence[Predictor]) -> list[Predictor]:
    """The runs, each under a name of its own: its folder's, numbered where two are equal."""
    found: list[Predictor] = []
    for run in runs:
        name, number = run.name, 2
        while any(other.name == name for other in found) or is_baseline_name(name):
            name, number = f"{run.name} ({number})", number + 1
        found.append(replace(run, name=name))
    return found


def _open_payload(
    payload: Any, pools: Sequence[PoolName], columns: Mapping[str, str] | None, allow_leaked: bool
) -> tuple[Payload | None, VectorPayload | None, tuple[str, ...]]:
    """What of the payload is texts, for the scan, and what is vectors, for pools; and what is quarantined.

    Raises:
        DataError: the pool `corpus` is wanted, and the payload has no vectors, or there is none.
    """
    if payload is None:
        return None, None, ()
    dataset = load_split(payload, columns=columns, allow_leaked=allow_leaked)
    texts = load_payload(dataset) if "text" in dataset.columns else None
    if "vector" in dataset.columns or "corpus" in pools or texts is None:
        return texts, load_vector_payload(dataset), dataset.leaked
    return texts, None, dataset.leaked


def _scan(
    queries: Queries,
    runs: Sequence[Predictor],
    train: Any,
    texts: Any,
    quarantined: tuple[str, ...],
    domains: Domains | None,
    columns: Mapping[str, str] | None,
    threads: int,
    progress: Progress,
) -> dict[str, SplitStatus]:
    """What the scan against each run's own training set says; under "" that against another `train`.

    Raises:
        DataError: a run does not say what it was trained on, or its fingerprint is not the one it names.
    """

    def scanned(against: Any) -> SplitStatus:
        return scan_split(
            queries,
            against,
            quarantined=quarantined,
            domains=domains,
            columns=columns,
            texts=texts,
            threads=threads,
            progress=progress,
        )

    found = {}
    for run in runs:
        assert run.checkpoint is not None
        against = run.checkpoint.fingerprint_path
        if against is None and train is None:
            raise DataError(
                f"{run.checkpoint.path}: no train.lvfp in its run's folder, so nobody can say what it was "
                "trained on: --train names its training set, or the fingerprint of that"
            )
        status = scanned(train if against is None else str(against))
        stated = run.checkpoint.fingerprint
        if against is not None and stated and status.train_identity != stated:
            raise DataError(
                f"{against}: expected the fingerprint {stated} that {run.checkpoint.path} names, got "
                f"{status.train_identity}"
            )
        if status.status == "undecided":
            own = train if train is not None else training_files(run)
            if own is not None and trained_on(run, own):
                status = scanned(own)  # decides what the fingerprint leaves open
        found[run.name] = status
    if not runs or (train is not None and not _is_known(train, runs, found)):
        found[""] = scanned(train)
    return found


def _is_known(train: Any, runs: Sequence[Predictor], found: Mapping[str, SplitStatus]) -> bool:
    """Whether `train` is what a run was trained on, which the set was scanned against already."""
    if (stated := as_fingerprint(train)) is not None:
        identity = fingerprint_identity(str(stated.path))
        return any(status.train_identity == identity for status in found.values())
    return any(trained_on(run, train, alone=True) for run in runs)


def _with_baselines(
    names: Sequence[Any], runs: Sequence[Predictor], train: Sequences | None, queries: Queries
) -> tuple[list[Predictor], list[str]]:
    """The runs, and every baseline: lag-mix where training data or a run give its weights."""
    weights = lag_mix_weights(train, runs, queries.sequences.length, queries.sequences.dim)
    found = [*runs, baseline("copy-last"), baseline("mean")]
    if weights is not None:
        return [*found, baseline("lag-mix", weights)], []
    why = "lag-mix needs training windows to fit its weights on: --train names them"
    if "lag-mix" in names:
        raise DataError(why)
    return found, [f"no lag-mix: {why}"]


def _eval_stated(queries: Queries) -> dict[str, Any]:
    files = queries.sequences.dataset.files
    local = {file.name: file.path for file in files}
    return {
        "files": [
            {"path": name, "blake3": None if path is None else _core.blake3_file(path, 0)}
            for name, path in local.items()
        ],
        "n_queries": queries.n,
        "n_documents": len(set(queries.documents.tolist())),
        "length": queries.sequences.length,
        "dim": queries.sequences.dim,
        "context_keys": queries.context_from,
        "provenance": dict(queries.sequences.provenance),
    }


def _stated(predictor: Predictor, status: SplitStatus) -> dict[str, Any]:
    info = predictor.checkpoint
    stated: dict[str, Any] = {
        "kind": "baseline" if info is None else "run",
        "device": predictor.device,
        "split": status.to_dict(),
    }
    if predictor.weights is not None:
        stated["weights"] = list(predictor.weights)
    if info is not None:
        stated |= {
            "checkpoint": str(info.path),
            "model": info.config.model,
            "form": predictor.form,
            "epoch": info.epoch,
            "residual": info.config.residual,
            "leak_status": info.leak_status,
            "train_hash": info.train_hash,
            "metrics": dict(info.metrics),
        }
    return stated


def _pool_stated(pool: Pool, payload: VectorPayload | None) -> dict[str, Any]:
    of_payload = payload is not None and pool.name != "eval"
    found = None if pool.context is None else float((pool.context >= 0).mean())
    return {
        "source": payload.name if payload is not None and of_payload else "targets",
        "rows": len(pool.vectors),
        "context_in_pool": found,  # the share of the windows' vectors that are candidates at all
    }
