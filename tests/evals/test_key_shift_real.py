"""The key-shift audit on real embeddings, where neighbours are alike."""

from __future__ import annotations

import numpy as np
import pytest

from lvmfast.evals.audits import key_shift_audit
from lvmfast.evals.queries import integer_keys
from lvmfast.evals.search import open_pool
from tests.support.places import ROOT

REAL = ROOT / ".bench" / "enwiki" / "sequences.npz"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_file(), reason="benches/quality.py makes .bench/enwiki")
def test_keys_that_are_off_by_one_are_caught_on_real_text():
    with np.load(REAL, allow_pickle=False) as file:
        vectors, pairs, windows = file["chunk_vectors"], file["chunk_keys"], file["windows"]
    keys = integer_keys(pairs)
    asked, pool = windows[:, -1], open_pool(vectors)
    assert key_shift_audit(vectors[asked], keys[asked], pool, vectors, keys).passed
    for off in (-1, 1):
        found = key_shift_audit(vectors[asked], integer_keys(pairs[asked] + [0, off]), pool, vectors, keys)
        assert not found.passed
        assert found.found["best"] == f"{-off:+d}"
        assert found.found["R@1"]["0"] < 5 < 95 < found.found["R@1"][f"{-off:+d}"]
