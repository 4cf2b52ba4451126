"""Rows of files into other files of the same format: each row to one target or to none, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lvmfast.corpus.formats import Format, required_format
from lvmfast.corpus.rewriters.rows import WHOLE, InPieces, Parts
from lvmfast.errors import DataError, naming
from lvmfast.stores import local_copies, telling_of


def rewrite(
    sources: Sequence[str],
    parts: Sequence[Parts],
    targets: Sequence[Path],
    pieces: Sequence[InPieces] = (),
) -> None:
    """Writes row r of file s to ``targets[parts[s][r]]``, or nowhere where that is negative.

    Rows keep their order, values and types: an npz its members (those without a value per row are copied as
    they are), a table its schema and metadata, a line file the very bytes of its lines. Memory holds blocks.

    Args:
        sources: files and objects of one format; one after the other they make each target. Objects are
            copied to this machine, for rows are read more than once.
        parts: for each file, int8 (rows,).
        targets: files that are not there yet, in the format of the sources.
        pieces: for each file the rows that become pieces of their text; empty where no row does.

    Raises:
        DataError: the sources differ in format, fields or types, hold other rows than `parts` says, or an
            array or a text that cannot be cut; or a target cannot be written.
    """
    with naming(" and ".join(target.name for target in targets), "cannot write"):
        format = common_format(sources)
        if any(of_file.of_row for of_file in pieces):
            check_cuttable(sources[0])
        with local_copies(sources, keep=True) as copies:
            local = list(copies)
            with telling_of(local, sources):
                format.rewrite(local, parts, targets, pieces or [WHOLE] * len(sources))


def rewrite_each(
    sources: Sequence[str], parts: Sequence[Parts], targets: Sequence[Path], pieces: Sequence[InPieces]
) -> Iterator[str]:
    """As `rewrite`, each source to a target of its own; gives a source when it was written.

    Raises:
        DataError: as `rewrite`.
    """
    with local_copies(sources) as copies:
        for source, copy, part, target, cut in zip(sources, copies, parts, targets, pieces, strict=True):
            with telling_of([copy], [source]):
                rewrite([copy], [part], [target], [cut])
            yield source


def check_cuttable(source: str) -> None:
    """Refuses a file of which no row can become pieces of its text.

    Raises:
        DataError: its format has none.
    """
    format = required_format(source)
    if not format.cuttable:
        raise DataError(f"{source}: a row of {format.name} cannot become pieces of its text")


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
