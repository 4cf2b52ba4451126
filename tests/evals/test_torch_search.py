"""The search on a device against the core's: on the CPU's tensors, and on a GPU where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from lvmfast.evals.search import CorePool, open_pool

torch = pytest.importorskip("torch")

from lvmfast.evals import torch_search  # noqa: E402
from lvmfast.evals.torch_search import TorchPool  # noqa: E402

pytestmark = pytest.mark.heavy


def make(seed, rows, queries, dim):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((5, dim))
    pool = (centres[rng.integers(5, size=rows)] + 0.1 * rng.standard_normal((rows, dim))).astype(np.float32)
    pool[rng.integers(rows, size=rows // 3)] = pool[7]  # more equal rows than any list is long
    pool[3], pool[4, 0] = 0, np.nan
    asked = (centres[rng.integers(5, size=queries)] + rng.standard_normal((queries, dim))).astype(np.float32)
    asked[0], asked[1] = 0, pool[7]
    exclude = rng.integers(-1, rows, size=(queries, 6))
    return asked, pool, exclude


@pytest.mark.parametrize("dim", [5, 64, 387])
@pytest.mark.parametrize("slack", [0, 64])
def test_equal_to_the_core_row_by_row(dim, slack, monkeypatch):
    monkeypatch.setattr(torch_search, "TILE_ROWS", 97)
    monkeypatch.setattr(torch_search, "SLACK", slack)
    asked, pool, exclude = make(dim, 700, 40, dim)
    for k in (1, 10, 60, 650):
        found = TorchPool(pool, 1, torch.device("cpu")).top_k(asked, k, exclude=exclude)
        expected = CorePool(pool).top_k(asked, k, exclude=exclude)
        assert np.array_equal(found.rows, expected.rows)
        assert np.array_equal(found.scores, expected.scores)
        assert found.left_out == expected.left_out == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_a_gpu_gives_what_the_core_gives():
    asked, pool, exclude = make(0, 200_000, 300, 768)
    found = open_pool(pool, device="cuda").top_k(asked, 50, exclude=exclude)
    expected = open_pool(pool).top_k(asked, 50, exclude=exclude)
    assert np.array_equal(found.rows, expected.rows)
    assert np.array_equal(found.scores, expected.scores)
