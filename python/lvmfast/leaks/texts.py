"""Arrow strings as the bytes and offsets that the core reads, without a copy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

NO_BYTES: npt.NDArray[np.uint8] = np.empty(0, np.uint8)


def text_buffers(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The UTF-8 bytes and the n + 1 int64 offsets of a large_string array; a null reads as empty."""
    _, offsets, data = texts.buffers()
    if offsets is None or offsets.size == 0:
        return NO_BYTES, np.zeros(len(texts) + 1, np.int64)
    window = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return NO_BYTES if data is None else np.frombuffer(data, np.uint8), window
