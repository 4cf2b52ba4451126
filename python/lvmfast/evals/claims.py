"""What can be said of models, and what cannot, from the evidence on disk.

A figure says something about unseen data only where a scan found the set clean. On a leaked set what is left
is the difference between two models that saw the same data; everything else waits or is invalid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from lvmfast.errors import DataError
from lvmfast.evals.claim import (
    CLEAN,
    HISTORY_FILE,
    IMPACT_FILE,
    LEAKED,
    NEW_DOCUMENTS,
    SUMMARY_FILE,
    Claim,
    Claims,
    EvaluationFiles,
    Standing,
)
from lvmfast.evals.claim_sentences import for_colleagues, for_outside
from lvmfast.evals.claims_of_impact import of_impact
from lvmfast.evals.claims_of_runs import of_history
from lvmfast.evals.write import DETAILS_FILE, METRICS_FILE
from lvmfast.leaks.findings import outcome_of
from lvmfast.levels import LEVELS
from lvmfast.models.config import AMN, BASELINES
from lvmfast.parse import read_json
from lvmfast.report.eval_sentences import figure, interval_text

PAIRED = "the same queries, paired"


def claims(folders: Sequence[str | PathLike[str]]) -> Claims:
    """Reads evaluations, leak reports and runs, and says what follows.

    Args:
        folders: what `lvmfast eval --out`, `leakscan --out`, `train --out` and `impact --out` wrote.

    Raises:
        DataError: a folder holds none of these, or a file in it is broken.
    """
    if not folders:
        raise DataError("claims: expected folders of evaluations, leak reports or runs, got none")
    evaluations: list[EvaluationFiles] = []
    found: list[Claim] = []
    for folder in map(Path, folders):
        kinds = 0
        if (folder / METRICS_FILE).is_file():
            evaluations.append(_read_evaluation(folder))
            kinds += 1
        if (folder / SUMMARY_FILE).is_file():
            found += _of_scan(folder)
            kinds += 1
        if (folder / HISTORY_FILE).is_file():
            found += of_history(folder)
            kinds += 1
        if (folder / IMPACT_FILE).is_file():
            found += of_impact(folder)
            kinds += 1
        if not kinds:
            names = f"{METRICS_FILE}, {SUMMARY_FILE}, {HISTORY_FILE} or {IMPACT_FILE}"
            raise DataError(f"{folder}: expected {names}, found none of them")
    for evaluation in evaluations:
        try:
            found += _of_evaluation(evaluation)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{evaluation.folder}: {METRICS_FILE} or {DETAILS_FILE} is not as docs/output.md has it: "
                f"{error!r}"
            ) from error
    found += _waiting(evaluations)
    return Claims(tuple(found), for_colleagues(found, evaluations), for_outside(evaluations))


def _read_evaluation(folder: Path) -> EvaluationFiles:
    records, details = read_json(folder / METRICS_FILE), read_json(folder / DETAILS_FILE)
    if not isinstance(records, list) or not records or not all(isinstance(r, dict) for r in records):
        raise DataError(f"{folder / METRICS_FILE}: expected a list of records")
    if not isinstance(details, dict):
        raise DataError(f"{folder / DETAILS_FILE}: expected a JSON object")
    return EvaluationFiles(folder, records, details)


def _of_evaluation(evaluation: EvaluationFiles) -> Iterator[Claim]:
    models = [name for name, stated in evaluation.details["models"].items() if stated["kind"] == "run"]
    for model in models:
        record = evaluation.judged(model)
        if record is None:
            continue
        yield from _absolute(evaluation, record)
        yield from _beside_baselines(evaluation, record)
    yield from _between_runs(evaluation, models)
    yield from _gates(evaluation)


def _absolute(evaluation: EvaluationFiles, record: Mapping[str, Any]) -> Iterator[Claim]:
    files = (evaluation.file,)
    model, status, level = record["model"], record["split_status"], record["level"]
    untrained, not_above = evaluation.untrained(model), evaluation.not_above(model)
    text = f"{model}: {_score(record)}"
    if untrained:
        start = evaluation.details["models"][model].get("residual")
        same = f", which repeats its baseline ({start})" if start else ""
        text += f", of the model before any training{same}"
        why = f"its best epoch is 0: this score is that of the model before any training{same}"
        yield Claim("invalid", f"{model} learned something from its training", why, files)
    elif not_above:
        text += "".join(f", {how} {', '.join(names)}" for how, names in not_above.items())
    if record["equals_oracle"]:
        names = ", ".join(record["equals_oracle"])
        yield Claim("invalid", text, f"its {names} equals that of the oracle, which knows the answers", files)
    elif status == LEAKED:
        reasons = "; ".join(evaluation.details["models"][model]["split"]["reasons"])
        yield Claim("invalid", f"{text}, as an absolute figure", f"the set leaked: {reasons}", files)
        yield Claim("invalid", f"{model} finds the next chunk in new documents", "the set leaked", files)
        yield Claim("invalid", f"{model} is ready for production", "the set leaked", files)
        if level == "within-document":
            yield _within(evaluation, model)
    elif status == CLEAN and level in NEW_DOCUMENTS:
        why = f"the scan found nothing of the set in training at {_levels(evaluation, model)}"
        unseen = "documents" + (" of domains" if level == "cross-domain" else "")
        said = f"{text}, on {unseen} that training never saw"
        yield Claim("valid", said, why, files, outside=not untrained)
    else:
        why = {
            "undecided": "the fingerprint leaves rows undecided; a scan of the training set would decide"
        }.get(status, "the set was not scanned against the training data by document")
        yield Claim("pending", text, why, files)


def _levels(evaluation: EvaluationFiles, model: str) -> str:
    return ", ".join(evaluation.details["models"][model]["split"]["levels"]) or "any level"


def _within(evaluation: EvaluationFiles, model: str) -> Claim:
    """Documents are shared: new places in known documents can still be judged, if the chunks are new."""
    levels = evaluation.details["models"][model]["split"]["levels"]
    seen = [
        name
        for name, level in LEVELS.items()
        if level.of_chunks and name in levels and levels[name]["matched"]
    ]
    text = f"{model} generalises within documents that it knows"
    if seen:
        return Claim("invalid", text, f"chunks themselves were seen: {', '.join(seen)}", (evaluation.file,))
    why = "documents are shared with training, chunks, texts and vectors are not"
    return Claim("valid", text, why, (evaluation.file,))


def _beside_baselines(evaluation: EvaluationFiles, record: Mapping[str, Any]) -> Iterator[Claim]:
    """A leak helps the trained model and not the baselines: only below them stands all the same."""
    status = record["split_status"]
    doubt: tuple[Standing, str] | None = None
    if status == LEAKED:
        doubt = ("invalid", "the leak helps the trained model and not the baseline")
    elif status != CLEAN:
        doubt = ("pending", f"the set is {status}: a leak would help the trained model and not the baseline")
    for name in BASELINES:
        found = evaluation.difference(record["model"], name)
        if found is not None and not record["equals_oracle"]:
            yield _compared(evaluation, record["model"], name, found, PAIRED, doubt, outside=status == CLEAN)


def _between_runs(evaluation: EvaluationFiles, models: Sequence[str]) -> Iterator[Claim]:
    for place, model in enumerate(models):
        for other in models[:place]:
            found = evaluation.difference(model, other)
            own, its = evaluation.judged(model), evaluation.judged(other)
            if found is None or own is None or its is None or own["equals_oracle"] or its["equals_oracle"]:
                continue
            if own["split_status"] == its["split_status"] == CLEAN:
                yield _compared(evaluation, model, other, found, PAIRED, outside=True)
                continue
            hashes = {evaluation.details["models"][name]["train_hash"] for name in (model, other)}
            why = (
                f"{PAIRED}; both were trained on the same data: the difference is valid, although no score is"
            )
            unequal = "they were trained on different data, and the set is not clean for both"
            doubt: tuple[Standing, str] | None = None if len(hashes) == 1 else ("pending", unequal)
            yield _compared(evaluation, model, other, found, why, doubt)


def _compared(
    evaluation: EvaluationFiles,
    model: str,
    other: str,
    found: Mapping[str, Any],
    why: str,
    doubt: tuple[Standing, str] | None = None,
    *,
    outside: bool = False,
) -> Claim:
    """The claim that one is better or worse; `doubt` is what stands against the better one."""
    low, high = found["interval"]
    shown = f"R@5 {figure('R@5', found['difference'], signed=True)} points"
    shown += f" {interval_text('R@5', found['interval'], signed=True)}"
    files = (evaluation.details_file,)
    if low is None or high is None or low <= 0 <= high:
        why = "the interval contains zero: no difference is shown"
        return Claim("pending", f"{model} and {other} differ: {shown}", why, files)
    text = f"{model} is {'better' if low > 0 else 'worse'} than {other}: {shown}"
    if doubt is not None and (low > 0 or other not in BASELINES):
        return Claim(doubt[0], text, doubt[1], files)
    return Claim("valid", text, why, files, outside=outside)


def _gates(evaluation: EvaluationFiles) -> Iterator[Claim]:
    details = evaluation.details
    asked, chief = details["gates_asked"], details["chief"]
    if asked is None:
        return
    verdict = details["gates"][chief][asked]["verdict"]
    record = evaluation.judged(chief)
    clean = record is not None and record["split_status"] == CLEAN
    files = (evaluation.details_file,)
    text = f"{chief} passes the gates {asked}"
    if verdict == "passed":
        yield Claim("valid", text, "each gate was judged, and no baseline passes them", files, outside=clean)
    elif verdict == "failed":
        yield Claim("invalid", text, "a gate failed", files)
    else:
        yield Claim("pending", text, "some gates could not be judged, or prove nothing", files)


def _of_scan(folder: Path) -> list[Claim]:
    file = folder / SUMMARY_FILE
    summary = read_json(file)
    try:
        verdict, sentence = summary["verdict"], summary["sentence"]
    except (KeyError, TypeError) as error:
        raise DataError(f"{file}: expected the summary of a leak scan: {error!r}") from error
    outcome = outcome_of(str(verdict))
    if outcome == "clean" and not summary.get("stamp"):
        reviewed = "" if outcome == verdict else ", as people reviewed what the scan found"
        text = f"the evaluation set was not seen in training{reviewed}"
        return [Claim("valid", text, sentence, (str(file),))]
    if outcome == "leak":
        return [
            Claim("invalid", "the evaluation set was not seen in training", sentence, (str(file),)),
            Claim("invalid", "scores on this set say something about unseen data", sentence, (str(file),)),
        ]
    return [Claim("pending", "the evaluation set was not seen in training", sentence, (str(file),))]


def _waiting(evaluations: Sequence[EvaluationFiles]) -> Iterator[Claim]:
    """What an evaluation asked about, and waits for phase 2: an evaluation on clean data."""
    clean = [e for e in evaluations if not e.leaked and any(r["split_status"] == CLEAN for r in e.records)]
    with_amn = [
        e for e in evaluations if any(stated.get("model") == AMN for stated in e.details["models"].values())
    ]
    compared = [
        e
        for e in with_amn
        if e in clean and sum(stated["kind"] == "run" for stated in e.details["models"].values()) > 1
    ]
    others = any(
        stated["kind"] == "run" and stated.get("model") != AMN
        for e in evaluations
        for stated in e.details["models"].values()
    )
    asked = {e.details["gates_asked"] for e in evaluations}
    if ((with_amn and others) or "stretch" in asked) and not compared:
        yield Claim(
            "pending",
            "how the model compares with the attention mixture network (AMN)",
            "no evaluation on clean data has both",
            tuple(e.file for e in clean),
        )
    if "production" not in asked:
        return
    production = [e for e in clean if e.details["gates_asked"] == "production"]
    if not production:
        why = "the production gates were not judged on clean data"
        yield Claim("pending", "the production gates", why, tuple(e.file for e in clean))
    judged = [e.details["gates"][e.details["chief"]]["production"]["verdict"] for e in production]
    if "passed" not in judged:
        yield Claim("pending", "deployment", "the production gates were not passed on clean data", ())


def _score(record: Mapping[str, Any]) -> str:
    interval = interval_text("R@5", record["interval"]["R@5"])
    return (
        f"R@5 {figure('R@5', record['R@5'])} {interval}".rstrip()
        + f" (pool {record['pool']} of {record['pool_size']:,}, context {record['context']})"
    )
