"""Sequences per second of Mamba-S in the customary shape: 8 layers, d_model 768, windows of 5 vectors of 768.

On the CPU, forward and backward: the quadratic form of the Mamba2 block beside two plain sequential scans in
the same run, the recurrence of Mamba2 itself (whose predictions must be the same) and that of Mamba. On a
GPU, in bf16 with the optimizer's step: mamba-ssm's kernels beside the reference, compiled and not, as a share
of what a large bf16 product reaches, and as the time of an epoch. Where torch sees no GPU, it says so.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from common import machine, race
from gpu import peak
from lvmfast import DataError
from lvmfast.models import mamba2
from lvmfast.models.build import build
from lvmfast.models.config import ModelConfig

DIM, LENGTH, EPOCH = 768, 5, 317_007


def recurrence(x: Any, step: Any, log_decay: Any, b: Any, c: Any) -> Any:
    """What `mamba2.state_space_dual` computes, by rows over a state of (batch, heads, headdim, d_state)."""
    state, out = 0, []
    for row in range(x.shape[1]):
        given = (step[:, row, :, None] * x[:, row])[..., None] * b[:, row, None, None, :]
        state = log_decay[:, row, :, None, None].exp() * state + given
        out.append((state * c[:, row, None, None, :]).sum(-1))
    return torch.stack(out, 1)


@contextmanager
def sequential() -> Iterator[None]:
    """Mamba2 blocks of the reference form scan row by row."""
    ours = mamba2.state_space_dual
    mamba2.state_space_dual = recurrence
    try:
        yield
    finally:
        mamba2.state_space_dual = ours


def config(**changes: Any) -> ModelConfig:
    return ModelConfig("mamba_s", DIM, LENGTH, dropout=0.0, **changes)


def forward_backward(model: Any, windows: Any, targets: Any) -> Any:
    model.zero_grad()
    predicted = model(windows)
    (1 - (predicted * targets).sum(-1)).mean().backward()
    return predicted.detach()


def on_cpu(batch: int, rounds: int) -> None:
    torch.manual_seed(0)
    windows, targets = torch.randn(batch, LENGTH, DIM), torch.randn(batch, DIM)
    ours, mamba = build(config(form="reference")), build(config(form="reference", block="mamba"))

    def quadratic() -> Any:
        return forward_backward(ours, windows, targets)

    def row_by_row() -> Any:
        with sequential():
            return forward_backward(ours, windows, targets)

    result = race(quadratic, row_by_row, rounds)
    apart = float((result.our_answer - result.peer_answer).abs().max())
    if not apart < 1e-5:
        raise SystemExit(f"the two ways of one block differ by {apart}")
    threads = torch.get_num_threads()
    print(f"{machine()}, torch {torch.__version__}, {threads} threads; batches of {batch}, float32")
    print(f"  Mamba2, quadratic form: {batch / result.ours:.1f} sequences/s")
    print(f"  Mamba2, row by row: {batch / result.peer:.1f}, {result.ratio:.1f} times slower", flush=True)
    result = race(quadratic, lambda: forward_backward(mamba, windows, targets), rounds)
    print(f"  Mamba, row by row: {batch / result.peer:.1f}, {result.ratio:.1f} times slower")


def seconds_a_step(step: Callable[[], Any], rounds: int = 30) -> float:
    for _ in range(5):
        step()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(rounds):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / rounds


def on_gpu(batch: int) -> None:
    best = peak()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {best / 1e12:.0f} TFLOP/s in bf16")
    windows = torch.randn(batch, LENGTH, DIM, device="cuda")
    targets = torch.randn(batch, DIM, device="cuda")
    counter = FlopCounterMode(display=False)
    with counter:
        forward_backward(build(config(form="reference"), device="cuda"), windows, targets)
    operations = counter.get_total_flops()
    for block in ("mamba2", "mamba"):
        for form, mode in (("kernels", None), ("reference", None), ("reference", "reduce-overhead")):
            name = f"{block}, {form}{' compiled' if mode else ''}"
            try:
                model = build(config(form=form, block=block), device="cuda")
            except DataError as error:
                print(f"  {name}: not measured: {error}", flush=True)
                continue
            optimizer = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
            run = torch.compile(model, mode=mode) if mode else model

            def step(model: Any = model, run: Any = run, optimizer: Any = optimizer) -> None:
                with torch.autocast("cuda", torch.bfloat16):
                    predicted = run(windows)
                    loss = (1 - (predicted * targets).sum(-1)).mean()
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()

            took = seconds_a_step(step)
            share = f", {operations / took / best:.0%} of the peak" if block == "mamba2" else ""
            rate = batch / took
            print(
                f"  {name}: {rate:,.0f} sequences/s{share}, an epoch of {EPOCH:,} in {EPOCH / rate:.1f} s",
                flush=True,
            )
            torch.compiler.reset()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32, help="on the CPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gpu-batch", type=int, default=1024)
    options = parser.parse_args()
    on_cpu(options.batch, options.rounds)
    if torch.cuda.is_available():
        on_gpu(options.gpu_batch)
    else:
        print(f"torch {torch.__version__} sees no GPU, so no more can be measured")


if __name__ == "__main__":
    main()
