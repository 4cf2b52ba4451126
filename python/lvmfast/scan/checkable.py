"""Which levels a scan can run on the columns that are there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from lvmfast.corpus.dataset import Column, Dataset
from lvmfast.corpus.looks import LackingError
from lvmfast.corpus.sides import Side
from lvmfast.errors import DataError
from lvmfast.leaks.chunks import CHUNK_IDS
from lvmfast.leaks.findings import Lacking, named_files
from lvmfast.leaks.options import LevelName, ScanOptions
from lvmfast.leaks.rules import OWN
from lvmfast.levels import LEVELS, joined

#: What columns hold, as it is called where they are lacking.
CALLED: Mapping[Column, str] = {
    "doc_id": "ids",
    "chunk_id": "chunk ids",
    "text": "texts",
    "vector": "vectors",
    "context": "context windows",
}


def checkable(
    train: Dataset, eval: Dataset | None, options: ScanOptions
) -> tuple[tuple[LevelName, ...], dict[LevelName, Lacking]]:
    """The levels to run, and why the others among those wanted cannot be.

    Raises:
        DataError: a level asked for by name is not checkable, or none is; a level that nobody asked for
            could run but for a column that cannot be read; the vectors of the two sides differ in dimension;
            `max_df` has no documents to count.
    """
    possible = [name for name, level in LEVELS.items() if eval or level.within]
    wanted = options.levels or tuple(possible)
    missing: dict[LevelName, Lacking] = {}
    sides: dict[Side, Dataset] = {"train": train} if eval is None else {"train": train, "eval": eval}
    for side, dataset in sides.items():
        # Where no column can be read, nobody counted the rows, and the levels say why.
        if dataset.rows == 0 if dataset.columns else not dataset.unreadable:
            raise no_rows(side, [file.name for file in dataset.files])
    unreadable: dict[LevelName, str] = {}
    for level in wanted:
        if level not in possible:
            missing[level] = Lacking(f"within one split only {' and '.join(possible)} mean something")
            continue
        lacking = _lacking(sides, level)
        if not lacking:
            continue
        side, column = lacking[0]
        broken = sides[side].unreadable
        reasons = [sides[side].unreadable.get(column) for side, column in lacking]
        if all(reasons):
            unreadable[level] = str(reasons[0])
        if column in broken:
            missing[level] = Lacking(f"{side}: {broken[column]}")
        else:
            absent = [c for s, c in lacking if s == side and c not in broken]
            named = named_files([file.name for file in sides[side].files])
            hint = "; a payload may have it" if LEVELS[level].payload else ""
            reason = f"{side} has no {' and no '.join(absent)} ({named}){hint}"
            missing[level] = Lacking(reason, _in_words(level, lacking, sides))
    if options.levels and missing:
        level, first = next(iter(missing.items()))
        raise LackingError(f"level {level}: {first.reason}")
    levels = tuple(level for level in wanted if level not in missing)
    if unreadable:
        rest = f"; to scan without it: --levels {','.join(levels)}" if levels else ""
        raise DataError(next(iter(unreadable.values())) + rest)
    can = next(name for name, level in LEVELS.items() if level.nearest)
    if options.nearest and (eval is None or can not in levels):
        why = missing[can].reason if can in missing else "it was left out"
        why = "there is no evaluation set" if eval is None else why
        raise LackingError(f"nearest: needs two sides and the level {can}: {why}")
    if not levels:
        raise nothing_checkable({level: why.reason for level, why in missing.items()})
    if options.overlap_rule != OWN and not any(LEVELS[level].excerpts for level in levels):
        names = " and ".join(name for name, level in LEVELS.items() if level.excerpts)
        raise LackingError(f"overlap_rule: {options.overlap_rule} decides at {names}, which is not scanned")
    if options.join_chunks:
        _check_chunks(train, eval, levels, options)
    if eval and any(LEVELS[level].compares_vectors for level in levels) and train.dim != eval.dim:
        raise DataError(
            f"vectors differ in dimension: train {train.files[0].name} has {train.dim}, "
            f"eval {eval.files[0].name} has {eval.dim}"
        )
    if options.max_df is not None and any(LEVELS[level].boilerplate for level in levels):
        for side, dataset in sides.items():
            if "doc_id" not in dataset.columns:
                why = dataset.unreadable.get("doc_id", "no doc_id")
                raise LackingError(f"max_df counts documents, and {side} has none: {why}")
    return levels, missing


def _check_chunks(
    train: Dataset, eval: Dataset | None, levels: Sequence[LevelName], options: ScanOptions
) -> None:
    """Refuses to join what has no chunks, or for no level.

    Raises:
        DataError: the training set is compared with itself, or at no level that joins; a file of it has texts
            and not both ids.
    """
    if eval is None:
        raise DataError("join_chunks: inside one set no text is looked for in another: nothing is joined")
    if not joined(levels, options):
        names = " and ".join(name for name, level in LEVELS.items() if level.excerpts)
        raise LackingError(f"join_chunks: rows are joined at {names} alone, which is not scanned")
    for file in train.files:
        lacking = [column for column in CHUNK_IDS if column not in file.fields]
        if "text" in file.fields and lacking:
            raise LackingError(f"join_chunks: {file.name}: no {' and no '.join(lacking)}")


def _lacking(sides: Mapping[Side, Dataset], level: LevelName) -> list[tuple[Side, Column]]:
    """The columns that `level` would need, and which side does not have."""
    return [
        (side, column)
        for side, dataset in sides.items()
        if side in LEVELS[level].sides
        for column in LEVELS[level].needs
        if column not in dataset.columns
    ]


def _in_words(level: LevelName, lacking: Sequence[tuple[Side, Column]], sides: Collection[Side]) -> str:
    """What `level` lacks, in few words: the same where levels lack the same."""
    lacked = [column for _, column in lacking]
    column = next(column for column in LEVELS[level].needs if column in lacked)
    without = [side for side, of in lacking if of == column]
    where = (
        ""
        if len(without) == len(set(sides).intersection(LEVELS[level].sides))
        else f" in {' and '.join(without)}"
    )
    return f"no {CALLED.get(column, column)}{where}"


def check_readable(dataset: Dataset) -> None:
    """Holds a split that is to be divided to what every level needs.

    Raises:
        DataError: a level could run on the split but for a column that cannot be read.
    """
    for level in LEVELS:
        reasons = [dataset.unreadable.get(column) for _, column in _lacking({"eval": dataset}, level)]
        if reasons and all(reasons):
            raise DataError(str(reasons[0]))


def no_rows(side: str, names: Sequence[str]) -> DataError:
    """The error of a side that is empty."""
    return LackingError(f"{side}: {named_files(names)}: no rows")


def nothing_checkable(reasons: Mapping[LevelName, str | None]) -> DataError:
    """The error of a scan that has nothing to say."""
    listed = "; ".join(f"{level}: {reason}" for level, reason in reasons.items())
    return LackingError(f"no level can be checked: {listed}")
