"""The chunk-matrix layout: every vector once, and windows of row numbers in place of copied contexts."""

from __future__ import annotations

from collections.abc import Mapping

from lvmfast.corpus.array_source import ArraySource
from lvmfast.corpus.gathered import GatheredArray
from lvmfast.corpus.npy import StoredArray
from lvmfast.errors import DataError

#: (m, d) float: the vector of every chunk.
VECTORS = "chunk_vectors"
#: (m, >= 2) integers: article and chunk.
KEYS = "chunk_keys"
#: (n, length + 1) integers: rows of the two above, the context in order and the target last.
WINDOWS = "windows"


def windowed(path: str, sources: Mapping[str, ArraySource]) -> dict[str, ArraySource]:
    """The arrays of a chunk-matrix file under the names of a file that holds copies.

    Raises:
        DataError: an array is missing, compressed, or of another shape or dtype than the layout has.
    """
    vectors, keys, windows = (sources.get(name) for name in (VECTORS, KEYS, WINDOWS))
    for name, source in ((VECTORS, vectors), (KEYS, keys), (WINDOWS, windows)):
        if source is None:
            raise DataError(f"{path}: {name} is missing: the layout has {VECTORS}, {KEYS} and {WINDOWS}")
        if len(source.shape) != 2 or (name != VECTORS and source.dtype.kind not in "iu"):
            expected = "(m, d) float" if name == VECTORS else "2-d integers"
            raise DataError(f"{path}: {name}: expected {expected}, got {tuple(source.shape)} {source.dtype}")
        if name != WINDOWS and not isinstance(source, StoredArray):
            raise DataError(f"{path}: {name}: expected to be stored without compression: it is read by row")
    assert isinstance(vectors, StoredArray)
    assert isinstance(keys, StoredArray)
    assert windows is not None
    if vectors.shape[0] != keys.shape[0]:
        raise DataError(
            f"{path}: {KEYS}: expected {vectors.shape[0]} rows as in {VECTORS}, got {keys.shape[0]}"
        )
    if windows.shape[1] < 2:
        raise DataError(f"{path}: {WINDOWS}: expected a context and a target, got {windows.shape[1]} per row")
    rest = {name: source for name, source in sources.items() if name not in (VECTORS, KEYS, WINDOWS)}
    where = f"{path}: {WINDOWS}"
    return {
        **rest,
        "truth_keys": GatheredArray(keys, windows, -1, where),
        "targets": GatheredArray(vectors, windows, -1, where),
        "contexts": GatheredArray(vectors, windows, slice(None, -1), where),
    }
