"""AdamW and its learning rate: linear warmup, then a cosine."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from lvmfast.training.config import TrainConfig


def warmup_steps(config: TrainConfig, steps: int) -> int:
    """Steps of the warmup in a run of `steps`."""
    return int(config.warmup) if config.warmup >= 1 else round(config.warmup * steps)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The rate of step `step`, counted from 0, in a run of `steps`.

    It rises by equal parts to `lr` over the warmup, then falls along half a cosine to `final_lr` * `lr` at
    the last step.
    """
    warmup = warmup_steps(config, steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return config.lr * (config.final_lr + (1 - config.final_lr) * fall)


def make_optimiser(config: TrainConfig, named: Iterable[tuple[str, nn.Parameter]]) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter, 2019); decay for matrices alone, and not where a module forbids it."""
    parameters = [parameter for _, parameter in named if parameter.requires_grad]
    plain = [p for p in parameters if p.ndim < 2 or getattr(p, "_no_weight_decay", False)]
    plain_ids = {id(parameter) for parameter in plain}
    matrices = [p for p in parameters if id(p) not in plain_ids]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    # Fused, a step takes a quarter of the time on a processor (docs/benchmarks.md).
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), fused=True)
