"""The Mamba block in plain PyTorch, with the parameters of mamba-ssm's: weights load strictly, both ways.

After Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (2023). Every channel
decays each component of its state at a rate of its own, so scoring pairs of rows would cost more than the
recurrence does: it has no quadratic form worth having, and is scanned at every length.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from lvmfast.models.layers import wide
from lvmfast.models.mamba2 import causal_convolution, initial_dt_bias


class Mamba(nn.Module):
    """(batch, length, d_model) -> (batch, length, d_model), causal."""

    def __init__(self, d_model: int, d_state: int, d_conv: int, expand: int) -> None:
        """`lvmfast.models.config.ModelConfig` says what the figures are."""
        super().__init__()
        inner = expand * d_model
        self.inner, self.d_state, self.dt_rank = inner, d_state, math.ceil(d_model / 16)
        self.in_proj = nn.Linear(d_model, 2 * inner, bias=False)  # in the order x, z
        self.conv1d = nn.Conv1d(inner, inner, d_conv, groups=inner, padding=d_conv - 1)
        self.x_proj = nn.Linear(inner, self.dt_rank + 2 * d_state, bias=False)  # in the order dt, B, C
        self.dt_proj = nn.Linear(self.dt_rank, inner)
        nn.init.uniform_(self.dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        with torch.no_grad():
            self.dt_proj.bias.copy_(initial_dt_bias(inner))
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        for parameter in (self.A_log, self.D):
            parameter._no_weight_decay = True  # the mark that mamba-ssm sets
        self.out_proj = nn.Linear(inner, d_model, bias=False)

    def forward(self, u: torch.Tensor, since: torch.Tensor | None = None) -> torch.Tensor:
        """As the class says; `since`, (batch, length), of packed documents (`models/packed.py`)."""
        x, z = self.in_proj(u).chunk(2, -1)  # (batch, length, inner) each
        x = F.silu(causal_convolution(x, self.conv1d.weight, self.conv1d.bias, since))
        dt, b, c = self.x_proj(x).split([self.dt_rank, self.d_state, self.d_state], -1)
        dt = F.linear(dt, self.dt_proj.weight.to(dt.dtype)).to(wide(dt))
        step = F.softplus(dt + self.dt_proj.bias.to(wide(dt)))  # (batch, length, inner)
        y = selective_scan(x, step, -self.A_log.to(wide(x)).exp(), b, c, since)
        y = y + self.D.to(wide(x)) * x.to(wide(x))
        out: torch.Tensor = self.out_proj((y * F.silu(z.to(wide(x)))).to(x.dtype))
        return out


def selective_scan(
    x: torch.Tensor,
    step: torch.Tensor,
    decay_rate: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    since: torch.Tensor | None = None,
) -> torch.Tensor:
    """h_t = exp(step_t rate) h_{t-1} + step_t x_t b_t; y_t = h_t . c_t, row after row.

    Args:
        x: (batch, length, inner).
        step: (batch, length, inner), in float32 or wider.
        decay_rate: (inner, d_state), negative.
        b: (batch, length, d_state).
        c: (batch, length, d_state).
        since: (batch, length) of packed documents: the state starts anew with each. None: one a row.

    Returns:
        (batch, length, inner) in step's dtype.
    """
    given = step * x.to(step.dtype)
    b, c = b.to(step.dtype), c.to(step.dtype)
    state = given[:, 0, :, None] * b[:, 0, None, :]  # (batch, inner, d_state)
    out = [torch.einsum("bdn,bn->bd", state, c[:, 0])]
    for row in range(1, x.shape[1]):
        if since is not None:
            state = state * (since[:, row, None, None] > 0)
        kept = torch.exp(step[:, row, :, None] * decay_rate) * state
        state = torch.addcmul(kept, given[:, row, :, None], b[:, row, None, :])
        out.append(torch.einsum("bdn,bn->bd", state, c[:, row]))
    return torch.stack(out, 1)
