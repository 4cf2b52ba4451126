"""Self-scans on a GPU, `near_duplicates(..., device="cuda")`, against a plain torch loop in the same run.

Each is given in seconds and as a share of what a large bfloat16 product reaches on the same GPU; n rows of d
components count as n^2 d operations, each pair once. Before that, some of the rows are compared on the CPU as
well, and the two answers must be the same bits. After it, training on whole documents (`contexts.py`). Where
torch is missing or sees no GPU, it says so and ends.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import lvmfast
from common import machine

DIM, THRESHOLD, BLOCK = 768, 0.995, 16_384
CHECKED = 20_000
NAMES = ("train_row", "eval_row", "cosine", "train_group")


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    import torch

    torch.cuda.synchronize()
    start = time.perf_counter()
    answer = run()
    torch.cuda.synchronize()
    return time.perf_counter() - start, answer


def peak() -> float:
    """Operations per second of a large bfloat16 product, the best of ten."""
    import torch

    a = torch.randn(BLOCK, BLOCK, device="cuda", dtype=torch.bfloat16)
    best = min(seconds(lambda: a @ a)[0] for _ in range(10))
    return 2 * BLOCK**3 / best


def plain_loop(rows: Any) -> int:
    """What one would write in torch: approximate, as no bound tells what its rounding lost."""
    import torch

    found = 0
    units = torch.nn.functional.normalize(rows, dim=1).bfloat16()
    for i in range(0, len(units), BLOCK):
        for j in range(i, len(units), BLOCK):
            pairs = ((units[i : i + BLOCK] @ units[j : j + BLOCK].T) >= THRESHOLD).nonzero() + (
                torch.tensor([i, j], device="cuda")
            )
            found += int((pairs[:, 0] < pairs[:, 1]).sum())
    return found


def make(n: int, spectrum: Any, centres: Any) -> Any:
    """(n, DIM) rows on the device, in clusters; every thousandth is near the one before it."""
    import torch

    rows = torch.empty((n, DIM), device="cuda")
    for start in range(0, n, BLOCK):
        part = rows[start : start + BLOCK]
        part.normal_().mul_(spectrum)
        part.mul_(0.7).add_(centres[torch.randint(len(centres), (len(part),), device="cuda")], alpha=0.7)
        part[1::1000] = part[0:-1:1000][: len(part[1::1000])] * 1.5
        part[1::1000] += 0.02 * torch.randn_like(part[1::1000]) * spectrum
    return rows


def check(rows: Any) -> int:
    """The pairs of some rows, found on both devices to be the same bits."""
    part = rows[:CHECKED].cpu().numpy()
    cpu, gpu = (
        lvmfast.near_duplicates(part, threshold=THRESHOLD, device=device) for device in ("cpu", "cuda")
    )
    for name in NAMES:
        if getattr(cpu, name).tobytes() != getattr(gpu, name).tobytes():
            raise SystemExit(f"the devices differ in {name}")
    return len(cpu.cosine)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[396_258, 10_000_000])
    options = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        print("no torch here, so nothing to measure")
        return
    import torch

    if not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no GPU, so there is nothing to measure")
        return
    best = peak()
    name = torch.cuda.get_device_name()
    print(f"{machine()}\n{name}, torch {torch.__version__}, {best / 1e12:.0f} TFLOP/s in bf16")
    generator = np.random.default_rng(7)
    spectrum = torch.from_numpy(
        generator.permutation((1.0 + np.arange(DIM)) ** -0.5).astype(np.float32)
    ).cuda()
    centres = torch.randn(3000, DIM, device="cuda") * spectrum
    for asked in options.rows:
        torch.cuda.empty_cache()
        room = torch.cuda.mem_get_info()[0] // (
            4 * DIM * 3
        )  # twice as much for the plain loop, which normalises them whole
        n = min(asked, room)
        if n < asked:
            print(f"scaled down from {asked:,} to {n:,} rows: the device has no more memory")
        rows = make(n, spectrum, centres)
        same = check(rows)
        print(
            f"{n:,} x {DIM} at {THRESHOLD}; {same} pairs among {min(n, CHECKED):,} rows are those of the CPU"
        )
        ours, found = seconds(
            lambda rows=rows: lvmfast.near_duplicates(rows, threshold=THRESHOLD, device="cuda")
        )
        plain, loops = seconds(lambda rows=rows: plain_loop(rows))
        for name, took, pairs in (("lvmfast", ours, found.pair_count), ("plain torch loop", plain, loops)):
            share = n * n * DIM / took / best
            print(f"  {name}: {took:.2f} s, {share:.0%} of the bf16 peak, {pairs:,} pairs", flush=True)
        del rows
    import contexts

    contexts.main(["--device", "cuda", "--documents", "400"])


if __name__ == "__main__":
    main()
