"""How much memory a scan will need, said before it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pyarrow as pa

from lvmfast.corpus.budget import BASE_BYTES, BLOCKS_HELD, fixed_bytes
from lvmfast.corpus.dataset import ITEM_COLUMNS, Column, Dataset
from lvmfast.errors import DataError
from lvmfast.leaks import cgroup
from lvmfast.leaks.evidence import EVIDENCE_BYTES, check_evidence_held
from lvmfast.leaks.options import ScanOptions

MOST_BLOCK_ROWS = 16_384
#: Groups of equal vectors: a table, and what is known of each row and of each group.
GROUP_BYTES = 120
#: The core's own forms of a vector beside its values: projections and codes of the sieve, at most.
SIEVE_BYTES = 240
#: A vector whose list grows by half of its size at a time.
GROWING = 1.25
#: Where no text can be looked at, a row's text is taken to be this long.
TEXT_BYTES = 1_000
#: Rows whose texts are looked at, to know how long they are, and how much longer those of all may be.
SAMPLED_ROWS = 1_024
TEXT_MARGIN = 1.25
#: Vectors that a pass over one split holds at least.
LEAST_PASS = 4_096
#: A matched row: in lists, put together, and sorted or located in its file.
MATCHED_BYTES = 48
#: More bytes than there are anywhere.
ENDLESS = 1 << 62


def block_rows(dataset: Dataset, columns: Sequence[str], options: ScanOptions) -> int:
    """Rows per batch of `dataset` when `columns` are read."""
    row = 64
    if "text" in columns:
        row += TEXT_BYTES
    row += TEXT_BYTES * len(dataset.columns.intersection(columns, ITEM_COLUMNS))
    if "vector" in columns:
        row += 4 * (dataset.dim or 0)
    if "context" in columns:
        row += 4 * (dataset.dim or 0) * (dataset.context_length or 0)
    return max(1, min(MOST_BLOCK_ROWS, options.block_bytes // row))


def working_bytes(options: ScanOptions) -> int:
    """Bytes that a scan needs beside its index and what it finds: blocks and the interpreter."""
    return BASE_BYTES + BLOCKS_HELD * options.block_bytes


def indexed_bytes(dim: int, options: ScanOptions) -> int:
    """Bytes of one vector in an index."""
    return int(4 * dim * GROWING) + SIEVE_BYTES + (nearest_bytes(dim) if options.nearest else 0)


def text_bytes(dataset: Dataset, column: Column = "text") -> int:
    """How long the texts of a split are, by a look at some of its first rows, with a margin."""
    for texts in sampled(dataset, column):
        return 1 + int(TEXT_MARGIN * texts.nbytes / len(texts))
    return TEXT_BYTES


def sampled(dataset: Dataset, column: Column) -> Iterator[pa.Array]:
    """Texts of the first rows that have any, some at a time."""
    for file in dataset.files:
        if column in file.fields:
            for batch in file.batches([column], SAMPLED_ROWS):
                if (texts := getattr(batch, column)) is not None and batch.rows:
                    yield texts


def nearest_bytes(dim: int) -> int:
    """Bytes per indexed row of a search for nearest rows: its best, projections and codes."""
    return 64 + 5 * min(dim, 384)


def join_bytes(dim: int) -> int:
    """Bytes per row of a join of a set with itself: projections, codes, cells."""
    return 150 + 6 * min(dim, 384)


def vectors_per_pass(split: Dataset, options: ScanOptions, room: int, beside: int = 0) -> int:
    """Vectors of a split that a pass of its comparison with itself holds: as many as there is room for.

    Beside other `beside` bytes.
    """
    from lvmfast.leaks.duplicates import BLOCKS_PER_PASS

    dim = max(split.dim or 0, 1)
    most = max(1, BLOCKS_PER_PASS * options.block_bytes // (4 * dim))
    left = room - working_bytes(options) - split.estimated_rows() * GROUP_BYTES - beside
    return min(most, max(LEAST_PASS, left // (4 * dim + join_bytes(dim))))


def available() -> int:
    """Bytes that the system, and the control group of this process, can give; endless where nobody says."""
    known = (_of_the_system(), cgroup.available())
    return min((free for free in known if free is not None), default=ENDLESS)


def _of_the_system() -> int | None:
    try:
        with open("/proc/meminfo") as meminfo:
            fields = dict(line.split(":", 1) for line in meminfo)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        try:
            return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, AttributeError):
            return None


def bound(options: ScanOptions) -> int:
    """Bytes that a scan may use: the limit the user set, or what the system has."""
    return options.memory_limit if options.memory_limit is not None else available()


def check_matched(rows: int, beside: int, options: ScanOptions, evidence: int = 0) -> None:
    """Holds what matched rows need, of which nobody knows how many there will be, against a limit.

    Raises:
        DataError: with `beside` bytes for the index, and the matches held as evidence, they need more.
    """
    check_evidence_held(evidence, beside, options)
    need = working_bytes(options) + beside + rows * MATCHED_BYTES + evidence * EVIDENCE_BYTES
    if options.memory_limit is not None and need > options.memory_limit:
        raise DataError(
            f"the scan has found {rows:,} matched rows so far and needs {need / 2**30:.2f} GiB with them, "
            f"over the {options.memory_limit / 2**30:.2f} GiB of --memory-limit: raise it or drop levels"
        )


def refusal(
    need: int, room: int, options: ScanOptions, hint: str = "raise the limit, or leave out levels"
) -> str | None:
    """Why there is no room for an estimated need, by the limit the user set or of what the system has.

    None where there is; both figures are named.
    """
    if need <= room:
        return None
    limited = options.memory_limit is not None
    if limited and 2 * fixed_bytes(room) > need:
        hint = "most of it for the interpreter, its libraries and blocks of rows: raise the limit"
    whose = "--memory-limit" if limited else "available memory"
    return f"the scan needs about {need / 2**30:.2f} GiB, over the {room / 2**30:.2f} GiB of {whose}; {hint}"


def check(need: int, options: ScanOptions) -> None:
    """Holds an estimate against the limit the user set, or what the system has.

    Raises:
        DataError: the need is above it.
    """
    if refused := refusal(need, bound(options), options):
        raise DataError(refused)
