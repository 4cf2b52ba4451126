"""What rows of a keyed level are known by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from lvmfast import _core
from lvmfast.corpus.dataset import Batch, Rows
from lvmfast.corpus.keys import Keys, is_keys, keys_of_array, text_bytes
from lvmfast.corpus.plain import null_rows, without_nulls

#: Codes of rows that have no key.
NULL_ID = -4
NO_TEXT = -5


class Comparable(Protocol):
    """How texts are made comparable: what keys may depend on of the options of a scan."""

    @property
    def normalize(self) -> str:
        """default, none or strict."""
        ...

    @property
    def min_chars(self) -> int:
        """Texts with fewer characters after that have no key."""
        ...

    @property
    def threads(self) -> int:
        """0 for one per available core."""
        ...


#: The key of each row (n, words), and 0 or the negative code of why it has none; None where the file lacks
#: a column.
KeysOf = Callable[[Batch, Comparable], tuple[Keys, Rows] | None]


@dataclass(frozen=True)
class KeyedBy:
    """What rows of a keyed level have for keys: rows match where they are equal."""

    words: int  #: of 64 bits in a key
    of: KeysOf
    texts: bool = False  #: whether keys are hashes of the texts, which are compared themselves, too

    @property
    def record_bytes(self) -> int:
        """On disk per row that is parted: its key, its number, and what the format adds."""
        return 8 * self.words + 10


def text_keys(text: pa.Array, options: Comparable) -> tuple[Keys, Rows]:
    """As `KeysOf`, of texts or of what a fingerprint keeps of them: hashes of what normalisation leaves."""
    if is_keys(text):
        keys = keys_of_array(text)
    else:
        data, offsets = text_bytes(without_nulls(text))
        keys = _core.text_keys(data, offsets, options.normalize, options.min_chars, options.threads)
    codes = np.where(keys[:, 0] == 0, -keys[:, 1].astype(np.int64), 0)
    codes[null_rows(text)] = NO_TEXT
    return keys, codes
