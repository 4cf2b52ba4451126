"""`rewrite`: which writer goes with which format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lvmfast.corpus.failures import one_line
from lvmfast.corpus.formats import format_of
from lvmfast.errors import DataError
from lvmfast.splits.rewrite.arrays import rewrite_npy, rewrite_npz
from lvmfast.splits.rewrite.lines import rewrite_csv, rewrite_jsonl
from lvmfast.splits.rewrite.rows import Parts
from lvmfast.splits.rewrite.tables import rewrite_arrow, rewrite_parquet

_WRITERS: dict[str, Callable[[Sequence[str], Sequence[Parts], Sequence[Path]], None]] = {
    "arrow": rewrite_arrow,
    "csv": rewrite_csv,
    "jsonl": rewrite_jsonl,
    "npy": rewrite_npy,
    "npz": rewrite_npz,
    "parquet": rewrite_parquet,
}


def rewrite(sources: Sequence[str], parts: Sequence[Parts], targets: Sequence[Path]) -> None:
    """Writes row r of file s to ``targets[parts[s][r]]``, or nowhere where that is negative.

    Rows keep their order, values and types: an npz its members (those without a value per row are copied as
    they are), a table its schema and metadata, a line file the very bytes of its lines. Memory holds blocks.

    Args:
        sources: files of one format; one after the other they make each target.
        parts: for each file, int8 (rows,).
        targets: files that are not there yet, in the format of the sources.

    Raises:
        DataError: the sources differ in format, fields or types, hold other rows than `parts` says, or an
            array that cannot be cut; or a target cannot be written.
    """
    try:
        _WRITERS[common_format(sources)](sources, parts, targets)
    except OSError as error:
        names = " and ".join(target.name for target in targets)
        raise DataError(f"{names}: cannot write: {one_line(error.strerror or error)}") from error


def common_format(sources: Sequence[str]) -> str:
    """The format of all `sources`.

    Raises:
        DataError: they have several.
    """
    first = format_of(sources[0])
    for source in sources:
        if format_of(source) != first:
            raise DataError(
                f"{source}: {format_of(source)} beside the {first} of {sources[0]}: one output has one format"
            )
    return str(first)
