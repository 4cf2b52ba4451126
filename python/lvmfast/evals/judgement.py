"""Which gates an evaluation passes, and what follows from two runs on the same split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvmfast.errors import DataError
from lvmfast.evals.metrics import METRICS
from lvmfast.evals.predictors import Predictor
from lvmfast.gates import SETS, Gate, Verdicts, gate_set, judge

HONEST = "honest"
#: The metrics on which phase 1 compares two runs; the first one decides.
COMPARED = ("R@5", "MRR", "Contain@50", "mean_cosine")


def judged_record(records: Sequence[Mapping[str, Any]], model: str) -> Mapping[str, Any]:
    """The record that gates are asked of: the first pool, with the context out where that is known."""
    own = [record for record in records if record["model"] == model]
    first = [record for record in own if record["pool"] == own[0]["pool"]]
    return next((record for record in first if record["context"] == "out"), first[0])


def evidence(
    model: str,
    records: Sequence[Mapping[str, Any]],
    differences: Sequence[Mapping[str, Any]],
    latencies: Mapping[str, Mapping[str, Any]],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    rivals: Mapping[str, str],
    gated: str | None = None,
) -> dict[str, Any]:
    """What `gates.judge` asks for, of one model.

    Args:
        model: its name.
        records: of all models.
        differences: of all pairs.
        latencies: by model.
        histories: of the runs that have one.
        rivals: what gates call another model (`ar`, `amn`), and its name here.
        gated: its name with candidates gated by domain, without the truth.
    """
    record = judged_record(records, model)
    place = (record["pool"], record["context"])
    beside = {r["model"]: r for r in records if (r["pool"], r["context"]) == place}
    found: dict[str, Any] = {name: record[name] for name in METRICS}
    if gated in beside:
        found["domain_gated_R@5"] = beside[gated]["R@5"]
    found["split_status"] = record["split_status"]
    found["model"] = model
    found |= {name: latencies[model][name] for name in ("P50", "P95", "P99") if model in latencies}
    found["baselines"] = {n: _figures(r) for n, r in beside.items() if r["kind"] == "baseline"}
    found["rivals"] = {role: _figures(beside[name]) for role, name in rivals.items() if name != model}
    roles = {name: [name] for name in beside} | {name: [role, name] for role, name in rivals.items()}
    found["differences"] = {
        role: _intervals(difference["metrics"])
        for difference in differences
        if difference["model"] == model and (difference["pool"], difference["context"]) == place
        for role in roles[difference["against"]]
    }
    if model in histories:
        found["epochs"] = {row["epoch"]: row for row in histories[model] if isinstance(row.get("epoch"), int)}
    return found


def _figures(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in METRICS}


def _intervals(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {"low": found["interval"][0], "high": found["interval"][1]} for name, found in metrics.items()
    }


def rivals_of(runs: Sequence[Predictor], phase: int | None) -> dict[str, str]:
    """The names under which gates ask for other models: `amn`, and in phase 1 `ar`, the first run."""
    found: dict[str, str] = {}
    for run in runs:
        if run.checkpoint is not None and run.checkpoint.config.model == "amn":
            found.setdefault("amn", run.name)
    if phase == 1:
        found["ar"] = runs[0].name
    return found


def open_gates(gates: str | None) -> Mapping[str, Sequence[Gate]]:
    """The sets to judge: the honest one always, and what was asked for.

    Raises:
        DataError: there is no such set or file.
    """
    asked = {} if gates is None else {str(gates): gate_set(gates)}
    return {**asked, HONEST: SETS[HONEST]}


def verdicts(sets: Mapping[str, Sequence[Gate]], found: Mapping[str, Any]) -> dict[str, Verdicts]:
    """What each set says."""
    return {name: judge(gates, found) for name, gates in sets.items()}


def check_phase_1(runs: Sequence[Predictor]) -> None:
    """Holds phase 1 to two runs on the same training data: else the difference is not that of the recipes.

    Raises:
        DataError: it is not so.
    """
    if len(runs) != 2:
        raise DataError(f"phase 1: expected two runs, --compare AR_RUN CONTRASTIVE_RUN, got {len(runs)}")
    hashes = [run.checkpoint.train_hash for run in runs if run.checkpoint is not None]
    if hashes[0] != hashes[1]:
        raise DataError(
            f"phase 1: {runs[0].name} and {runs[1].name} were trained on different data "
            f"({hashes[0][:12]} and {hashes[1][:12]}): their difference is not that of the recipes"
        )


def phase_1(
    runs: Sequence[Predictor], records: Sequence[Mapping[str, Any]], differences: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The verdict on the second run less the first, on the judged pool. It is about the difference alone."""
    ar, contrastive = runs[0].name, runs[1].name
    record = judged_record(records, contrastive)
    place = (record["pool"], record["context"])
    found = next(
        d["metrics"]
        for d in differences
        if (d["model"], d["against"]) == (contrastive, ar) and (d["pool"], d["context"]) == place
    )
    deciding = COMPARED[0]
    low, high = found[deciding]["interval"]
    if low is None or high is None:
        outcome = "undecided"
    elif low > 0:
        outcome = "better"
    else:
        outcome = "worse" if high < 0 else "undecided"
    return {
        "ar": ar,
        "contrastive": contrastive,
        "pool": place[0],
        "context": place[1],
        "deciding_metric": deciding,
        "outcome": outcome,
        "differences": {name: found[name] for name in COMPARED},
    }
