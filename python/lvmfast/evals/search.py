"""Exact retrieval: the k rows of a pool with the highest cosine to every query.

`docs/retrieval.md` proves that no row is missed. The cosine is that of `lvmfast.near_duplicates`, so every
device, thread count and block size gives the same rows and the same bits.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError
from lvmfast.evals.exclusion import Excluded
from lvmfast.evals.ranks import product_margin, unit_rows
from lvmfast.evals.request import OpenPool, Request, Scores, TopK
from lvmfast.evals.vectors import check_rows, usability

#: Bytes of pool rows that go by at a time, and of queries that are searched for together.
BLOCK_BYTES, QUERY_BYTES = 64 << 20, 256 << 20
#: Up to so many queries a product with every row is cheaper than what many share; it is what latency is of.
FEW = 8
#: Rows whose squared norms are outside are scored in float64 at once: float32 could over- or underflow.
PLAIN_SQUARES = (1e-30, 1e30)


def top_k(
    queries: Vectors,
    pool: Vectors,
    k: int,
    *,
    exclude: Excluded = None,
    threads: int = 0,
    device: str = "cpu",
) -> TopK:
    """The k rows of `pool` with the highest cosine to each query.

    Args:
        queries: (q, d) floats, finite. A zero query scores 0 with every row.
        pool: (n, d) floats: an array or a memory map, which goes by in blocks.
        k: rows per query.
        exclude: rows that are not there for a query, such as its own context: (q, e) int64 padded with -1,
            or q sequences of rows.
        threads: 0 for one per available core.
        device: ``cpu``, or ``cuda`` or ``cuda:N`` for products on a GPU; the answer is the same.

    Raises:
        DataError: shapes that do not fit, queries that are NaN or infinite, k below 1 or above the rows that
            are there for some query, or a device that is not there.
    """
    return open_pool(pool, threads=threads, device=device).top_k(queries, k, exclude=exclude)


def open_pool(pool: Vectors, *, threads: int = 0, device: str = "cpu") -> OpenPool:
    """A pool to search again and again; the arguments are those of `top_k`.

    Raises:
        DataError: not (n, d) floats, or a device that is not there.
    """
    check_rows("pool", pool)
    if device == "cpu":
        return CorePool(pool, threads)
    if re.fullmatch(r"cuda(:\d{1,4})?", device) is None:
        raise DataError(f"device: expected cpu, cuda or cuda:N, got {device!r}")
    from lvmfast.evals.torch_search import TorchPool
    from lvmfast.leaks.torch_near import open_device

    return TorchPool(pool, threads, open_device(device))


class CorePool:
    """A pool searched on the processor. The rows are borrowed."""

    def __init__(self, pool: Vectors, threads: int = 0) -> None:
        """Borrows (n, d) floats."""
        self._rows, self._threads = pool, threads
        self._scales: Vectors | None = None

    @property
    def size(self) -> int:
        """Rows in all."""
        return len(self._rows)

    def top_k(self, queries: Vectors, k: int, *, exclude: Excluded = None) -> TopK:
        """The k best rows of each of (q, d) queries; few of them go by another way to the same answer."""
        request = Request.of(queries, self._rows.shape, k, exclude, self._threads)
        if len(request.queries) <= FEW:
            return self._few(request)
        return self._many(request)

    def _blocks(self) -> Any:
        step = max(1, BLOCK_BYTES // (4 * self._rows.shape[1]))
        for start in range(0, len(self._rows), step):
            yield start, np.ascontiguousarray(self._rows[start : start + step], np.float32)

    def _many(self, request: Request) -> TopK:
        step = max(1, QUERY_BYTES // (4 * self._rows.shape[1]))
        usable = np.empty(len(self._rows), np.bool_)
        found = []
        for first in range(0, len(request.queries), step):
            part = request.part(first, first + step)
            search = _core.TopSearch(part.queries, part.k, part.offsets, part.excluded, self._threads)
            for start, rows in self._blocks():
                usable[start : start + len(rows)] = search.seek(rows, start) == 0
            found.append(search.best())
        scores, rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return request.finished(scores, rows, usable)

    def _few(self, request: Request) -> TopK:
        """All products in float32; what may be among the first k by the bound is scored."""
        if self._scales is None:
            self._scales = np.concatenate([self._inverse_norms(rows) for _, rows in self._blocks()])
        usable = self._scales != 0  # NaN is for the scorer, zero for rows without a direction
        units = unit_rows(request.queries).T  # (d, q)
        products = np.empty((len(self._rows), len(request.queries)), np.float32)
        with np.errstate(all="ignore"):
            for start, rows in self._blocks():
                part = slice(start, start + len(rows))
                np.multiply(rows @ units, self._scales[part, None], out=products[part])
        margin = product_margin(self._rows.shape[1])
        scores = np.full((len(request.queries), request.k), np.nan)
        found = np.full((len(request.queries), request.k), -1, np.int64)
        for query in np.flatnonzero(request.directed).tolist():
            there = usable.copy()
            there[request.excluded_of(query)] = False
            places = np.flatnonzero(there)
            if len(places) < request.k:
                continue
            candidates = places[_may_be_best(products[places, query], request.k, margin)]
            exact = self._scored(request.queries[query], candidates)
            order = np.lexsort((candidates, -exact))[: request.k]
            scores[query], found[query] = exact[order], candidates[order]
        return request.finished(scores, found, usable)

    def _inverse_norms(self, rows: Vectors) -> Vectors:
        """(n,) 1 / |x|, 0 for a row without a direction, NaN where float32 is too narrow for the row."""
        with np.errstate(all="ignore"):
            squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
            scales = (1 / np.sqrt(squares)).astype(np.float32)
        low, high = PLAIN_SQUARES
        scales[~((squares >= low) & (squares <= high))] = np.nan
        scales[usability(rows, self._threads) != 0] = 0
        return np.asarray(scales, np.float32)

    def _scored(self, query: Vectors, places: Rows) -> Scores:
        candidates = np.ascontiguousarray(self._rows[places], np.float32)
        scored = _core.window_cosines(query[None], candidates[None], 1)[0][0]
        return np.asarray(scored, np.float64)


def _may_be_best(products: Vectors, k: int, margin: float) -> npt.NDArray[np.bool_]:
    """Which of (n,) products, each within `margin` of its score, may be among the k best scores.

    Those that are not finite say nothing of their scores.
    """
    known = np.isfinite(products)
    least = np.partition(np.where(known, products, -np.inf), len(products) - k)[len(products) - k]
    # k scores are at least `least` less the margin, so the k-th best is.
    limit = np.nextafter(np.float32(float(least) - 2 * margin), np.float32(-np.inf))
    return np.asarray(~known | (products >= limit), np.bool_)
