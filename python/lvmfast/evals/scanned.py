"""Every scan of an evaluation: the set against what each of its models was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from lvmfast.corpus.load import as_fingerprint
from lvmfast.errors import DataError, LeakError
from lvmfast.evals.domain_level import Domains
from lvmfast.evals.evaluation import STAMP
from lvmfast.evals.given import Given
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.predictors import Predictor, trained_on, training_files
from lvmfast.evals.queries import Queries
from lvmfast.evals.split_status import SplitStatus, scan_split
from lvmfast.splits.fingerprint import fingerprint_identity


def scan_runs(
    options: EvalOptions, queries: Queries, runs: Sequence[Predictor], given: Given
) -> dict[str, SplitStatus]:
    """What the scan against each run's own training set says; under "" that against another `train`.

    Raises:
        DataError: a run does not say what it was trained on, or its fingerprint is not the one it names.
    """
    train = options.train
    domains = None if options.domains is None else Domains(options.domains)
    scanned = partial(scan_split, queries, options=options, given=given, domains=domains)
    found = {}
    for run in runs:
        assert run.checkpoint is not None
        against = run.checkpoint.fingerprint_path
        if against is None and train is None:
            raise DataError(
                f"{run.checkpoint.path}: no train.lvfp in its run's folder, so it is not known what it was "
                "trained on: name its training set, or the fingerprint of that set, with --train"
            )
        status = scanned(train if against is None else str(against))
        stated = run.checkpoint.fingerprint
        if against is not None and stated and status.train_identity != stated:
            raise DataError(
                f"{against}: expected the fingerprint {stated} that {run.checkpoint.path} names, got "
                f"{status.train_identity}"
            )
        if status.status == "undecided":
            own = train if train is not None else training_files(run.run)
            if own is not None and trained_on(run, own):
                status = scanned(own)  # decides what the fingerprint leaves open
        found[run.name] = status
    # A reranker was fitted to all of `train`, of which a run's fingerprint lacks what the run held out.
    if not runs or (train is not None and (options.rerank is not None or not _is_known(train, runs, found))):
        found[""] = scanned(train)
    return found


def _is_known(train: Any, runs: Sequence[Predictor], found: Mapping[str, SplitStatus]) -> bool:
    """Whether `train` is what a run was trained on, which the set was scanned against already."""
    if (stated := as_fingerprint(train)) is not None:
        identity = fingerprint_identity(str(stated.path))
        return any(status.train_identity == identity for status in found.values())
    return any(trained_on(run, train, alone=True) for run in runs)


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
                "score on it says nothing about unseen data; --allow-leaked scores it in spite of this, "
                "and stamps the result LEAKED"
            )
