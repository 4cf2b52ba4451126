"""Rows of files into other files of the same format: each row to one target or to none, in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lvmfast.corpus.formats import Format, required_format
from lvmfast.corpus.rewriters.rows import Parts
from lvmfast.errors import DataError, naming


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
    with naming(" and ".join(target.name for target in targets), "cannot write"):
        common_format(sources).rewrite(sources, parts, targets)


def common_format(sources: Sequence[str]) -> Format:
    """The format of all `sources`.

    Raises:
        DataError: they have several, or none.
    """
    first = required_format(sources[0])
    for source in sources:
        if (other := required_format(source)) is not first:
            raise DataError(
                f"{source}: {other.name} beside the {first.name} of {sources[0]}: one output has one format"
            )
    return first
