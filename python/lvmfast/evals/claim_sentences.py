"""Claims in a sentence: for colleagues, open about everything, and for the outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lvmfast.evals.claim import CLEAN, COPY_LAST, NEW_DOCUMENTS, SUMMARY_FILE, Claim, EvaluationFiles
from lvmfast.report.eval_sentences import figure, interval_text

IN_WORDS = {
    "copy-last": "repeating the last chunk",
    "mean": "the mean of the window",
    "lag-mix": "a fixed mix of the window",
    "lag-mix-density": "a fixed mix of the window that passes over crowded candidates",
}


def for_colleagues(found: Sequence[Claim], evaluations: Sequence[EvaluationFiles]) -> str:
    """Everything that is known, the leak first."""
    parts = []
    for evaluation in evaluations:
        if evaluation.leaked:
            chief = evaluation.details["models"][evaluation.details["chief"]]["split"]
            reasons = "; ".join(chief["reasons"])
            files = ", ".join(file["path"] for file in evaluation.details["eval"]["files"])
            parts.append(f"The evaluation set {files} leaked ({reasons}), so no absolute score on it counts.")
    leaks = [c for c in found if c.standing == "invalid" and c.files and c.files[0].endswith(SUMMARY_FILE)]
    parts += [c.why for c in leaks[:1]]
    valid = [claim.text for claim in found if claim.standing == "valid"]
    parts.append(f"What can be said: {'; '.join(valid)}." if valid else "Nothing can be said yet.")
    waiting = [claim.text for claim in found if claim.standing == "pending"]
    if waiting:
        parts.append(f"What cannot be said yet: {'; '.join(waiting)}.")
    return " ".join(parts)


def for_outside(evaluations: Sequence[EvaluationFiles]) -> str:
    """Figures of clean records alone. A model is called by its kind: the name of a run can hold figures."""
    sentences = []
    untrained = False
    for evaluation in evaluations:
        if evaluation.details["stamp"] or evaluation.leaked:
            continue
        for model, stated in evaluation.details["models"].items():
            record = evaluation.judged(model)
            if stated["kind"] != "run" or record is None or not _quotable(record):
                continue
            if evaluation.untrained(model):
                untrained = True
                continue
            copy_last = evaluation.judged(COPY_LAST)
            beside = ""
            if copy_last is not None and _quotable(copy_last):
                beside = f"; repeating the last chunk finds it in {figure('R@5', copy_last['R@5'])}"
            interval = interval_text("R@5", record["interval"]["R@5"])
            sentences.append(
                f"On {record['n_queries']:,} queries from {record['n_documents']:,} documents that share "
                "nothing with the training data at any level that was scanned, a model of the kind "
                f"{stated['model']} finds the true next chunk among the first 5 of {record['pool_size']:,} "
                f"candidates in {figure('R@5', record['R@5'])} of cases{' ' if interval else ''}{interval}"
                f"{beside}{_not_above(evaluation, model)}."
            )
    nothing = "There is no figure to quote yet: no model has been evaluated on data that is proven unseen."
    if untrained:
        nothing = "There is no figure to quote yet: what was evaluated is a model before any training."
    return " ".join(sentences) or nothing


def _not_above(evaluation: EvaluationFiles, model: str) -> str:
    if not evaluation.baselines:
        return "; no baseline was scored beside it"
    return "".join(
        f"; it is {how} {' or '.join(IN_WORDS[name] for name in names)}"
        for how, names in evaluation.not_above(model).items()
    )


def _quotable(record: Mapping[str, Any]) -> bool:
    known = record["split_status"] == CLEAN and record["level"] in NEW_DOCUMENTS
    return known and not record["equals_oracle"]
