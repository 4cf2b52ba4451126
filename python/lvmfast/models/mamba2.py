"""The Mamba2 block in plain PyTorch, with the parameters of mamba-ssm's: weights load strictly, both ways.

After Dao and Gu, "Transformers are SSMs" (2024). In its words: x are the values, B the keys, C the queries,
dt the step sizes, A the decay of a head. One group of B and C serves all heads.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from lvmfast.models.layers import wide
from lvmfast.models.packed import visible

#: Rows up to which every pair of rows is scored at once; longer windows go chunk by chunk of this many.
CHUNK = 64


class GatedRMSNorm(nn.Module):
    """rmsnorm(x * silu(z)) * weight, in float32."""

    def __init__(self, width: int, eps: float = 1e-5) -> None:
        """Over rows of `width` components."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """(..., width), (..., width) -> (..., width) in x's dtype."""
        gated = x.to(wide(x)) * F.silu(z.to(wide(x)))
        scale = torch.rsqrt(gated.square().mean(-1, keepdim=True) + self.eps)
        return (gated * scale * self.weight.to(wide(x))).to(x.dtype)


class Mamba2(nn.Module):
    """(batch, length, d_model) -> (batch, length, d_model), causal."""

    def __init__(self, d_model: int, d_state: int, d_conv: int, expand: int, headdim: int) -> None:
        """`lvmfast.models.config.ModelConfig` says what the figures are."""
        super().__init__()
        self.inner, self.d_state, self.headdim = expand * d_model, d_state, headdim
        self.heads = self.inner // headdim
        convolved = self.inner + 2 * d_state
        # in the order z, x, B, C, dt
        self.in_proj = nn.Linear(d_model, self.inner + convolved + self.heads, bias=False)
        self.conv1d = nn.Conv1d(convolved, convolved, d_conv, groups=convolved, padding=d_conv - 1)
        self.dt_bias = nn.Parameter(initial_dt_bias(self.heads))
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(self.heads))
        for parameter in (self.dt_bias, self.A_log, self.D):
            parameter._no_weight_decay = True  # the mark that mamba-ssm sets
        self.norm = GatedRMSNorm(self.inner)
        self.out_proj = nn.Linear(self.inner, d_model, bias=False)

    def forward(self, u: torch.Tensor, since: torch.Tensor | None = None) -> torch.Tensor:
        """As the class says; `since`, (batch, length), of packed documents (`models/packed.py`)."""
        batch, length, _ = u.shape
        z, xbc, dt = self.in_proj(u).split([self.inner, self.inner + 2 * self.d_state, self.heads], -1)
        xbc = F.silu(causal_convolution(xbc, self.conv1d.weight, self.conv1d.bias, since))
        x, b, c = xbc.split([self.inner, self.d_state, self.d_state], -1)
        x = x.unflatten(-1, (self.heads, self.headdim))  # (batch, length, heads, headdim)
        step = F.softplus(dt.to(wide(dt)) + self.dt_bias.to(wide(dt)))  # (batch, length, heads)
        log_decay = -step * self.A_log.to(wide(dt)).exp()
        y = state_space_dual(x, step, log_decay, b, c, self.D, since)
        out: torch.Tensor = self.out_proj(self.norm(y.reshape(batch, length, self.inner), z))
        return out


def initial_dt_bias(n: int, least: float = 0.001, most: float = 0.1, floor: float = 1e-4) -> torch.Tensor:
    """(n,): softplus of it is spread evenly over the logarithms of [least, most], as mamba-ssm starts."""
    step = torch.exp(torch.rand(n) * (math.log(most) - math.log(least)) + math.log(least)).clamp(min=floor)
    return step + torch.log(-torch.expm1(-step))


class CausalConvolution(torch.autograd.Function):
    """What `causal_convolution` computes; autograd would write the gradient of each slice whole."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, since: torch.Tensor | None
    ) -> torch.Tensor:
        """(batch, length, channels), (channels, taps), (channels,) -> (batch, length, channels)."""
        ctx.save_for_backward(x, weight, since)
        out = torch.addcmul(bias, x, weight[:, -1])
        for lag in lags(x, weight):
            out[:, lag:].addcmul_(within(x[:, :-lag], since, lag), weight[:, -1 - lag])
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients of x, weight and bias."""
        (x, weight, since), (out,) = ctx.saved_tensors, gradients
        of_x, of_weight = out * weight[:, -1], torch.zeros_like(weight)
        of_weight[:, -1] = (out * x).sum((0, 1))
        for lag in lags(x, weight):
            given = within(out[:, lag:], since, lag)
            of_x[:, :-lag].addcmul_(given, weight[:, -1 - lag])
            of_weight[:, -1 - lag] = (given * x[:, :-lag]).sum((0, 1))
        return of_x, of_weight, out.sum((0, 1)), None


