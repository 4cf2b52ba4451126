"""The vectors of the indexed side of a scan, which its levels share: each is held, and compared, once."""

from __future__ import annotations

from lvmfast.corpus.dataset import Batch
from lvmfast.leaks.cells import Cells, Codes
from lvmfast.leaks.common_scan import BatchCells, CommonScan
from lvmfast.leaks.near import CommonIndex, IndexedVectors
from lvmfast.leaks.options import ScanOptions
from lvmfast.leaks.trees import Tree


class VectorPool:
    """The targets of the indexed side and, for whoever asks for them, its windows' vectors."""

    def __init__(self, dim: int, options: ScanOptions) -> None:
        """Nothing added yet."""
        self._dim, self._options = dim, options
        self._targets_index = CommonIndex(dim, options)
        self.targets = IndexedVectors(self._targets_index)
        self._windows: IndexedVectors | None = None
        self._scan: CommonScan | None = None
        self._batch: Batch | None = None  #: the one that was looked at last, for all levels
        self._codes: Codes | None = None
        self._cells = BatchCells(None, None)

    @property
    def windows(self) -> IndexedVectors:
        """The vectors of windows; asked for before the first row goes by."""
        if self._windows is None:
            # A search for nearest rows goes by all vectors of an index, and is for targets.
            apart = self._options.nearest
            self._windows = IndexedVectors(
                CommonIndex(self._dim, self._options) if apart else self._targets_index
            )
        return self._windows

    def add_targets(self, batch: Batch) -> Codes | None:
        """The usability code of each target of the indexed `batch`, which is added once for all levels."""
        if batch is not self._batch:
            self._batch, self._codes = batch, None
            if batch.targets is not None:
                self._codes = self.targets.add(Cells.of(batch.targets, batch.start))
        return self._codes

    def cells(self, batch: Batch) -> BatchCells:
        """The cells of the streamed `batch`, scanned once where targets and windows are in one index."""
        if batch is not self._batch:
            self._batch = batch
            self._cells = self._scan(batch) if self._scan else BatchCells.of(batch)
        return self._cells

    def close(self) -> None:
        """Ends the adding."""
        self._batch = None
        for vectors in self._held().values():
            vectors.close()
        if self._windows is not None and self._windows.near is self.targets.near:
            self._scan = CommonScan(self.targets.near, self._options)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        held = self._held().values()
        indexes = {id(vectors.near): vectors.near.nbytes for vectors in held}
        return sum(vectors.nbytes for vectors in held) + sum(indexes.values())

    def indexed(self) -> Tree:
        """What was added, without the vectors, once closed."""
        return {name: vectors.indexed() for name, vectors in self._held().items()}

    def restore(self, tree: Tree) -> None:
        """Takes the place of vectors that `indexed` tells of: nothing can be compared with them any more."""
        for name, vectors in self._held().items():
            vectors.restore(tree[name])

    def _held(self) -> dict[str, IndexedVectors]:
        return {"targets": self.targets, **({"windows": self._windows} if self._windows else {})}
