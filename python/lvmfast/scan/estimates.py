"""How much memory the levels of a scan will need, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence

from lvmfast.corpus.dataset import Dataset
from lvmfast.leaks import memory
from lvmfast.leaks.keyed_by import KeyedBy
from lvmfast.leaks.options import LevelName, ScanOptions
from lvmfast.levels import LEVELS

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
    own = sum(own(indexed) for level in levels if (own := LEVELS[level].index_bytes) is not None)
    return ahead + own + keyed_bytes(levels, indexed, streamed) + vector_bytes(levels, indexed, options)


def keyed_bytes(levels: Sequence[LevelName], indexed: Dataset, streamed: Dataset) -> int:
    """The part of `index_bytes` for the levels that compare keys."""
    rows = indexed.estimated_rows()
    need = 0
    for keys in keys_of(levels):
        slot = LISTED * 8 * keys.words + SLOT_BYTES
        need += rows * (slot + COUNTED_BYTES)
        need += rows * LISTED * memory.text_bytes(indexed) if keys.texts else streamed.estimated_rows() * slot
    return need


def keys_of(levels: Sequence[LevelName]) -> list[KeyedBy]:
    """The keys of those of `levels` that compare keys."""
    return [keys for level in levels if (keys := LEVELS[level].keys) is not None]


def vector_bytes(levels: Sequence[LevelName], indexed: Dataset, options: ScanOptions) -> int:
    """The part of `index_bytes` for the levels that compare vectors."""
    rows, dim = indexed.estimated_rows(), indexed.dim or 0
    each = memory.GROUP_BYTES + memory.indexed_bytes(dim, options)
    need = rows * each if any(LEVELS[level].compares_vectors for level in levels) else 0
    if any(LEVELS[level].windows for level in levels):
        need += rows * each * (indexed.context_length or 0)
    return need


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
    levels: Sequence[LevelName], split: Dataset, options: ScanOptions, beside: int = 0
) -> int:
    """Bytes that the index is expected to need, of a scan inside one split."""
    rows = split.estimated_rows()
    text = split.ahead_bytes
    for keys in keys_of(levels):
        listed = 8 * keys.words + (memory.text_bytes(split) if keys.texts else 0)
        text += rows * (LISTED * listed + SLOT_BYTES + COUNTED_BYTES)
    if not any(LEVELS[level].compares_vectors for level in levels):
        return text
    dim = split.dim or 0
    compared = min(rows, memory.vectors_per_pass(split, options, beside))
    return beside + max(text, rows * memory.GROUP_BYTES + compared * (4 * dim + memory.join_bytes(dim)))
