"""What every writer needs: where rows go, and that no row is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lvmfast.errors import DataError, naming

#: For each row of a file the place of its target, negative for a row that is dropped.
Parts = npt.NDArray[np.int8]

#: From a character of a text up to another.
Stretch = tuple[int, int]

#: Rows are read and written in blocks of about this many bytes,
BLOCK_BYTES = 8 << 20
#: and a table's row groups hold at most about this many.
GROUP_BYTES = 64 << 20


@dataclass(frozen=True)
class InPieces:
    """Rows of a file that become pieces of their text, each a row with all other values of the whole one."""

    text: str  #: the field that is cut
    chunk_id: (
        str | None
    )  #: the field that is null in a piece, which is that chunk no more; None: there is none
    of_row: Mapping[int, Sequence[Stretch]]  #: where the pieces of a row of the file stand in its text


#: No row of a file is cut.
WHOLE = InPieces("", None, {})


def check_rows(path: str, parts: Parts, found: int) -> None:
    """Holds a file to the rows it had when it was scanned.

    Raises:
        DataError: it has others.
    """
    if found != len(parts):
        raise DataError(f"{path}: expected the {len(parts)} rows that were scanned, found {found}")


def writing(target: Path) -> AbstractContextManager[None]:
    """Turns what the system says about `target` into a DataError that names it, and not the file it is from.

    Raises:
        DataError: the disk is full, or the like.
    """
    return naming(target.name, "cannot write")
