"""`.npz` against `numpy.load`: layouts, dtypes, orders, and what a hostile zip can claim."""

import numpy as np
import pytest

from lvmfast.corpus import load_split


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("rows", [1, 7, 8192])
def test_batches_hold_what_numpy_loads(tmp_path, save, rows):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.npz"
    keys = rng.integers(0, 9, (100, 3))
    targets = rng.normal(size=(100, 5)).astype(np.float32)
    contexts = rng.normal(size=(100, 2, 5)).astype(np.float16)
    save(path, truth_keys=keys, targets=targets, contexts=contexts)
    split = load_split(path)
    assert (split.rows, split.dim, split.context_length) == (100, 5, 2)
    batches = list(split.batches(("doc_id", "chunk_id", "vector", "context"), rows))
    assert np.array_equal(np.concatenate([b.vector for b in batches]), targets)
    assert np.array_equal(np.concatenate([b.context for b in batches]), contexts.astype(np.float32))
    assert np.array_equal(np.concatenate([b.doc_id.to_numpy() for b in batches]), keys[:, 0])
    assert np.array_equal(np.concatenate([b.chunk_id.to_numpy() for b in batches]), keys[:, 1])
