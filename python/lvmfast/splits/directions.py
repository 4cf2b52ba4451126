"""The directions that the vectors of a fingerprint are projected on, fitted to a sample of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lvmfast.corpus import Dataset
from lvmfast.corpus.dataset import Rows
from lvmfast.corpus.lvfp import Array

#: Directions that are kept at most.
WIDTH = 80

#: Rows that the directions are fitted to: this many blocks; every eighth where what lies between is read too.
SAMPLE_BLOCKS = 16
SAMPLE_BLOCK_ROWS = 256
SAMPLE_STRIDE = 8
ROUNDS = 4


def fitted_directions(dataset: Dataset) -> npt.NDArray[np.float32]:
    """(width, d) directions for the vectors of `dataset`, of which only some blocks are read."""
    return _directions(_sample(dataset), dataset.dim or 0)


def _sample(dataset: Dataset) -> npt.NDArray[np.float64]:
    """Usable vectors at unit length, blocks from all over the files as far as that is cheap."""
    parts: list[Array] = []
    total = dataset.estimated_rows()
    for file in dataset.files:
        if "vector" not in file.fields or not total or file.rows == 0:
            continue
        blocks = max(1, round(SAMPLE_BLOCKS * file.estimated_rows() / total))
        wanted = None if file.rows is None else _sampled_rows(file.rows, file.starts, blocks)
        taken = 0
        for batch in file.batches(("vector",), SAMPLE_BLOCK_ROWS, wanted):
            stop = batch.file_row + batch.rows
            if wanted is None or np.diff(np.searchsorted(wanted, (batch.file_row, stop)))[0]:
                parts.append(np.asarray(batch.vector, np.float64))
                taken += 1
            if taken == blocks:
                break
    rows = np.concatenate(parts) if parts else np.empty((0, dataset.dim or 0))
    rows = rows[np.isfinite(rows).all(axis=1)]
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = norms[:, 0] > 0
    return np.asarray(rows[usable] / norms[usable])


def _sampled_rows(rows: int, starts: Rows | None, blocks: int) -> Rows:
    """First rows of `blocks` blocks at even distances, or close behind the rows where reading can begin."""
    if starts is None:
        return np.unique(np.linspace(0, max(0, rows - 1), blocks).astype(np.int64))
    chosen = starts[np.unique(np.linspace(0, len(starts) - 1, blocks).astype(np.int64))]
    behind = np.arange(-(-blocks // len(chosen))) * SAMPLE_BLOCK_ROWS * SAMPLE_STRIDE
    return np.unique(np.minimum(np.add.outer(chosen, behind), rows - 1))


def _directions(sample: npt.NDArray[np.float64], dim: int) -> npt.NDArray[np.float32]:
    """(width, d) orthonormal rows of about the largest energy in the sample: subspace iteration.

    Halko, Martinsson and Tropp, *Finding structure with randomness*, algorithm 4.4. Any directions would do;
    these rule most out.
    """
    width = min(WIDTH, dim)
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, width)))
    for _ in range(ROUNDS):
        basis, _ = np.linalg.qr(sample.T @ (sample @ basis))
    projected = sample @ basis
    _, rotation = np.linalg.eigh(projected.T @ projected)
    return np.ascontiguousarray((basis @ rotation[:, ::-1]).T, np.float32)
