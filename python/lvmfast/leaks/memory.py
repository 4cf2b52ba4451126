"""How much memory a scan will need, said before it starts."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lvmfast.corpus.dataset import Dataset
from lvmfast.errors import DataError
from lvmfast.leaks.duplicates import BLOCKS_PER_PASS
from lvmfast.leaks.levels import Level
from lvmfast.leaks.options import ScanOptions

MOST_BLOCK_ROWS = 16_384
#: Blocks that are alive at once: as read, the next one, in the core's own form, and the hits with all that is
#: made of them.
BLOCKS_HELD = 11
#: A hash table holds each key, a slot and a byte of control at a load of 7/8, doubled while it grows.
TABLE_BYTES = {"doc": 56, "chunk": 80, "text": 80, "group": 56}
#: Where texts have not been read yet, a row's text is taken to be this long.
TEXT_BYTES = 1_000
#: A match in parallel arrays, three times over while evidence is pruned and sorted.
EVIDENCE_BYTES = 3 * 64
#: What the interpreter with numpy and pyarrow holds, pyarrow's own pool included.
BASE_BYTES = 200 << 20


def block_rows(dataset: Dataset, columns: Sequence[str], options: ScanOptions) -> int:
    """Rows per batch of `dataset` when `columns` are read."""
    row = 64
    if "text" in columns:
        row += TEXT_BYTES
    if "vector" in columns:
        row += 4 * (dataset.dim or 0)
    if "context" in columns:
        row += 4 * (dataset.dim or 0) * (dataset.context_length or 0)
    return max(1, min(MOST_BLOCK_ROWS, options.block_bytes // row))


def working_bytes(options: ScanOptions) -> int:
    """Bytes that a scan needs beside its index: blocks, evidence, the interpreter."""
    return BASE_BYTES + BLOCKS_HELD * options.block_bytes + options.max_pairs * EVIDENCE_BYTES


def index_bytes(levels: Sequence[Level], indexed: Dataset, streamed: Dataset, options: ScanOptions) -> int:
    """Bytes that the index is expected to need, of a scan of two sides.

    It grows with the indexed side; of the streamed side only distinct keys (doc, chunk) are kept.
    """
    rows = indexed.estimated_rows()
    vector = 4 * (indexed.dim or 0) + TABLE_BYTES["group"] + 40
    need = max(indexed.ahead_bytes, streamed.ahead_bytes)
    need += rows * (TABLE_BYTES["text"] + TEXT_BYTES) if "text" in levels else 0
    for level in ("doc", "chunk"):
        if level in levels:
            need += (rows + streamed.estimated_rows()) * TABLE_BYTES[level]
    if "vector" in levels or "context" in levels:
        need += rows * vector
    if options.nearest:
        need += rows * nearest_bytes(indexed.dim or 0)
    if "context" in levels:
        need += rows * vector * (indexed.context_length or 0)
    return need


def nearest_bytes(dim: int) -> int:
    """Bytes per indexed row of a search for nearest rows: its best, projections and codes."""
    return 64 + 5 * min(dim, 384)


def join_bytes(dim: int) -> int:
    """Bytes per row of a join of a set with itself: projections, codes, cells."""
    return 150 + 6 * min(dim, 384)


def index_bytes_within(levels: Sequence[Level], split: Dataset, options: ScanOptions) -> int:
    """Bytes that the index is expected to need, of a scan inside one split."""
    rows = split.estimated_rows()
    text = split.ahead_bytes + (rows * (TABLE_BYTES["text"] + TEXT_BYTES) if "text" in levels else 0)
    if "vector" not in levels:
        return text
    dim = split.dim or 0
    compared = min(rows, BLOCKS_PER_PASS * options.block_bytes // (4 * max(dim, 1)))
    return max(text, rows * (TABLE_BYTES["group"] + 40) + compared * (4 * dim + join_bytes(dim)))


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
