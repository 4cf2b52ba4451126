"""How much memory the levels of a scan will need, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence

from lvmfast.corpus.dataset import Dataset
from lvmfast.leaks import memory
from lvmfast.leaks.options import LevelName, ScanOptions
from lvmfast.levels import LEVELS
from lvmfast.levels.base import IndexBytes

#: A table holds each key (8 bytes a word), and slots at a load of 7/8, twice while it grows.
SLOT_BYTES = 18
#: A list of keys or of texts is doubled when it is full.
LISTED = 2
#: Per row of the indexed side of a keyed level: its slot, and what the counting makes of all slots.
COUNTED_BYTES = 90
#: The texts of a match: looked up, put beside it, and joined into one table.
TEXT_COPIES = 3


def index_bytes(
    levels: Sequence[LevelName], indexed: Dataset, streamed: Dataset, options: ScanOptions
) -> int:
    """Bytes that the index is expected to need, of a scan of two sides.

    It grows with the indexed side; of the streamed side only distinct keys (doc, chunk) are kept.
    """
    ahead = max(indexed.ahead_bytes, streamed.ahead_bytes)  # of objects in a store
    each = memory.GROUP_BYTES + memory.indexed_bytes(indexed.dim or 0, options)
    vectors = indexed.estimated_rows() * cells(levels, indexed) * each
    return (
        ahead
        + own_bytes(levels, indexed, options).all
        + keyed_bytes(levels, indexed, streamed.estimated_rows())
        + vectors
    )


def own_bytes(levels: Sequence[LevelName], indexed: Dataset, options: ScanOptions) -> IndexBytes:
    """What the levels with an index of their own are expected to need."""
    of_levels = [of(indexed, options) for level in levels if (of := LEVELS[level].index_bytes) is not None]
    return IndexBytes(sum(own.whole for own in of_levels), sum(own.blocks for own in of_levels))


def keyed_bytes(levels: Sequence[LevelName], indexed: Dataset, streamed_rows: int) -> int:
    """Bytes that the levels that compare keys are expected to need."""
    rows, need = indexed.estimated_rows(), 0
    for keys in filter(None, (LEVELS[level].keys for level in levels)):
        slot = LISTED * 8 * keys.words + SLOT_BYTES
        need += rows * (slot + COUNTED_BYTES)
        need += rows * LISTED * memory.text_bytes(indexed) if keys.texts else streamed_rows * slot
    return need


def cells(levels: Sequence[LevelName], dataset: Dataset) -> int:
    """Vectors of a row of `dataset` that `levels` compare."""
    windows = (dataset.context_length or 0) if any(LEVELS[level].windows for level in levels) else 0
    return 1 + windows if any(LEVELS[level].compares_vectors for level in levels) else 0


def evidence_bytes(levels: Sequence[LevelName], sides: Sequence[Dataset], options: ScanOptions) -> int:
    """Bytes that the texts of the evidence may need, of as many matches as there can be."""
    smaller = min(dataset.estimated_rows() for dataset in sides)
    texts = [memory.text_bytes(dataset) for dataset in sides if "text" in dataset.columns]
    need = 0
    for level in [LEVELS[name] for name in levels]:
        most = min(options.max_pairs, smaller**2 if level.cosine else smaller)
        # A stretch of a training text is about as long as the evaluation text, and at most twice.
        need += most * (3 * min(texts, default=0) if level.excerpts else sum(texts))
    return TEXT_COPIES * need


def index_bytes_within(
    levels: Sequence[LevelName], split: Dataset, options: ScanOptions, room: int, beside: int = 0
) -> int:
    """Bytes that the index is expected to need, of a scan inside one split."""
    text = split.ahead_bytes + keyed_bytes(levels, split, 0)
    if not cells(levels, split):
        return text
    rows, dim = split.estimated_rows(), split.dim or 0
    compared = min(rows, memory.vectors_per_pass(split, options, room, beside))
    return beside + max(text, rows * memory.GROUP_BYTES + compared * (4 * dim + memory.join_bytes(dim)))