def within(x: torch.Tensor, since: torch.Tensor | None, lag: int) -> torch.Tensor:
    """(batch, length - lag, channels), zero where that many rows back is another document."""
    return x if since is None else x * (since[:, lag:, None] >= lag)


def lags(x: torch.Tensor, weight: torch.Tensor) -> range:
    """How far back a tap reaches, from 1 on, where the window is long enough for it."""
    return range(1, min(weight.shape[-1], x.shape[1]))


def causal_convolution(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, since: torch.Tensor | None = None
) -> torch.Tensor:
    """A convolution of each channel with its own taps over rows so far, those before the first being zero.

    For a few taps the sum of shifted products is faster than a grouped convolution, and needs no transpose.

    Args:
        x: (batch, length, channels).
        weight: (channels, 1, taps), as `nn.Conv1d` holds it.
        bias: (channels,).
        since: (batch, length) of packed documents (`models/packed.py`); None: each row is one window.
    """
    out: torch.Tensor = CausalConvolution.apply(x, weight[:, 0].to(x.dtype), bias.to(x.dtype), since)
    return out


def decays(log_decay: torch.Tensor, since: torch.Tensor | None = None) -> torch.Tensor:
    """(batch, heads, length) -> (batch, heads, length, length): what is left at row t of what row s gave.

    Nothing, where s is later or, with `since`, (batch, length), of another document. The exponent is summed
    for each pair: a difference of two running sums would cancel.
    """
    length = log_decay.shape[-1]
    ones = torch.ones(length, length, dtype=torch.bool, device=log_decay.device)
    summands = log_decay[..., :, None].expand(*log_decay.shape, length).masked_fill(~ones.tril(-1), 0)
    seen = ones.tril() if since is None else visible(since)[:, None]
    return summands.cumsum(-2).masked_fill(~seen, -torch.inf).exp()


def state_space_dual(
    x: torch.Tensor,
    step: torch.Tensor,
    log_decay: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    skip: torch.Tensor,
    since: torch.Tensor | None = None,
) -> torch.Tensor:
    """y_t = skip x_t + sum over s <= t of (c_t . b_s) exp(sum of log_decay over (s, t]) step_s x_s.

    Inside a chunk all pairs of rows are scored at once, which is attention with a decay; between chunks the
    state (the sum of decayed b x^T) is carried on. One chunk needs no state at all. Steps and skip are taken
    into the scores, which are small where windows are short.

    Args:
        x: (batch, length, heads, headdim).
        step: (batch, length, heads), in float32 or wider.
        log_decay: (batch, length, heads), not positive.
        b: (batch, length, d_state).
        c: (batch, length, d_state).
        skip: (heads,).
        since: (batch, length) of packed documents: the state starts anew with each. None: one a row.

    Returns:
        (batch, length, heads, headdim) in x's dtype.
    """
    dtype, length = x.dtype, x.shape[1]
    x, step, log_decay = x.transpose(1, 2), step.transpose(1, 2), log_decay.transpose(1, 2)
    state: torch.Tensor | None = None  # (batch, heads, d_state, headdim), wide
    parts = []
    for start in range(0, length, CHUNK):
        rows = slice(start, start + CHUNK)
        keys, queries, values = b[:, rows], c[:, rows], x[:, :, rows]
        steps, logs = step[:, :, rows], log_decay[:, :, rows]
        # How far back the document of each row reaches, counted from the chunk's first row.
        back = None if since is None else since[:, rows] - torch.arange(logs.shape[-1], device=x.device)
        left = decays(logs, None if since is None else since[:, rows]) * steps[:, :, None]
        scores = (queries @ keys.transpose(1, 2))[:, None] * left  # (batch, heads, chunk, chunk)
        scores = scores + torch.diag_embed(skip.to(scores.dtype)[:, None].expand(-1, scores.shape[-1]))
        y = scores.to(dtype) @ values
        kept_of = logs.cumsum(-1)  # of the state at the chunk's start, up to each row: the logarithm
        if back is not None:
            kept_of = kept_of.masked_fill((back <= 0)[:, None], -torch.inf)
        if state is not None:
            carried = (queries[:, None] @ state.to(dtype)) * kept_of.exp()[..., None]
            y = y + carried.to(dtype)
        parts.append(y)
        if start + CHUNK < length:
            kept = (values * left[:, :, -1, :, None]).to(dtype)  # what is left at the chunk's end
            given = (keys.transpose(1, 2)[:, None] @ kept).to(logs.dtype)
            state = given if state is None else given + state * kept_of[:, :, -1, None, None].exp()
    return torch.cat(parts, 2).transpose(1, 2)
