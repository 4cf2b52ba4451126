"""The models of an evaluation: the runs that are named, an AMN that gates ask about, every baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.sequences import Sequences
from lvmfast.errors import DataError
from lvmfast.evals.judgement import check_phase_1
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.predictors import Predictor, baseline, is_baseline_name, load_run, stated_mix
from lvmfast.evals.queries import Queries
from lvmfast.gates import Gate
from lvmfast.models.baselines import CANDIDATES, evenly_spaced, fit_lag_mix
from lvmfast.models.checkpoint import BEST
from lvmfast.models.config import AMN, LAG_MIX_DENSITY


def open_runs(
    options: EvalOptions, queries: Queries, sets: Mapping[str, Sequence[Gate]]
) -> tuple[list[Predictor], list[str]]:
    """The runs that are named, and with them what there is to say.

    Where a gate of `sets` compares with an AMN, the one beside them joins, except in phase 1.

    Raises:
        DataError: nothing is named, a run cannot be opened, or phase 1 cannot compare the runs.
    """
    if not options.models:
        raise DataError(
            "nothing to evaluate: --checkpoint RUN (or copy-last, mean, lag-mix, lag-mix-density) is missing"
        )
    named = [name for name in options.models if not is_baseline_name(name)]
    runs = _named_apart([load_run(name, queries, options) for name in named])
    if options.phase == 1:
        check_phase_1(runs)
        return runs, []
    if not any(gate.over == AMN for gates in sets.values() for gate in gates):
        return runs, []
    amn, closed = _amn_beside(runs, queries, options)
    notes = []
    if amn is not None:
        runs = _named_apart([*runs, amn])
        notes.append(
            f"{runs[-1].name}: was not named, but was found at {amn.run}: it is an AMN with the same "
            "training fingerprint"
        )
    if closed:
        which = ", ".join(map(str, closed[:3])) + (f" and {len(closed) - 3} more" if len(closed) > 3 else "")
        notes.append(
            f"{which}: in the folder beside a run, but cannot be opened as a run for this set, so an AMN "
            "there is not compared"
        )
    return runs, notes


def with_baselines(
    options: EvalOptions, runs: Sequence[Predictor], train: Sequences | None, queries: Queries
) -> tuple[list[Predictor], list[str]]:
    """The runs, and every baseline: those of the lag mix where training data or a run give its weights.

    Raises:
        DataError: lag-mix is named and has no weights, or `train` does not fit the queries.
    """
    weights = _lag_mix_weights(train, runs, queries)
    found = [*runs, baseline("copy-last"), baseline("mean")]
    fitted = ("lag-mix", LAG_MIX_DENSITY)
    if weights is not None:
        return [*found, *(baseline(name, weights) for name in fitted)], []
    why = f"lag-mix needs a weight for each of the {queries.sequences.length} vectors of a window"
    if options.train is not None:
        why += ", and --train has no windows to fit them to"
    elif any(run.most is not None for run in runs):
        why += ", which runs of --layout documents do not have: --train with a file of such windows fits them"
    else:
        why += ": --train with the training windows fits them"
    if any(name in options.models for name in fitted):
        raise DataError(why)
    return found, [f"no {' and no '.join(fitted)}: {why}"]


def chief_of(options: EvalOptions, runs: Sequence[Predictor]) -> str:
    """The model that gates decide about: the one named first, in phase 1 the second run."""
    if options.phase == 1:
        return runs[1].name
    first = options.models[0]
    return str(first) if is_baseline_name(first) else runs[0].name


def _named_apart(runs: Sequence[Predictor]) -> list[Predictor]:
    """The runs, each under a name of its own: its folder's, numbered where two are equal."""
    found: list[Predictor] = []
    for run in runs:
        name, number = run.name, 2
        while any(other.name == name for other in found) or is_baseline_name(name):
            name, number = f"{run.name} ({number})", number + 1
        found.append(replace(run, name=name))
    return found


def _amn_beside(
    runs: Sequence[Predictor], queries: Queries, options: EvalOptions
) -> tuple[Predictor | None, list[Path]]:
    """The AMN that stands in the folder beside a run and was trained on what that run was trained on.

    Of many the first by name; None where a run is an AMN itself, or none is there. With it the folders that
    did not open as runs for these queries: no error, for nobody named them.
    """
    closed: list[Path] = []
    stated = [run.checkpoint for run in runs if run.checkpoint is not None]
    if any(info.config.model == AMN for info in stated):
        return None, closed
    for run in runs:
        if run.run is None or run.checkpoint is None or not run.checkpoint.fingerprint:
            continue
        for best in sorted(run.run.parent.glob(f"*/{BEST}")):
            if best.parent == run.run:
                continue
            try:
                found = load_run(best.parent, queries, options)
            except DataError:
                closed.append(best.parent)
                continue
            info = found.checkpoint
            if (
                info is not None
                and info.config.model == AMN
                and info.fingerprint == run.checkpoint.fingerprint
                and info.fingerprint_path is not None
            ):
                return found, closed
    return None, closed


def _lag_mix_weights(
    train: Sequences | None, runs: Sequence[Predictor], queries: Queries
) -> npt.NDArray[Any] | None:
    """The weights of the lag mix: fitted on `train`, else those that a run states for windows as long.

    Raises:
        DataError: `train` does not fit the queries.
    """
    if train is not None:
        length, dim = queries.sequences.length, queries.sequences.dim
        if (train.length, train.dim) != (length, dim):
            raise DataError(
                f"{train.dataset.files[0].name}: expected windows of {length} vectors of {dim} values, "
                f"got {train.length} of {train.dim}"
            )
        rows = evenly_spaced(train.n, CANDIDATES)
        contexts, targets = train.contexts(rows), train.targets(rows)
        finite = np.isfinite(contexts).all((1, 2)) & np.isfinite(targets).all(1)
        if len(rows) and not finite.any():
            raise DataError(
                f"{train.dataset.files[0].name}: every window has values that are NaN or infinite"
            )
        return fit_lag_mix(contexts[finite], targets[finite])
    mixes = (mix for run in runs if (mix := stated_mix(run)) is not None)
    return next((mix for mix in mixes if len(mix) == queries.sequences.length), None)
