"""What can be said of models, and what cannot, from the evidence on disk.

A figure says something about unseen data only where a scan found the set clean. On a leaked set what is left
is the difference between two models that saw the same data; everything else waits or is invalid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from lvmfast.errors import DataError
from lvmfast.evals.write import DETAILS_FILE, METRICS_FILE
from lvmfast.parse import read_json
from lvmfast.report.eval_sentences import figure, interval_text

Standing = Literal["valid", "invalid", "pending"]

SUMMARY_FILE, HISTORY_FILE, RUN_FILE = "summary.json", "history.json", "run.json"
LEAKED, CLEAN = "LEAKED", "clean"
NEW_DOCUMENTS = ("cross-document", "cross-domain")
COPY_LAST = "copy-last"
PAIRED = "the same queries, paired"
#: Levels at which a chunk itself, and not its document alone, was seen.
CHUNK_LEVELS = ("chunk", "text", "vector")


@dataclass(frozen=True)
class Claim:
    """One thing that might be said.

    Attributes:
        standing: whether the evidence supports it, forbids it, or is not there yet.
        text: the claim.
        why: what makes it so.
        files: the evidence.
        outside: it rests on clean data alone, so that it may be told to anyone.
    """

    standing: Standing
    text: str
    why: str
    files: tuple[str, ...]
    outside: bool = False


@dataclass(frozen=True)
class Claims:
    """Everything that can and cannot be said, and how to say it."""

    claims: tuple[Claim, ...]
    for_colleagues: str
    for_outside: str

    def of(self, standing: Standing) -> tuple[Claim, ...]:
        """The claims of that standing."""
        return tuple(claim for claim in self.claims if claim.standing == standing)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **{
                standing: [
                    {"claim": c.text, "why": c.why, "files": list(c.files), "outside": c.outside}
                    for c in self.of(standing)
                ]
                for standing in ("valid", "invalid", "pending")
            },
            "for_colleagues": self.for_colleagues,
            "for_outside": self.for_outside,
        }


@dataclass(frozen=True)
class _Evaluation:
    folder: Path
    records: Sequence[Mapping[str, Any]]
    details: Mapping[str, Any]

    @property
    def file(self) -> str:
        return str(self.folder / METRICS_FILE)

    @property
    def leaked(self) -> bool:
        return any(record["split_status"] == LEAKED for record in self.records)

    def judged(self, model: str) -> Mapping[str, Any] | None:
        """The record of a model in the pool that its gates were asked of."""
        place = self.details["judged_on"]
        for record in self.records:
            if (record["model"], record["pool"], record["context"]) == (
                model,
                place["pool"],
                place["context"],
            ):
                return record
        return None


def claims(folders: Sequence[str | PathLike[str]]) -> Claims:
    """Reads evaluations, leak reports and runs, and says what follows.

    Args:
        folders: what `lvmfast eval --out`, `leakscan --out` and `train --out` wrote.

    Raises:
        DataError: a folder holds none of these, or a file in it is broken.
    """
    if not folders:
        raise DataError("claims: expected folders of evaluations, leak reports or runs, got none")
    evaluations: list[_Evaluation] = []
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
            found += _of_history(folder)
            kinds += 1
        if not kinds:
            raise DataError(
                f"{folder}: expected {METRICS_FILE}, {SUMMARY_FILE} or {HISTORY_FILE}, found none of them"
            )
    for evaluation in evaluations:
        try:
            found += _of_evaluation(evaluation)
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{evaluation.folder}: {METRICS_FILE} or {DETAILS_FILE} is not as docs/output.md has it: "
                f"{error!r}"
            ) from error
    found += _waiting(evaluations)
    return Claims(tuple(found), _for_colleagues(found, evaluations), _for_outside(evaluations))


def _read_evaluation(folder: Path) -> _Evaluation:
    records, details = read_json(folder / METRICS_FILE), read_json(folder / DETAILS_FILE)
    if not isinstance(records, list) or not records or not all(isinstance(r, dict) for r in records):
        raise DataError(f"{folder / METRICS_FILE}: expected a list of records")
    if not isinstance(details, dict):
        raise DataError(f"{folder / DETAILS_FILE}: expected a JSON object")
    return _Evaluation(folder, records, details)


def _of_evaluation(evaluation: _Evaluation) -> Iterator[Claim]:
    models = [name for name, stated in evaluation.details["models"].items() if stated["kind"] == "run"]
    for model in models:
        record = evaluation.judged(model)
        if record is None:
            continue
        yield from _absolute(evaluation, record)
        yield from _beside_copy_last(evaluation, record)
    yield from _between_runs(evaluation, models)
    yield from _gates(evaluation)


def _absolute(evaluation: _Evaluation, record: Mapping[str, Any]) -> Iterator[Claim]:
    files = (evaluation.file,)
    model, status, level = record["model"], record["split_status"], record["level"]
    text = f"{model}: {_score(record)}"
    if record["equals_oracle"]:
        names = ", ".join(record["equals_oracle"])
        yield Claim("invalid", text, f"its {names} is the oracle's: it knows the answers", files)
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
        yield Claim("valid", f"{text}, on {unseen} that training never saw", why, files, outside=True)
    else:
        why = {"undecided": "the fingerprint leaves rows undecided; a scan of the training set decides"}.get(
            status, "nobody scanned the set against the training data, document by document"
        )
        yield Claim("pending", text, why, files)


def _levels(evaluation: _Evaluation, model: str) -> str:
    return ", ".join(evaluation.details["models"][model]["split"]["levels"]) or "any level"


def _within(evaluation: _Evaluation, model: str) -> Claim:
    """Documents are shared: new places in known documents can still be judged, if the chunks are new."""
    levels = evaluation.details["models"][model]["split"]["levels"]
    seen = [name for name in CHUNK_LEVELS if name in levels and levels[name]["matched"]]
    text = f"{model} generalises within documents that it knows"
    if seen:
        return Claim("invalid", text, f"chunks themselves were seen: {', '.join(seen)}", (evaluation.file,))
    why = "documents are shared with training, chunks, texts and vectors are not"
    return Claim("valid", text, why, (evaluation.file,))


def _beside_copy_last(evaluation: _Evaluation, record: Mapping[str, Any]) -> Iterator[Claim]:
    """A leak helps the trained model and not the baseline: only below it stands all the same."""
    found = _difference(evaluation, record["model"], COPY_LAST)
    if found is None or record["equals_oracle"]:
        return
    status = record["split_status"]
    doubt: tuple[Standing, str] | None = None
    if status == LEAKED:
        doubt = ("invalid", "the leak helps the trained model and not the baseline")
    elif status != CLEAN:
        doubt = ("pending", f"the set is {status}: a leak would help the trained model and not the baseline")
    yield _compared(evaluation, record["model"], COPY_LAST, found, PAIRED, doubt, outside=status == CLEAN)


def _between_runs(evaluation: _Evaluation, models: Sequence[str]) -> Iterator[Claim]:
    for place, model in enumerate(models):
        for other in models[:place]:
            found = _difference(evaluation, model, other)
            own, its = evaluation.judged(model), evaluation.judged(other)
            if found is None or own is None or its is None or own["equals_oracle"] or its["equals_oracle"]:
                continue
            if own["split_status"] == its["split_status"] == CLEAN:
                yield _compared(evaluation, model, other, found, PAIRED, outside=True)
                continue
            hashes = {evaluation.details["models"][name]["train_hash"] for name in (model, other)}
            why = (
                f"{PAIRED}; both were trained on the same data: the difference stands although no score does"
            )
            unequal = "they were trained on different data, and the set is not clean for both"
            doubt: tuple[Standing, str] | None = None if len(hashes) == 1 else ("pending", unequal)
            yield _compared(evaluation, model, other, found, why, doubt)


def _compared(
    evaluation: _Evaluation,
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
    files = (str(evaluation.folder / DETAILS_FILE),)
    if low is None or high is None or low <= 0 <= high:
        why = "the interval holds zero: no difference is shown"
        return Claim("pending", f"{model} and {other} differ: {shown}", why, files)
    text = f"{model} is {'better' if low > 0 else 'worse'} than {other}: {shown}"
    if doubt is not None and (low > 0 or other != COPY_LAST):
        return Claim(doubt[0], text, doubt[1], files)
    return Claim("valid", text, why, files, outside=outside)


def _difference(evaluation: _Evaluation, model: str, other: str) -> Mapping[str, Any] | None:
    place = evaluation.details["judged_on"]
    for found in evaluation.details["differences"]:
        if (found["model"], found["against"]) == (model, other) and (found["pool"], found["context"]) == (
            place["pool"],
            place["context"],
        ):
            metric: Mapping[str, Any] = found["metrics"]["R@5"]
            return metric
    return None


def _gates(evaluation: _Evaluation) -> Iterator[Claim]:
    details = evaluation.details
    asked, chief = details["gates_asked"], details["chief"]
    if asked is None:
        return
    verdict = details["gates"][chief][asked]["verdict"]
    record = evaluation.judged(chief)
    clean = record is not None and record["split_status"] == CLEAN
    files = (str(evaluation.folder / DETAILS_FILE),)
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
    if verdict == "clean" and not summary.get("stamp"):
        return [Claim("valid", "the evaluation set was not seen in training", sentence, (str(file),))]
    if verdict == "leak":
        return [
            Claim("invalid", "the evaluation set was not seen in training", sentence, (str(file),)),
            Claim("invalid", "scores on this set say something about unseen data", sentence, (str(file),)),
        ]
    return [Claim("pending", "the evaluation set was not seen in training", sentence, (str(file),))]


def _of_history(folder: Path) -> list[Claim]:
    file = folder / HISTORY_FILE
    rows = read_json(file)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{file}: expected a list of epochs")
    epochs = {row["epoch"]: row["val_cosine"] for row in rows if _has_cosine(row)}
    if 1 not in epochs or 2 not in epochs:
        why = "epochs 1 and 2 are not both in the history"
        return [Claim("pending", f"{folder.name}: training improves by epoch 2", why, (str(file),))]
    change = f"val_cosine {epochs[1]:.3f} to {epochs[2]:.3f}"
    better = epochs[2] > epochs[1]
    status = _status_of(folder)
    why = f"{change}, on the same validation data"
    if status == LEAKED:
        why += "; that data was seen in training, so the figure itself counts for nothing"
    return [
        Claim(
            "valid" if better else "invalid",
            f"{folder.name}: training improves by epoch 2",
            why,
            (str(file),),
        )
    ]


def _has_cosine(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("epoch"), int) and isinstance(row.get("val_cosine"), (int, float))


def _status_of(folder: Path) -> Any:
    run = folder / RUN_FILE
    stated = read_json(run) if run.is_file() else {}
    return stated.get("leak_status") if isinstance(stated, dict) else None


def _waiting(evaluations: Sequence[_Evaluation]) -> Iterator[Claim]:
    """What waits for phase 2: an evaluation on clean data."""
    clean = [e for e in evaluations if not e.leaked and any(r["split_status"] == CLEAN for r in e.records)]
    compared = [
        e
        for e in clean
        if any(stated.get("model") == "amn" for stated in e.details["models"].values())
        and sum(stated["kind"] == "run" for stated in e.details["models"].values()) > 1
    ]
    if not compared:
        yield Claim(
            "pending",
            "how the model compares with the attention mixture network (AMN)",
            "no evaluation on clean data has both",
            tuple(e.file for e in clean),
        )
    production = [e for e in clean if e.details["gates_asked"] == "production"]
    if not production:
        why = "the production gates were not judged on clean data"
        yield Claim("pending", "the production gates", why, tuple(e.file for e in clean))
    judged = [e.details["gates"][e.details["chief"]]["production"]["verdict"] for e in production]
    if "passed" not in judged:
        yield Claim("pending", "deployment", "it waits for the production gates, on clean data", ())


def _score(record: Mapping[str, Any]) -> str:
    interval = interval_text("R@5", record["interval"]["R@5"])
    return (
        f"R@5 {figure('R@5', record['R@5'])} {interval}".rstrip()
        + f" (pool {record['pool']} of {record['pool_size']:,}, context {record['context']})"
    )


def _for_colleagues(found: Sequence[Claim], evaluations: Sequence[_Evaluation]) -> str:
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
    parts.append(f"What stands: {'; '.join(valid)}." if valid else "Nothing stands yet.")
    waiting = [claim.text for claim in found if claim.standing == "pending"]
    if waiting:
        parts.append(f"What waits: {'; '.join(waiting)}.")
    return " ".join(parts)


def _for_outside(evaluations: Sequence[_Evaluation]) -> str:
    """Figures of clean records alone. A model is called by its kind: the name of a run can hold figures."""
    sentences = []
    for evaluation in evaluations:
        if evaluation.details["stamp"] or evaluation.leaked:
            continue
        for model, stated in evaluation.details["models"].items():
            record = evaluation.judged(model)
            if stated["kind"] != "run" or record is None or not _quotable(record):
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
                f"{beside}."
            )
    return " ".join(sentences) or (
        "There is no figure to quote yet: no model has been evaluated on data that is proven unseen."
    )


def _quotable(record: Mapping[str, Any]) -> bool:
    known = record["split_status"] == CLEAN and record["level"] in NEW_DOCUMENTS
    return known and not record["equals_oracle"]
