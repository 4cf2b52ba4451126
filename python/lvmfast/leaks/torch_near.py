"""The cosine scan on a GPU, through torch: bfloat16 products rule pairs out, the core scores the rest.

`docs/near-duplicates.md`, "On a GPU", proves the bound by which pairs are ruled out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lvmfast import _core
from lvmfast.corpus.dataset import Rows, Vectors
from lvmfast.errors import DataError
from lvmfast.leaks.cells import shared_out
from lvmfast.leaks.near_index import Scanned
from lvmfast.leaks.tally import NO_ROWS, Scores, first_rows

#: The product of bfloat16 matrices in float32 is in torch from here on.
LEAST_TORCH = (2, 8)

UNIT_ROUNDOFF = 2.0**-24
#: Components up to which the bound on the accumulation holds.
MOST_COMPONENTS = 2**18 - 8

#: Rows of the index that are multiplied at a time,
TILE_ROWS = 16_384
#: fewer where they would take more bytes than this.
TILE_BYTES = 256 << 20
#: Products held at a time where the device has room: a GiB of them.
MOST_PRODUCTS = 2**28
#: Device memory per product: float32, its comparison, and as much again for what torch needs on the way.
BYTES_PER_PRODUCT = 10
#: Pairs that leave the device at a time; only one row's pairs may be more.
MOST_SURVIVORS = 2**22
#: Values that are normalised in float64 at a time.
NORMALIZED_VALUES = 2**22


def open_device(name: str) -> Any:
    """The torch device `name`, ready to compute.

    Raises:
        DataError: torch is missing or too old, or it sees no such GPU.
    """
    try:
        import torch
    except ImportError as error:
        raise DataError(f"device {name}: torch is missing: pip install 'lvmfast[cuda]'") from error
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if version < LEAST_TORCH:
        raise DataError(
            f"device {name}: expected torch {'.'.join(map(str, LEAST_TORCH))} or newer, "
            f"got {torch.__version__}: "
            "pip install -U 'lvmfast[cuda]'"
        )
    device = torch.device(name)
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen <= (device.index or 0):
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        raise DataError(f"device {name}: torch {torch.__version__} (built for {built}) sees {seen} GPUs")
    return device


def describe_device(device: Any) -> str:
    """The device and the name of its GPU."""
    import torch

    return f"{device} ({torch.cuda.get_device_name(device)})"


@contextmanager
def sums_in_float32() -> Iterator[None]:
    """Forbids torch to reduce bfloat16 products in bfloat16, for which the bound would not hold."""
    import torch

    matmul = torch.backends.cuda.matmul
    allowed = matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = allowed


@dataclass
class _Tile:
    """Consecutive groups on the device."""

    first: int  #: the first group
    rows: Any  #: (capacity, d) bfloat16, of which `count` are filled
    count: int = 0
    error: float = 0.0  #: the largest distance of a unit vector from its row here


class TorchNearIndex:
    """`_core.NearIndex`, with the products on a device of torch's.

    Rows are kept twice: in float32 on the host, where pairs are scored, and in bfloat16 on the device.
    """

    def __init__(self, dim: int, threshold: float, threads: int, device: Any) -> None:
        """An empty index over (n, dim) rows.

        Raises:
            DataError: the rows are too wide for the bound.
        """
        if dim > MOST_COMPONENTS:
            raise DataError(
                f"device {device}: expected vectors of at most {MOST_COMPONENTS} components, got {dim}; "
                "the cpu has no such limit"
            )
        self._host = _core.NearIndex(dim, threshold, threads)
        self._dim, self._threshold, self._threads, self._device = dim, threshold, threads, device
        self._tile_rows = max(1, min(TILE_ROWS, TILE_BYTES // (2 * dim)))
        self._tiles: list[_Tile] = []
        self._products: int | None = None

    @property
    def group_of_row(self) -> Rows:
        """The group of every added row, -1 for an unusable one."""
        return self._host.group_of_row

    @property
    def group_count(self) -> int:
        """Distinct usable rows."""
        return self._host.group_count

    @property
    def nbytes(self) -> int:
        """Bytes held in the memory of the host."""
        return self._host.nbytes

    def pairs(self, most: int, progress: Callable[[int], object]) -> None:
        """None: on a device every block is scanned, which keeps the products there."""

    def seek(self, rows: Vectors, first_row: int) -> npt.NDArray[np.uint8]:
        """As `_core.NearIndex.seek`, and done by the core: nearest rows have no path on a device."""
        return self._host.seek(rows, first_row)

    def nearest(self) -> tuple[Scores, Rows]:
        """As `_core.NearIndex.nearest`."""
        return self._host.nearest()

    def add(self, rows: Vectors) -> npt.NDArray[np.uint8]:
        """As `_core.NearIndex.add`.

        Raises:
            DataError: the device has no room for more rows.
        """
        before = self.group_count
        codes = self._host.add(rows)
        with self._within_the_device():
            while before < self.group_count:
                before = self._fill(before)
        return codes

    @contextmanager
    def _within_the_device(self) -> Iterator[None]:
        import torch

        try:
            yield
        except torch.OutOfMemoryError as error:
            need = 2 * self._dim * self.group_count / 2**30
            raise DataError(
                f"device {self._device}: no room to compare with {self.group_count} vectors of {self._dim} "
                f"components, {need:.2f} GiB; the cpu can"
            ) from error

    def _fill(self, group: int) -> int:
        """Brings groups from `group` on to the device, up to the end of a tile; the first one left out."""
        import torch

        if not self._tiles or self._tiles[-1].count == self._tile_rows:
            empty = torch.empty((self._tile_rows, self._dim), dtype=torch.bfloat16, device=self._device)
            self._tiles.append(_Tile(group, empty))
        tile = self._tiles[-1]
        stop = min(self.group_count, group + self._tile_rows - tile.count)
        rows, errors = self._normalized(self._host.vectors(group, stop))
        tile.rows[tile.count : tile.count + len(rows)] = rows
        tile.count += len(rows)
        tile.error = max(tile.error, float(errors.max()))
        return stop

    def _normalized(self, vectors: Vectors) -> tuple[Any, npt.NDArray[np.float64]]:
        """(n, d) unit vectors in bfloat16 on the device; (n,) bounds on what the rounding moved them by."""
        import torch

        step = max(1, NORMALIZED_VALUES // self._dim)
        parts, errors = [], []
        for start in range(0, len(vectors), step):
            exact = torch.from_numpy(vectors[start : start + step]).to(self._device).double()  # (step, d)
            exact /= exact.square().sum(dim=1, keepdim=True).sqrt()
            rounded = exact.bfloat16()
            parts.append(rounded)
            errors.append((exact - rounded.double()).square().sum(dim=1).sqrt().cpu().numpy())
        # The float64 roundings of the norm, the quotient and the distance: at most 2^18 + 5 of 2^-53 each.
        return torch.cat(parts), np.concatenate(errors) * (1 + 1e-9) + 1e-9

    def scan(self, rows: Vectors, every_key: bool = True) -> Scanned:
        """As `_core.NearIndex.scan`, with the same bits.

        Raises:
            DataError: the device has no room for the products of one row with a part of the index.
        """
        codes, keys = _core.describe_rows(rows, self._threads)
        usable = np.flatnonzero(codes == 0)
        place = _core.KeyTable(2, self._threads).insert(np.ascontiguousarray(keys[usable]))
        distinct = usable[first_rows(np.arange(len(usable)), place, int(place.max(initial=-1)) + 1)]
        hit, group, score = self._hits(np.ascontiguousarray(rows[distinct]))
        row, source = shared_out(
            hit, place, len(distinct)
        )  # every row has the hits of the first that equals it
        row = usable[row]
        if not every_key:
            missed = np.ones(len(keys), bool)
            missed[row] = False
            keys[missed] = 0
        return row, group[source], score[source], codes, keys

    def _hits(self, rows: Vectors) -> tuple[Rows, Rows, Scores]:
        """Row, group and cosine of every hit of distinct, usable rows; sorted by row and group."""
        found: list[tuple[Rows, Rows, Scores]] = [(NO_ROWS, NO_ROWS, np.empty(0))]
        if len(rows) and self._tiles:
            with sums_in_float32(), self._within_the_device():
                block, errors = self._normalized(rows)
                for tile in self._tiles:
                    limits = self._limits(errors, tile.error)
                    for row, group in self._survivors(block, limits, tile):
                        score = self._host.score(rows, row, group)
                        hit = score >= self._threshold
                        found.append((row[hit], group[hit], score[hit]))
        row, group, score = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((group, row))
        return row[order], group[order], score[order]

    def _limits(self, errors: npt.NDArray[np.float64], error: float) -> npt.NDArray[np.float32]:
        """(n,) float32: no match has a product below the limit of its row."""
        accumulation = 8 * (self._dim + 8) * UNIT_ROUNDOFF
        score_rounding = (self._dim / 4 + 64) * 2.0**-52
        margin = errors + error + errors * error + accumulation + score_rounding
        limits = (self._threshold - margin - 1e-12).astype(np.float32)  # 1e-12: of this line's own float64
        below: npt.NDArray[np.float32] = np.nextafter(limits, np.float32(-np.inf))
        return below

    def _survivors(
        self, block: Any, limits: npt.NDArray[np.float32], tile: _Tile
    ) -> Iterator[tuple[Rows, Rows]]:
        """Row and group of the pairs that the products do not rule out, some at a time; none is dropped."""
        import torch

        if self._products is None:
            self._products = most_products(self._device)
        start = 0
        while start < len(block):
            stop = min(len(block), start + max(1, self._products // tile.count))
            try:
                passed = self._passed(block[start:stop], limits[start:stop], tile)
            except torch.OutOfMemoryError:  # the device may have other users
                if stop == start + 1:
                    raise
                self._products = (stop - start) // 2 * tile.count
                continue
            if passed is not None:
                for row, group in _places(passed):
                    yield start + row, tile.first + group
            start = stop

    def _passed(self, block: Any, limits: npt.NDArray[np.float32], tile: _Tile) -> Any | None:
        """(rows, groups), which pairs reach the limits of their rows; None where none does, as is usual."""
        import torch

        limit = torch.from_numpy(limits).to(self._device)  # (rows,)
        products = product(block, tile.rows[: tile.count])  # (rows, groups)
        return products >= limit[:, None] if bool((products.amax(dim=1) >= limit).any()) else None


def _places(passed: Any) -> Iterator[tuple[Rows, Rows]]:
    """Row and column of what is true in `passed`, at most MOST_SURVIVORS at a time, or one row's."""
    ends = passed.sum(dim=1).cumsum(dim=0).cpu().numpy()
    start = 0
    while start < len(ends):
        sent = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, sent + MOST_SURVIVORS, side="right")))
        row, column = passed[start:stop].nonzero(as_tuple=True)
        yield start + row.cpu().numpy(), column.cpu().numpy()
        start = stop


def most_products(device: Any) -> int:
    """Products that a device has room for at a time, with half of its free memory left."""
    import torch

    if device.type == "cpu":
        return MOST_PRODUCTS // 16
    free, _ = torch.cuda.mem_get_info(device)
    return int(max(1, min(MOST_PRODUCTS, free // (2 * BYTES_PER_PRODUCT))))


def product(left: Any, right: Any) -> Any:
    """(n, m) float32 products of (n, d) and (m, d) bfloat16 rows."""
    import torch

    if left.device.type == "cpu":  # torch has no such product there: the values are the same in float32
        return left.float() @ right.float().T
    return torch.mm(left, right.T, out_dtype=torch.float32)
