"""The attention mixture network: what one head of attention and an MLP add to the mean of the window."""

from __future__ import annotations

import torch
from torch import nn

from lvmfast.models.config import ModelConfig
from lvmfast.models.layers import ResidualMLP
from lvmfast.models.windows import leading_padding


class AttentionMixture(nn.Module):
    """(batch, length, dim) -> (batch, d_model).

    The mean of the embedded rows asks, the rows and their distance from the target answer, and the rows'
    mixture is added to the mean; `n_layers` residual MLPs follow. Padding weighs nothing in either.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Takes `dim`, `length`, `d_model`, `n_layers`, `expand` and `dropout` of the config."""
        super().__init__()
        width = config.d_model
        self.embed = nn.Linear(config.dim, width)
        self.lag = nn.Parameter(torch.randn(config.length, width) * 0.02)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(
            *(ResidualMLP(width, config.expand, config.dropout) for _ in range(config.n_layers))
        )
        self.norm = nn.RMSNorm(width, eps=1e-5)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        length = context.shape[1]
        place = torch.arange(length, device=context.device)
        # A window without a real row keeps its last one, so that no softmax runs over nothing.
        real = place >= leading_padding(context).clamp(max=length - 1)[:, None]  # (batch, length)
        rows = self.embed(context)  # (batch, length, width)
        weight = real.to(rows.dtype) / real.sum(1, keepdim=True).to(rows.dtype)
        mean = torch.einsum("bl,bld->bd", weight, rows)
        keys = self.key(rows + self.lag)
        scores = torch.einsum("bd,bld->bl", self.query(mean), keys) / keys.shape[-1] ** 0.5
        share = scores.masked_fill(~real, -torch.inf).softmax(-1)
        mixture = torch.einsum("bl,bld->bd", share, self.value(rows + self.lag))
        out: torch.Tensor = self.norm(self.mlp(mean + mixture))
        return out
