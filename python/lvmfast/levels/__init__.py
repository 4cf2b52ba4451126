"""The levels of a scan: a file for each, and the registry that everything else asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lvmfast.corpus.dataset import Column
from lvmfast.errors import DataError
from lvmfast.leaks.options import LevelName, ScanOptions
from lvmfast.levels.base import Level
from lvmfast.levels.chunk import CHUNK
from lvmfast.levels.context import CONTEXT
from lvmfast.levels.doc import DOC
from lvmfast.levels.oracle import ORACLE
from lvmfast.levels.overlap import OVERLAP
from lvmfast.levels.text import TEXT
from lvmfast.levels.vector import VECTOR

#: Every level by its name, in the order in which reports have them.
LEVELS: dict[LevelName, Level] = {
    level.name: level for level in (DOC, CHUNK, TEXT, OVERLAP, VECTOR, CONTEXT, ORACLE)
}


def parse_levels(names: Iterable[str]) -> tuple[LevelName, ...]:
    """The named levels in canonical order.

    Raises:
        DataError: a name that is no level, or no name at all.
    """
    wanted = {name.strip() for name in names}
    unknown = sorted(wanted.difference(LEVELS))
    if unknown or not wanted:
        found = ", ".join(unknown) or "nothing"
        raise DataError(f"levels: expected some of {', '.join(LEVELS)}; got {found}")
    return tuple(level for level in LEVELS if level in wanted)


def check_allowed(allow: Mapping[LevelName, float]) -> None:
    """Holds the tolerated rates of a scan to levels that there are.

    Raises:
        DataError: one is of no level.
    """
    for name in allow:
        if name not in LEVELS:
            raise DataError(f"allow: {name!r} is no level; expected one of {', '.join(LEVELS)}")


def columns_of(levels: Iterable[LevelName]) -> tuple[Column, ...]:
    """The columns that `levels` read, each once, in a fixed order."""
    return tuple(dict.fromkeys(column for level in levels for column in LEVELS[level].needs))


def joined(levels: Iterable[LevelName], options: ScanOptions) -> list[LevelName]:
    """Those of `levels` for which training rows are joined that are chunks of one document."""
    return [level for level in levels if options.join_chunks and LEVELS[level].excerpts]
