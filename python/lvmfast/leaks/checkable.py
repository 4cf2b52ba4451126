"""Which levels a scan can run on the columns that are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lvmfast.corpus.dataset import Dataset
from lvmfast.errors import DataError
from lvmfast.leaks.findings import named_files
from lvmfast.leaks.levels import LEVELS, NEEDS, WITHIN_LEVELS, Level
from lvmfast.leaks.options import ScanOptions


def checkable(
    train: Dataset, eval: Dataset | None, options: ScanOptions
) -> tuple[tuple[Level, ...], dict[Level, str]]:
    """The levels to run, and why the others among those wanted cannot be.

    Raises:
        DataError: a level asked for by name is not checkable, or none is; the vectors of the two sides
            differ in dimension; `max_df` has no documents to count.
    """
    possible = LEVELS if eval else WITHIN_LEVELS
    wanted = options.levels or possible
    missing: dict[Level, str] = {}
    for side, dataset in (("train", train), ("eval", eval)):
        if dataset is not None and (dataset.rows == 0 or not dataset.columns):
            raise no_rows(side, [file.name for file in dataset.files])
    for level in wanted:
        if level not in possible:
            missing[level] = f"within one split only {' and '.join(WITHIN_LEVELS)} mean something"
            continue
        for side, dataset in (("train", train), ("eval", eval)):
            if dataset is None or (level == "oracle" and side == "train"):
                continue
            lacking = [c for c in NEEDS[level] if c not in dataset.columns]
            if lacking:
                named = named_files([file.name for file in dataset.files])
                hint = "; a payload may have it" if lacking == ["text"] else ""
                missing.setdefault(level, f"{side} has no {' and no '.join(lacking)} ({named}){hint}")
    if options.levels and missing:
        level, reason = next(iter(missing.items()))
        raise DataError(f"level {level}: {reason}")
    levels = tuple(level for level in wanted if level not in missing)
    if options.nearest and (eval is None or "vector" not in levels):
        why = "there is no evaluation set" if eval is None else missing.get("vector", "it was left out")
        raise DataError(f"nearest: needs two sides and the level vector: {why}")
    if not levels:
        raise nothing_checkable(missing)
    if eval and {"vector", "context"} & set(levels) and train.dim != eval.dim:
        raise DataError(
            f"vectors differ in dimension: train {train.files[0].name} has {train.dim}, "
            f"eval {eval.files[0].name} has {eval.dim}"
        )
    if options.max_df is not None and "text" in levels:
        for side, dataset in (("train", train), ("eval", eval)):
            if dataset and "doc_id" not in dataset.columns:
                raise DataError(f"max_df counts documents, and {side} has no doc_id")
    return levels, missing


def no_rows(side: str, names: Sequence[str]) -> DataError:
    """The error of a side that is empty."""
    return DataError(f"{side}: {named_files(names)}: no rows")


def nothing_checkable(reasons: Mapping[Level, str | None]) -> DataError:
    """The error of a scan that has nothing to say."""
    listed = "; ".join(f"{level}: {reason}" for level, reason in reasons.items())
    return DataError(f"no level can be checked: {listed}")
