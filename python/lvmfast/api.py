"""`leakscan`: read, check and report in one call."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from typing import Any, TypeGuard

from lvmfast import _core
from lvmfast.corpus import load_split
from lvmfast.corpus.dataset import Dataset, SplitFile
from lvmfast.corpus.load import load_payload
from lvmfast.corpus.payload import Payload
from lvmfast.errors import DataError
from lvmfast.leaks.engine import Clock, Progress, scan, silent
from lvmfast.leaks.levels import SIDES, Side, parse_levels
from lvmfast.leaks.options import (
    DEFAULT_MAX_PAIRS,
    DEFAULT_MIN_CHARS,
    DEFAULT_THRESHOLD,
    Normalization,
    ScanOptions,
)
from lvmfast.report.leak_report import LeakReport
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
    max_pairs: int = DEFAULT_MAX_PAIRS,
    columns: Mapping[str, str] | None = None,
    threads: int = 0,
    memory_limit: int | None = None,
    progress: Progress = silent,
) -> LeakReport:
    """Finds every row of `eval` that was seen in `train`, or every duplicate inside `train` alone.

    Every row of both sides is checked or counted as unchecked with a reason. Nothing is sampled, printed or
    written.

    Args:
        train: a path, a quoted glob, a folder, a list of these; a dict of numpy arrays or torch tensors; a
            pyarrow table; or an HF dataset. Its columns are doc_id, chunk_id, text, vector (n, d) and
            context (n, length, d), each optional and found by its customary names.
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
        max_pairs: matches kept as evidence per level, the highest scores; counts are never cut.
        columns: column -> field, where a field has an unusual name.
        threads: 0 for one per available core.
        memory_limit: bytes; a scan that would need more is refused.
        progress: called as (phase, rows done, rows in all or None).

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
        max_pairs=max_pairs,
        threads=threads,
        memory_limit=memory_limit,
    )
    clock = Clock()
    with clock.phase("open"):
        common = None if payload is None else load_payload(payload, columns=columns)
        splits = {"train": (train, train_payload)} | ({} if eval is None else {"eval": (eval, eval_payload)})
        payloads: dict[str, Payload | None] = {}
        datasets: dict[Side, Dataset] = {}
        for side in SIDES:
            if side in splits:
                split, own = splits[side]
                payloads[side] = common if own is None else load_payload(own, columns=columns)
                datasets[side] = load_split(split, columns=columns, payload=payloads[side])
    with clock.phase("hash"):
        files = {
            file.path: file
            for side, dataset in datasets.items()
            for file in (*dataset.files, *_files(payloads[side]))
            if _is_local(file.path)
        }
        stamps = {path: _stamp(path) for path in files}
        hashes = {path: _core.blake3_file(path, threads) for path in files}
        inputs: dict[str, Any] = {
            side: _input(dataset, payloads[side], hashes) for side, dataset in datasets.items()
        }
    findings = scan(datasets["train"], datasets.get("eval"), options, progress, clock)
    with clock.phase("evidence"):
        evidence = matches(findings, datasets)
    for path, stamp in stamps.items():
        if not _is_local(path) or _stamp(path) != stamp:
            raise DataError(f"{path}: changed while it was read")
    run = RunRecord(inputs, dict(columns or {}), _environment(options), clock.seconds)
    return LeakReport(findings, options, run, evidence)


def _files(payload: Payload | None) -> tuple[SplitFile, ...]:
    return () if payload is None else payload.files


def _is_local(path: str | None) -> TypeGuard[str]:
    return path is not None and os.path.isfile(path)


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _input(dataset: Dataset, payload: Payload | None, hashes: Mapping[str, str]) -> dict[str, Any]:
    def described(file: SplitFile) -> dict[str, Any]:
        return {
            "path": file.name,
            "bytes": file.nbytes,
            "blake3": hashes.get(file.path or ""),
            "fields": dict(file.fields),
            "provenance": file.provenance,
        }

    coverage = dataset.coverage
    return {
        "files": [described(file) for file in dataset.files],
        "notes": list(dataset.notes),
        "payload": coverage
        and {
            "files": [described(file) for file in _files(payload)],
            "rows": coverage.rows,
            "covered": coverage.covered,
        },
    }


def _environment(options: ScanOptions) -> dict[str, Any]:
    return {
        "version": _core.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "unicode": _core.unicode_version(),
        "kernel": _core.kernel_name(),
        "threads": _core.thread_count(options.threads),
        "engine": "local",
        "memory_limit": options.memory_limit,
    }
