"""The attention mixture network: what one head of attention and an MLP add to the mean of the window."""

from __future__ import annotations

import torch
from torch import nn

from lvmfast.models.config import ModelConfig
from lvmfast.models.layers import ResidualMLP
from lvmfast.models.packed import visible
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
        lag = self.lag[-length:]  # a window shorter than the longest one is its end
        keys = self.key(rows + lag)
        scores = torch.einsum("bd,bld->bl", self.query(mean), keys) / keys.shape[-1] ** 0.5
        share = scores.masked_fill(~real, -torch.inf).softmax(-1)
        mixture = torch.einsum("bl,bld->bd", share, self.value(rows + lag))
        out: torch.Tensor = self.norm(self.mlp(mean + mixture))
        return out

    def every(self, rows: torch.Tensor, since: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim), (batch, length) -> (batch, length, d_model) of packed documents.

        What `forward` says of the window that ends at each row, the last `length` rows of its document: keys
        and values of rows and of lags are added after the products, which are the same for all windows.
        """
        most, place = len(self.lag), torch.arange(rows.shape[1], device=rows.device)
        lag = place[:, None] - place  # (length, length)
        seen = visible(since) & (lag < most)  # (batch, length, length)
        embedded = self.embed(rows)
        weight = seen.to(embedded.dtype) / seen.sum(-1, keepdim=True).to(embedded.dtype)
        mean = weight @ embedded
        query, back = self.query(mean), lag.clamp(0, most - 1).expand_as(seen)
        of_lags = (query @ self.key(self.lag).flip(0).T).gather(2, back)  # the nearest row first
        scores = (query @ self.key(embedded).transpose(1, 2) + of_lags) / query.shape[-1] ** 0.5
        share = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        by_lag = share.new_zeros(*share.shape[:2], most).scatter_add(2, back, share)
        mixture = share @ self.value(embedded) + by_lag @ self.value(self.lag).flip(0)
        out: torch.Tensor = self.norm(self.mlp(mean + mixture))
        return out
