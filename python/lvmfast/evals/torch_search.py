"""Exact retrieval on a GPU, through torch: bfloat16 products rule rows out, the core scores the rest.

`docs/retrieval.md`, "On a GPU", proves that no row is missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError
from lvmfast.evals.exclusion import Excluded
from lvmfast.evals.request import Request, Scores, TopK
from lvmfast.evals.vectors import pair_scores, usability
from lvmfast.leaks.torch_near import MOST_COMPONENTS, UNIT_ROUNDOFF, most_products, product, sums_in_float32

#: Rows of the pool that are multiplied at a time, and values that are normalised in float64 at a time.
TILE_ROWS, NORMALIZED_VALUES = 65_536, 1 << 24
#: Candidates that are kept beyond k: enough where fewer than this lie within the margin of the k-th.
SLACK = 64


@dataclass(frozen=True)
class _Tile:
    """Rows of the pool on the device."""

    first: int
    rows: Any  #: (n, d) bfloat16; zeros for a row without a direction
    shut: Any  #: (n,) bool: rows without a direction


class TorchPool:
    """A pool on a device of torch's. Its rows lie there in bfloat16, and are borrowed on the host."""

    def __init__(self, pool: Vectors, threads: int, device: Any) -> None:
        """Brings the pool to the device.

        Raises:
            DataError: rows too wide for the bound, or no room on the device.
        """
        import torch

        if pool.shape[1] > MOST_COMPONENTS:
            raise DataError(
                f"device {device}: expected vectors of at most {MOST_COMPONENTS} components, "
                f"got {pool.shape[1]}; the cpu has no such limit"
            )
        self._rows, self._threads, self._device = pool, threads, device
        self._tiles: list[_Tile] = []
        self._usable = np.empty(len(pool), np.bool_)
        self._error = 0.0
        try:
            for start in range(0, len(pool), TILE_ROWS):
                rows = np.ascontiguousarray(pool[start : start + TILE_ROWS], np.float32)
                usable = usability(rows, threads) == 0
                self._usable[start : start + len(rows)] = usable
                units, errors = self._normalized(rows, usable)
                self._error = max(self._error, float(errors.max()))
                self._tiles.append(_Tile(start, units, torch.from_numpy(~usable).to(device)))
        except torch.OutOfMemoryError as error:
            need = 2 * pool.size / 2**30
            raise DataError(f"device {device}: no room for a pool of {need:.2f} GiB; the cpu can") from error

    @property
    def size(self) -> int:
        """Rows in all."""
        return len(self._rows)

    def top_k(self, queries: Vectors, k: int, *, exclude: Excluded = None) -> TopK:
        """The k best rows of each of (q, d) queries: those of the core, bit for bit."""
        request = Request.of(queries, self._rows.shape, k, exclude, self._threads)
        scores = np.full((len(request.queries), k), np.nan)
        rows = np.full((len(request.queries), k), -1, np.int64)
        widest = max(len(tile.rows) for tile in self._tiles)
        step = max(1, most_products(self._device) // (4 * widest))
        directed = np.flatnonzero(request.directed)
        with sums_in_float32():
            for start in range(0, len(directed), step):
                part = directed[start : start + step]
                scores[part], rows[part] = self._search(request, part)
        return request.finished(scores, rows, self._usable)

    def _search(self, request: Request, part: Rows) -> tuple[Scores, Rows]:
        """Scores and rows of the queries `part`, all of which have a direction."""
        import torch

        units, errors = self._normalized(request.queries[part], np.ones(len(part), np.bool_))
        margin = self._margin(errors)  # (q,)
        most = np.diff(request.offsets)[part].max(initial=0)
        kept = min(self.size, request.k + int(most) + SLACK)
        shut = self._shut(request, part)
        best = torch.full((len(part), 0), -torch.inf, device=self._device)
        place = torch.zeros((len(part), 0), dtype=torch.int64, device=self._device)
        for tile in self._tiles:
            products = self._products(units, tile, shut)  # (q, rows)
            found, at = torch.topk(products, min(kept, products.shape[1]), dim=1)
            best, place = torch.cat([best, found], 1), torch.cat([place, at + tile.first], 1)
            best, chosen = torch.topk(best, min(kept, best.shape[1]), dim=1)
            place = torch.gather(place, 1, chosen)
        # The k-th score is no less than the k-th product less the margin: what is below that by the margin
        # again cannot reach it.
        limits = best[:, request.k - 1].cpu().numpy().astype(np.float64) - 2 * margin
        limits32 = np.nextafter(limits.astype(np.float32), np.float32(-np.inf))
        below = torch.from_numpy(limits32).to(self._device)
        whole = (best[:, -1] < below) | (torch.full_like(below, best.shape[1]) == self.size)
        inside = (best >= below[:, None]) & (best > -torch.inf) & whole[:, None]
        query, column = (index.cpu().numpy() for index in inside.nonzero(as_tuple=True))
        pairs = [(query, place[inside].cpu().numpy())]
        rest = (~whole).nonzero(as_tuple=True)[0]
        if len(rest):  # more candidates than were kept: the products once more
            chosen = rest.cpu().numpy()
            shut = self._shut(request, part[chosen])
            for tile in self._tiles:
                products = self._products(units[rest], tile, shut)
                reach = (products >= below[rest][:, None]) & (products > -torch.inf)
                query, column = (index.cpu().numpy() for index in reach.nonzero(as_tuple=True))
                pairs.append((chosen[query], column + tile.first))
        query, row = (np.concatenate(side) for side in zip(*pairs, strict=True))
        return self._scored(request, part, query, row)

    def _scored(self, request: Request, part: Rows, query: Rows, row: Rows) -> tuple[Scores, Rows]:
        """The k best of candidate pairs by the core's scores; NaN and -1 where there are fewer."""
        score = pair_scores(request.queries, part[query], self._rows, row, self._threads)
        order = np.lexsort((row, -score, query))
        query, row, score = query[order], row[order], score[order]
        start = np.searchsorted(query, np.arange(len(part)))
        place = np.arange(len(query)) - start[query]
        first = place < request.k
        scores = np.full((len(part), request.k), np.nan)
        rows = np.full((len(part), request.k), -1, np.int64)
        scores[query[first], place[first]] = score[first]
        rows[query[first], place[first]] = row[first]
        return scores, rows

    def _shut(self, request: Request, part: Rows) -> tuple[Rows, Rows]:
        """Query and row of what is excluded, sorted by row; queries are numbered within `part`."""
        lists = [request.excluded_of(int(query)) for query in part]
        query = np.repeat(np.arange(len(part)), [len(rows) for rows in lists])
        row = np.concatenate([*lists, np.empty(0, np.int64)])
        order = np.argsort(row, kind="stable")
        return query[order], row[order]

    def _products(self, units: Any, tile: _Tile, shut: tuple[Rows, Rows]) -> Any:
        """(q, rows) products, minus infinity where a row is not there for a query."""
        import torch

        products = product(units, tile.rows)
        products[:, tile.shut] = -torch.inf
        query, row = shut
        low, high = np.searchsorted(row, (tile.first, tile.first + len(tile.rows)))
        if low < high:
            i = torch.from_numpy(query[low:high]).to(self._device)
            j = torch.from_numpy(row[low:high] - tile.first).to(self._device)
            products[i, j] = -torch.inf
        return products

    def _normalized(
        self, vectors: Vectors, usable: npt.NDArray[np.bool_]
    ) -> tuple[Any, npt.NDArray[np.float64]]:
        """(n, d) unit rows in bfloat16 on the device; (n,) bounds on what the rounding moved them by."""
        import torch

        units = torch.zeros(vectors.shape, dtype=torch.bfloat16, device=self._device)
        errors = np.zeros(len(vectors))
        step = max(1, NORMALIZED_VALUES // vectors.shape[1])
        for start in range(0, len(vectors), step):
            part = np.flatnonzero(usable[start : start + step]) + start
            if not len(part):
                continue
            wide = torch.from_numpy(vectors[part]).to(self._device).double()
            wide /= wide.square().sum(dim=1, keepdim=True).sqrt()
            rounded = wide.bfloat16()
            error = (wide - rounded.double()).square().sum(dim=1).sqrt()
            units[torch.from_numpy(part).to(self._device)] = rounded
            errors[part] = error.cpu().numpy() * (1 + 1e-9) + 1e-9
        return units, errors

    def _margin(self, errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(q,) how far a product may be from the score of its pair."""
        dim = self._rows.shape[1]
        rounding = errors + self._error + errors * self._error
        margin: npt.NDArray[np.float64] = (
            rounding + 8 * (dim + 8) * UNIT_ROUNDOFF + (dim / 4 + 64) * 2.0**-52 + 1e-12
        )
        return margin
