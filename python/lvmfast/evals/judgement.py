"""Which gates an evaluation passes, and what follows from two runs on the same split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvmfast.errors import DataError
from lvmfast.evals.metrics import METRICS
from lvmfast.evals.options import EvalOptions
from lvmfast.evals.predictors import Predictor
from lvmfast.evals.split_status import Status
from lvmfast.evals.variants import Variant
from lvmfast.gates import SETS, Gate, Verdicts, gate_set, judge, latency_gate
from lvmfast.models.config import AMN

HONEST = "honest"
#: The metrics on which phase 1 compares two runs; the first one decides.
COMPARED = ("R@5", "MRR", "Contain@50", "mean_cosine")


def judged_record(records: Sequence[Mapping[str, Any]], model: str) -> Mapping[str, Any]:
    """The record that gates are asked of: the first pool, with the context out where that is known."""
    own = [record for record in records if record["model"] == model]
    first = [record for record in own if record["pool"] == own[0]["pool"]]
    return next((record for record in first if record["context"] == "out"), first[0])


@dataclass(frozen=True)
class Figures:
    """What was found of all models."""

    records: Sequence[Mapping[str, Any]]
    differences: Sequence[Mapping[str, Any]]  #: of pairs
    latencies: Mapping[str, Mapping[str, Any]]  #: by model
    histories: Mapping[str, Sequence[Mapping[str, Any]]]  #: of the runs that have one


def evidence(model: str, figures: Figures, rivals: Mapping[str, str], gated: str | None) -> dict[str, Any]:
    """What `gates.judge` asks for, of one model.

    Args:
        model: its name.
        figures: of all models.
        rivals: what gates call another model (`ar`, `amn`), and its name here.
        gated: its name with candidates gated by domain, without the truth.
    """
    latencies, histories = figures.latencies, figures.histories
    record = judged_record(figures.records, model)
    place = (record["pool"], record["context"])
    beside = {r["model"]: r for r in figures.records if (r["pool"], r["context"]) == place}
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
        for difference in figures.differences
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
        if run.checkpoint is not None and run.checkpoint.config.model == AMN:
            found.setdefault(AMN, run.name)
    if phase == 1:
        found["ar"] = runs[0].name
    return found


def open_gates(options: EvalOptions) -> Mapping[str, Sequence[Gate]]:
    """The sets to judge: the honest one always, and what was asked for, with the latency that was.

    Raises:
        DataError: there is no such set or file.
    """
    if options.gates is None:
        return {HONEST: SETS[HONEST]}
    speed = () if options.max_p95 is None else (latency_gate(options.max_p95),)
    asked = {str(options.gates): (*gate_set(options.gates), *speed)}
    return {**asked, HONEST: asked.get(HONEST, SETS[HONEST])}


def judge_all(
    sets: Mapping[str, Sequence[Gate]],
    figures: Figures,
    rivals: Mapping[str, str],
    predictors: Sequence[Predictor],
    variants: Sequence[Variant],
) -> dict[str, dict[str, Verdicts]]:
    """What each set says of each model."""
    by_domain = next((variant for variant in variants if variant.kind == "gated"), None)
    judged = {}
    for model in (predictor.name for predictor in predictors):
        gated = None if by_domain is None else by_domain.name(model)
        found = evidence(model, figures, rivals, gated)
        judged[model] = {name: judge(gates, found) for name, gates in sets.items()}
    return judged


def exit_code(
    options: EvalOptions, status: Status, judged: Mapping[str, Verdicts], compared: Mapping[str, Any] | None
) -> int:
    """1 where anything failed, else 3 where anything is undecided, else 0."""
    proven = ("clean",) if options.phase == 2 else ("clean", "unscanned", "LEAKED")
    codes = [0 if status in proven else 3]
    if options.gates is not None:
        codes.append(judged[options.gates].exit_code)
    if compared is not None:
        codes.append({"better": 0, "worse": 1, "undecided": 3}[compared["outcome"]])
    return next((code for code in (1, 3) if code in codes), 0)


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


def phase_1(runs: Sequence[Predictor], figures: Figures) -> dict[str, Any]:
    """The verdict on the second run less the first, on the judged pool. It is about the difference alone."""
    ar, contrastive = runs[0].name, runs[1].name
    record = judged_record(figures.records, contrastive)
    place = (record["pool"], record["context"])
    found = next(
        d["metrics"]
        for d in figures.differences
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
