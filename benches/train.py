"""Sequences per second of Mamba-S in the customary shape: 8 layers, d_model 768, windows of 5 vectors of 768.

On the CPU, a step of training (forward, backward, AdamW) and prediction: the quadratic form of the Mamba2
block beside three sequential ones in the same run. The peer is the plain scan of Mamba, as public PyTorch
code has it: decays and inputs of every row are made whole, then a loop runs over the state. The others are
Mamba as lvmfast scans it, and the recurrence of Mamba2 itself; what computes the same must predict the same.
On a GPU, in bf16: mamba-ssm's kernels beside the reference, compiled and not, as a share of what a large
bf16 product reaches, and as the time of an epoch. Where torch sees no GPU, it says so.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from common import machine, race
from gpu import peak
from lvmfast import DataError
from lvmfast.models import mamba, mamba2
from lvmfast.models.build import build
from lvmfast.models.config import ModelConfig
from lvmfast.training.config import TrainConfig
from lvmfast.training.optimiser import make_optimiser

DIM, LENGTH, EPOCH = 768, 5, 317_007
ASKED = 10.0  # times the plain scan, in training


def recurrence(x: Any, step: Any, log_decay: Any, b: Any, c: Any, skip: Any, since: None = None) -> Any:
    """What `mamba2.state_space_dual` computes, by rows over a state of (batch, heads, headdim, d_state)."""
    state, out = 0, []
    for row in range(x.shape[1]):
        given = (step[:, row, :, None] * x[:, row])[..., None] * b[:, row, None, None, :]
        state = log_decay[:, row, :, None, None].exp() * state + given
        out.append((state * c[:, row, None, None, :]).sum(-1))
    return torch.stack(out, 1) + skip[:, None] * x


def plain_scan(x: Any, step: Any, decay_rate: Any, b: Any, c: Any, since: None = None) -> Any:
    """What `mamba.selective_scan` computes, as public code does: (batch, length, inner, d_state) first."""
    kept = torch.exp(step[..., None] * decay_rate)
    given = (step * x)[..., None] * b[:, :, None, :]
    state, out = 0, []
    for row in range(x.shape[1]):
        state = kept[:, row] * state + given[:, row]
        out.append(torch.einsum("bdn,bn->bd", state, c[:, row]))
    return torch.stack(out, 1)


@contextmanager
def scanning(module: Any, name: str, scan: Any) -> Iterator[None]:
    """Blocks of the reference form call `scan` for `module.name`."""
    ours = getattr(module, name)
    setattr(module, name, scan)
    try:
        yield
    finally:
        setattr(module, name, ours)


def config(**changes: Any) -> ModelConfig:
    return ModelConfig("mamba_s", DIM, LENGTH, dropout=0.0, **changes)


def forward_backward(model: Any, windows: Any, targets: Any) -> Any:
    model.zero_grad()
    predicted = model(windows)
    (1 - (predicted * targets).sum(-1)).mean().backward()
    return predicted.detach()


def on_cpu(batch: int, rounds: int, clock: Callable[[], float]) -> bool:
    """Prints all rates; whether training was as many times faster than the plain scan as was asked for."""
    torch.manual_seed(0)
    windows, targets = torch.randn(batch, LENGTH, DIM), torch.randn(batch, DIM)
    quadratic, mamba_s = build(config(form="reference")), build(config(form="reference", block="mamba"))
    rivals = {
        "Mamba, the plain scan": (mamba_s, (mamba, "selective_scan", plain_scan)),
        "Mamba, lvmfast's scan": (mamba_s, None),
        "Mamba2, row by row": (quadratic, (mamba2, "state_space_dual", recurrence)),
    }

    def predict(model: Any) -> Any:
        with torch.no_grad():
            return model(windows)

    def rival(name: str, run: Callable[[Any], Any]) -> Any:
        model, patch = rivals[name]
        with scanning(*patch) if patch else nullcontext():
            return run(model)

    for name, peer in (
        ("Mamba, the plain scan", lambda: rival("Mamba, lvmfast's scan", predict)),
        ("Mamba2, row by row", lambda: predict(quadratic)),
    ):
        apart = float((rival(name, predict) - peer()).abs().max())
        if not apart < 1e-5:
            raise SystemExit(f"{name}: predictions differ by {apart}")
    threads = torch.get_num_threads()
    print(f"{machine()}, torch {torch.__version__}, {threads} threads; batches of {batch}, float32")
    optimisers = {
        model: make_optimiser(TrainConfig(lr=1e-9), model.named_parameters())
        for model in (quadratic, mamba_s)
    }

    def train(model: Any) -> None:
        forward_backward(model, windows, targets)
        optimisers[model].step()

    kept = True
    for what, run in (("training", train), ("prediction", predict)):
        for name in rivals:
            result = race(
                lambda run=run: run(quadratic),
                lambda name=name, run=run: rival(name, run),
                rounds,
                clock,
            )
            print(
                f"  {what}: {batch / result.ours:.1f} sequences/s; {name}: {batch / result.peer:.1f}, "
                f"{result.ratio:.1f} times slower",
                flush=True,
            )
            kept &= name != "Mamba, the plain scan" or what == "prediction" or result.ratio >= ASKED
    return kept


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
    parser.add_argument("--cpu", action="store_true", help="one thread, timed by the processor's own clock")
    parser.add_argument("--gpu-batch", type=int, default=1024)
    options = parser.parse_args()
    if options.cpu:
        torch.set_num_threads(1)
    clock = time.process_time if options.cpu else time.perf_counter
    kept = on_cpu(options.batch, options.rounds, clock)
    if torch.cuda.is_available():
        on_gpu(options.gpu_batch)
    else:
        print(f"torch {torch.__version__} sees no GPU, so no more can be measured")
    if not kept:
        sys.exit("a figure misses what was asked for")


if __name__ == "__main__":
    main()
