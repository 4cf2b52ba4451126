"""Which vectors of a training set are one and the same, whatever its keys say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lvmfast import _core
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.documents import Documents
from lvmfast.corpus.sequences import Sequences
from lvmfast.leaks.progress import Progress

_BLOCK = 4096


@dataclass(frozen=True)
class Identities:
    """Equal vectors have equal numbers; a vector without a direction (zero, NaN) has -1."""

    target: Rows  #: (n,)
    context: Rows  #: (n, length)


def identify(sequences: Sequences | Documents, rows: Rows, threads: int, progress: Progress) -> Identities:
    """Numbers the targets and the windows' vectors of (k,) ascending `rows`, each read once.

    Equality is that of the bytes, by their 128-bit hash: what one file copies into many windows is the same.
    """
    naming = _Naming(threads)
    windows, chunks = sequences.windows, sequences.chunks
    if windows is not None and chunks is not None:
        blocks = (sequences.chunk_rows(i, min(i + _BLOCK, chunks)) for i in range(0, chunks, _BLOCK))
        names = [naming.name(block) for block in blocks]
        named = np.concatenate([*names, [-1]])[windows[rows]]  # -1, where a document has not begun
        return Identities(named[:, -1], named[:, :-1])
    targets, contexts = np.empty(len(rows), np.int64), np.empty((len(rows), sequences.length), np.int64)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        targets[block] = naming.name(sequences.targets(rows[block]))
        windows_of_block = sequences.contexts(rows[block])
        contexts[block] = naming.name(windows_of_block.reshape(-1, sequences.dim)).reshape(
            -1, sequences.length
        )
        progress("name vectors", min(start + _BLOCK, len(rows)), len(rows))
    return Identities(targets, contexts)


class _Naming:
    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._table = _core.KeyTable(2, threads)

    def name(self, vectors: Vectors) -> Rows:
        codes, keys = _core.describe_rows(np.ascontiguousarray(vectors), self._threads)
        names = np.full(len(vectors), -1, np.int64)
        names[codes == 0] = self._table.insert(np.ascontiguousarray(keys[codes == 0]))
        return names
