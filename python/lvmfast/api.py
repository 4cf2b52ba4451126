"""`leakscan`: read, check and report in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lvmfast.corpus import Dataset, load_payload, load_split
from lvmfast.corpus.fingerprint import Fingerprint
from lvmfast.corpus.load import as_fingerprint
from lvmfast.corpus.payload import Payload
from lvmfast.errors import DataError
from lvmfast.leaks.cost import Announce, say_nothing
from lvmfast.leaks.engine import Clock, Progress, scan, silent
from lvmfast.leaks.findings import Findings
from lvmfast.leaks.fingerprinted import scan_fingerprint
from lvmfast.leaks.levels import Side, parse_levels
from lvmfast.leaks.options import (
    DEFAULT_MAX_PAIRS,
    DEFAULT_MIN_CHARS,
    DEFAULT_THRESHOLD,
    Normalization,
    ScanOptions,
)
from lvmfast.report.documents import matched_documents
from lvmfast.report.leak_report import LeakReport
from lvmfast.report.record import Inputs, OpenSplit, environment
from lvmfast.report.summary import RunRecord
from lvmfast.report.tables import matches


def leakscan(
    train: Any,
    eval: Any = None,
    *,
    payload: Any = None,
    train_payload: Any = None,
    eval_payload: Any = None,
    levels: Iterable[str] | None = None,
    threshold: float = DEFAULT_THRESHOLD,
    normalize: Normalization = "default",
    min_chars: int = DEFAULT_MIN_CHARS,
    max_df: int | None = None,
    allow: Mapping[Any, float] | None = None,
    nearest: bool = False,
    max_pairs: int = DEFAULT_MAX_PAIRS,
    columns: Mapping[str, str] | None = None,
    allow_leaked: bool = False,
    threads: int = 0,
    memory_limit: int | None = None,
    device: str = "cpu",
    scratch: str | None = None,
    most_seconds: float | None = None,
    progress: Progress = silent,
    announce: Announce = say_nothing,
) -> LeakReport:
    """Finds every row of `eval` that was seen in `train`, or every duplicate inside `train` alone.

    Every row of both sides is checked or counted as unchecked with a reason. Nothing is sampled, printed or
    written.

    Args:
        train: a path, a quoted glob, a folder, a list of these; a dict of numpy arrays or torch tensors; a
            pyarrow table; or an HF dataset. Its columns are doc_id, chunk_id, text, vector (n, d) and
            context (n, length, d), each optional and found by its customary names. Or one fingerprint
            (``.lvfp``): see `fingerprint`.
        eval: the same; None scans `train` for duplicates (levels text and vector).
        payload: texts by (doc_id, chunk_id) for both sides: parquet, Arrow, jsonl or csv.
        train_payload: texts for `train` alone.
        eval_payload: texts for `eval` alone.
        levels: some of doc, chunk, text, vector, context, oracle. A level named here must be checkable; by
            default all those run whose columns are there.
        threshold: cosine in [-1, 1] from which two vectors match (vector, context, oracle).
        normalize: how texts are made comparable: default, none or strict.
        min_chars: texts with fewer characters after normalisation are unchecked.
        max_df: a text that stands in more documents than this is boilerplate: unchecked, no match.
        allow: tolerated fraction of matched rows per level.
        nearest: also find the highest cosine of every eval row and its training row, whatever the threshold.
        max_pairs: matches kept as evidence per level, the highest scores; counts are never cut.
        columns: column -> field, where a field has an unusual name.
        allow_leaked: read files whose content is quarantined; the report is then stamped LEAKED.
        threads: 0 for one per available core.
        memory_limit: bytes; what does not fit goes by partitions on disk and by blocks of vectors, and is
            refused where even that needs more.
        device: where vectors are compared: cpu, or cuda or cuda:N (needs torch). The answer is the same.
        scratch: folder for what does not fit in memory; None for that of temporary files.
        most_seconds: a comparison of vectors that would take longer, by an estimate, is refused.
        progress: called as (phase, rows done, rows in all or None).
        announce: told in a line what a large scan is about to do, and what it will take.

    Raises:
        DataError: bad input; the message names the file, the key, what was expected and what was found.
    """
    options = ScanOptions(
        levels=parse_levels(levels) if levels is not None else None,
        threshold=threshold,
        normalize=normalize,
        min_chars=min_chars,
        max_df=max_df,
        allow=dict(allow or {}),
        nearest=nearest,
        max_pairs=max_pairs,
        threads=threads,
        memory_limit=memory_limit,
        device=device,
        scratch=scratch,
        most_seconds=most_seconds,
    )
    machine = environment(options)
    clock = Clock()
    with clock.phase("open"):
        common = None
        if payload is not None:
            common = load_payload(payload, columns=columns, allow_leaked=allow_leaked)
        splits: dict[Side, OpenSplit] = {"train": _open(train, train_payload, common, columns, allow_leaked)}
        if eval is not None:
            splits["eval"] = _open(eval, eval_payload, common, columns, allow_leaked)
    datasets = {side: split.dataset for side, split in splits.items()}
    inputs = Inputs(splits, threads)
    findings = _findings(datasets["train"], datasets.get("eval"), options, progress, clock, announce)
    with clock.phase("evidence"):
        evidence = matches(findings, datasets)
        judged: Side = "eval" if "eval" in datasets else "train"
        documents = matched_documents(findings, judged, datasets[judged])
    with clock.phase("hash"):  # what is left of it
        inputs.check_unchanged()
    leaked = tuple(dict.fromkeys(name for dataset in datasets.values() for name in dataset.leaked))
    run = RunRecord(inputs.described(), dict(columns or {}), machine, clock.seconds, leaked)
    return LeakReport(findings, options, run, evidence, documents)


def _findings(
    train: Dataset,
    eval: Dataset | None,
    options: ScanOptions,
    progress: Progress,
    clock: Clock,
    announce: Announce,
) -> Findings:
    if isinstance(eval, Fingerprint):
        raise DataError(f"{eval.path}: a fingerprint can only be the training side: it has no rows to check")
    if not isinstance(train, Fingerprint):
        return scan(train, eval, options, progress, clock, announce)
    if eval is None:
        raise DataError(f"{train.path}: a fingerprint is scanned against an evaluation set; none was given")
    if options.nearest:
        raise DataError(f"{train.path}: a fingerprint holds no vectors, so no nearest cosines can be told")
    if options.device != "cpu":
        raise DataError(f"{train.path}: a fingerprint is compared on the cpu, not on {options.device}")
    return scan_fingerprint(train, eval, options, progress, clock)


def _open(
    split: Any, own: Any, common: Payload | None, columns: Mapping[str, str] | None, allow_leaked: bool
) -> OpenSplit:
    fingerprint = as_fingerprint(split)
    if fingerprint is not None:  # a payload for both sides is not meant for it, one of its own is refused
        return OpenSplit(load_split(fingerprint, payload=own), None)
    payload = common if own is None else load_payload(own, columns=columns, allow_leaked=allow_leaked)
    return OpenSplit(load_split(split, columns=columns, payload=payload, allow_leaked=allow_leaked), payload)
