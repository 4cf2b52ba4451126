"""How much memory a scan will need, said before it starts."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lvmfast.corpus.dataset import Dataset
from lvmfast.errors import DataError
from lvmfast.leaks.levels import Level

#: Rows per block are chosen so that one block of the streamed side takes about this many bytes.
BLOCK_BYTES = 64 << 20
MOST_BLOCK_ROWS = 16_384
#: Copies of a block that are alive at once: as read, as normalised, and its hits.
BLOCKS_HELD = 4
#: A hash table holds each key, a slot and a byte of control at a load of 7/8, doubled while it grows.
TABLE_BYTES = {"doc": 56, "chunk": 80, "text": 80, "group": 56}
#: Where texts have not been read yet, a row's text is taken to be this long.
TEXT_BYTES = 1_000
#: The interpreter with numpy and pyarrow loaded.
BASE_BYTES = 150 << 20


def block_rows(dataset: Dataset, columns: Sequence[str]) -> int:
    """Rows per batch of `dataset` when `columns` are read."""
    row = 64
    if "text" in columns:
        row += TEXT_BYTES
    if "vector" in columns:
        row += 4 * (dataset.dim or 0)
    if "context" in columns:
        row += 4 * (dataset.dim or 0) * (dataset.context_length or 0)
    return max(1, min(MOST_BLOCK_ROWS, BLOCK_BYTES // row))


def estimate(levels: Sequence[Level], indexed: Dataset, streamed: Dataset | None) -> int:
    """Bytes of anonymous memory that a scan is expected to need at its peak.

    The index grows with the indexed side; of the streamed side only distinct keys (doc, chunk) are kept.
    """
    rows = indexed.estimated_rows()
    vector = 4 * (indexed.dim or 0) + TABLE_BYTES["group"] + 40
    need = BASE_BYTES + BLOCKS_HELD * BLOCK_BYTES
    if "text" in levels:
        need += rows * (TABLE_BYTES["text"] + TEXT_BYTES)
    for level in ("doc", "chunk"):
        if level in levels:
            need += (rows + (streamed.estimated_rows() if streamed else 0)) * TABLE_BYTES[level]
    if "vector" in levels or "context" in levels:
        need += rows * vector
    if "context" in levels:
        need += rows * vector * (indexed.context_length or 0)
    return need


def available() -> int | None:
    """Bytes that the system can still give, where it says so."""
    try:
        with open("/proc/meminfo") as meminfo:
            fields = dict(line.split(":", 1) for line in meminfo)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, AttributeError):
            return None


def check(need: int, limit: int | None) -> None:
    """Holds an estimate against the limit the user set, or what the system has.

    Raises:
        DataError: the need is above it; both figures are named.
    """
    bound, whose = (limit, "--memory-limit") if limit is not None else (available(), "available memory")
    if bound is not None and need > bound:
        raise DataError(
            f"the scan needs about {need / 2**30:.2f} GiB, over the {bound / 2**30:.2f} GiB of {whose}; "
            "raise the limit, or leave out levels"
        )
