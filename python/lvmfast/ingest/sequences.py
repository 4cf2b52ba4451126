"""Stage 4: windows of consecutive chunks of one article, and the chunk that follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from lvmfast.corpus import load_split
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.corpus.npz import npz_members
from lvmfast.corpus.windows import KEYS, VECTORS, WINDOWS
from lvmfast.corpus.writing import Blocks, write_npz
from lvmfast.errors import DataError

#: ``chunks`` stores each vector once; ``seed`` is the customary layout of copied contexts.
Layout = Literal["chunks", "seed"]
_COPIED_ROWS = 4096


@dataclass(frozen=True)
class Sequences:
    """Chunks and the windows over them."""

    keys: Rows  #: (m, 2): article and chunk
    vectors: Vectors  #: (m, d)
    windows: Rows  #: (n, length + 1): rows of the two above, the target last
    provenance: Mapping[str, Any]

    def chosen(self, keep: npt.NDArray[np.bool_]) -> Sequences:
        """The windows that `keep`, (n,), holds, and the chunks that stand in one of them."""
        windows = self.windows[keep]
        used, numbers = np.unique(windows, return_inverse=True)
        return Sequences(self.keys[used], self.vectors[used], numbers.reshape(windows.shape), self.provenance)


def check_windows(context: int, layout: str) -> None:
    """Holds what sequences are asked to be to its domain.

    Raises:
        DataError: there is no such layout, or no such window.
    """
    if layout not in get_args(Layout):
        raise DataError(f"layout: expected chunks or seed, got {layout!r}")
    if context < 1:
        raise DataError(f"context: expected at least 1 chunk, got {context}")


def write_sequences(embeddings: Path, out: Path, context: int = 5, layout: Layout = "chunks") -> int:
    """Writes every window of `context` chunks with its target to the npz file `out`, in the chunks' order.

    Args:
        embeddings: what stage 3 wrote: `truth_keys` (n, 2) and `embeddings` (n, d).
        out: the file to write.
        context: chunks before the target.
        layout: ``chunks`` stores each vector once (`chunk_vectors`, `chunk_keys`) and `windows` of row
            numbers; ``seed`` copies the vectors (`truth_keys`, `targets`, `contexts`), context + 1 times the
            size, as existing scripts read them.

    Returns:
        The number of sequences.

    Raises:
        DataError: the file cannot be read or written, or no article has more than `context` chunks.
    """
    check_windows(context, layout)
    keys, vectors, provenance = _read(embeddings)
    sequences = Sequences(keys, vectors, windows_of(keys, context), provenance)
    if not len(sequences.windows):
        raise DataError(f"{embeddings}: no article has the {context + 1} chunks of a sequence")
    store_sequences(out, sequences, layout)
    return len(sequences.windows)


def windows_of(keys: Rows, context: int) -> Rows:
    """Every run of `context` + 1 consecutive rows of one article, as row numbers, (n, context + 1).

    Args:
        keys: (m, 2) article and chunk; the chunks of an article are consecutive rows and number on by one.
        context: rows before the last of a run.
    """
    starts = np.arange(max(0, len(keys) - context))
    first, last = keys[starts], keys[starts + context]
    whole = (first[:, 0] == last[:, 0]) & (last[:, 1] - first[:, 1] == context)
    windows: Rows = starts[whole][:, None] + np.arange(context + 1)
    return windows


def store_sequences(out: Path, sequences: Sequences, layout: Layout) -> None:
    """Writes sequences as `write_sequences` does.

    Raises:
        DataError: the file cannot be written.
    """
    keys, vectors, windows = sequences.keys, sequences.vectors, sequences.windows
    if layout == "chunks":
        numbers = windows.astype(np.int32)
        write_npz(out, {VECTORS: vectors, KEYS: keys, WINDOWS: numbers}, sequences.provenance)
        return
    starts = range(0, len(windows), _COPIED_ROWS)
    shape = (len(windows), windows.shape[1] - 1, vectors.shape[1])
    contexts = Blocks(shape, (vectors[windows[i : i + _COPIED_ROWS, :-1]] for i in starts))
    targets = Blocks((shape[0], shape[2]), (vectors[windows[i : i + _COPIED_ROWS, -1]] for i in starts))
    truth_keys = keys[windows[:, -1]]
    write_npz(out, {"truth_keys": truth_keys, "targets": targets, "contexts": contexts}, sequences.provenance)


def read_sequences(path: Path) -> Sequences:
    """What `store_sequences` wrote in the layout ``chunks``.

    Raises:
        DataError: it is something else, or broken.
    """
    arrays = {member.key: member.array for member in npz_members(str(path))}
    found = []
    for name in (KEYS, VECTORS, WINDOWS):
        array = arrays.get(name)
        if array is None:
            raise DataError(f"{path}: {name} is missing: expected what `lvmfast ingest sequences` writes")
        with array.opened() as read:
            found.append(np.array(read(0, array.shape[0])))
    provenance = load_split(str(path)).files[0].provenance or {}
    keys, vectors, windows = found
    return Sequences(keys, vectors, windows.astype(np.int64), provenance)


def _read(embeddings: Path) -> tuple[Rows, Vectors, Mapping[str, Any]]:
    split = load_split(str(embeddings))
    missing = {"doc_id", "chunk_id", "vector"} - split.columns
    if missing:
        raise DataError(f"{embeddings}: {missing.pop()}: expected embeddings with their keys, there are none")
    keys: list[Rows] = []
    vectors: list[Vectors] = []
    for batch in split.batches(("doc_id", "chunk_id", "vector"), 1 << 16):
        assert batch.doc_id is not None
        assert batch.chunk_id is not None
        assert batch.vector is not None
        keys.append(np.stack([batch.doc_id.to_numpy(), batch.chunk_id.to_numpy()], axis=1))
        vectors.append(batch.vector.copy())
    return np.concatenate(keys), np.concatenate(vectors), split.files[0].provenance or {}
