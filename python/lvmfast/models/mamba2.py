"""The Mamba2 block in plain PyTorch, with the parameters of mamba-ssm's: weights load strictly, both ways.

After Dao and Gu, "Transformers are SSMs" (2024). In its words: x are the values, B the keys, C the queries,
dt the step sizes, A the decay of a head. One group of B and C serves all heads.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

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

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        batch, length, _ = u.shape
        z, xbc, dt = self.in_proj(u).split([self.inner, self.inner + 2 * self.d_state, self.heads], -1)
        xbc = F.silu(causal_convolution(xbc, self.conv1d.weight, self.conv1d.bias))
        x, b, c = xbc.split([self.inner, self.d_state, self.d_state], -1)
        x = x.unflatten(-1, (self.heads, self.headdim))  # (batch, length, heads, headdim)
        step = F.softplus(dt.to(wide(dt)) + self.dt_bias.to(wide(dt)))  # (batch, length, heads)
        log_decay = -step * self.A_log.to(wide(dt)).exp()
        y = state_space_dual(x, step, log_decay, b, c) + self.D.to(x.dtype)[:, None] * x
        out: torch.Tensor = self.out_proj(self.norm(y.reshape(batch, length, self.inner), z))
        return out


def wide(x: torch.Tensor) -> torch.dtype:
    """float32, or float64 for what is float64: what steps, decays and norms are computed in."""
    return torch.promote_types(x.dtype, torch.float32)


def initial_dt_bias(n: int, least: float = 0.001, most: float = 0.1, floor: float = 1e-4) -> torch.Tensor:
    """(n,): softplus of it is spread evenly over the logarithms of [least, most], as mamba-ssm starts."""
    step = torch.exp(torch.rand(n) * (math.log(most) - math.log(least)) + math.log(least)).clamp(min=floor)
    return step + torch.log(-torch.expm1(-step))


def causal_convolution(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A convolution of each channel with its own taps over rows so far, those before the first being zero.

    For a few taps the sum of shifted products is faster than a grouped convolution, and needs no transpose.

    Args:
        x: (batch, length, channels).
        weight: (channels, 1, taps), as `nn.Conv1d` holds it.
        bias: (channels,).
    """
    taps, length = weight.shape[-1], x.shape[1]
    padded = F.pad(x, (0, 0, taps - 1, 0))
    out = bias.to(x.dtype).expand_as(x)
    for tap in range(taps):
        out = torch.addcmul(out, padded[:, tap : tap + length], weight[:, 0, tap].to(x.dtype))
    return out


def decays(log_decay: torch.Tensor) -> torch.Tensor:
    """(batch, heads, length) -> (batch, heads, length, length): what is left at row t of what row s gave.

    The exponent is summed for each pair: a difference of two running sums would cancel.
    """
    length = log_decay.shape[-1]
    ones = torch.ones(length, length, dtype=torch.bool, device=log_decay.device)
    summands = log_decay[..., :, None].expand(*log_decay.shape, length).masked_fill(~ones.tril(-1), 0)
    return summands.cumsum(-2).masked_fill(~ones.tril(), -torch.inf).exp()


def state_space_dual(
    x: torch.Tensor, step: torch.Tensor, log_decay: torch.Tensor, b: torch.Tensor, c: torch.Tensor
) -> torch.Tensor:
    """y_t = sum over s <= t of (c_t . b_s) exp(sum of log_decay over (s, t]) step_s x_s.

    Inside a chunk all pairs of rows are scored at once, which is attention with a decay; between chunks the
    state (the sum of decayed b x^T) is carried on. One chunk needs no state at all.

    Args:
        x: (batch, length, heads, headdim).
        step: (batch, length, heads), in float32 or wider.
        log_decay: (batch, length, heads), not positive.
        b: (batch, length, d_state).
        c: (batch, length, d_state).

    Returns:
        (batch, length, heads, headdim) in x's dtype.
    """
    dtype, length = x.dtype, x.shape[1]
    weighted = (x * step[..., None]).to(dtype).transpose(1, 2)  # (batch, heads, length, headdim)
    log_decay = log_decay.transpose(1, 2)  # (batch, heads, length)
    state: torch.Tensor | None = None  # (batch, heads, d_state, headdim), wide
    parts = []
    for start in range(0, length, CHUNK):
        rows = slice(start, start + CHUNK)
        keys, queries, values, logs = b[:, rows], c[:, rows], weighted[:, :, rows], log_decay[:, :, rows]
        left = decays(logs)
        scores = (queries @ keys.transpose(1, 2))[:, None] * left  # (batch, heads, chunk, chunk)
        y = scores.to(dtype) @ values
        since = logs.cumsum(-1)  # from the chunk's start up to each row
        if state is not None:
            carried = (queries[:, None] @ state.to(dtype)) * since.exp()[..., None]
            y = y + carried.to(dtype)
        parts.append(y)
        if start + CHUNK < length:
            kept = (values * left[:, :, -1, :, None]).to(dtype)  # what is left at the chunk's end
            given = (keys.transpose(1, 2)[:, None] @ kept).to(logs.dtype)
            state = given if state is None else given + state * since[:, :, -1, None, None].exp()
    return torch.cat(parts, 2).transpose(1, 2)
