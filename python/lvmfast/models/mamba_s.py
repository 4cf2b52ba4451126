"""Mamba-S: a stack of pre-norm residual Mamba blocks between two projections."""

from __future__ import annotations

import torch
from torch import nn

from lvmfast.models.config import ModelConfig
from lvmfast.models.forms import make_block
from lvmfast.models.packed import apart
from lvmfast.models.windows import at_last_real, leading_padding, padding_last


class Layer(nn.Module):
    """x + dropout(block(rmsnorm(x)))."""

    def __init__(self, config: ModelConfig) -> None:
        """One layer."""
        super().__init__()
        self.norm = nn.RMSNorm(config.d_model, eps=1e-5)
        self.block = make_block(config, config.form)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: torch.Tensor, since: torch.Tensor | None = None) -> torch.Tensor:
        """(batch, length, d_model) -> the same; `since` of packed documents, which no kernel takes."""
        packed = () if since is None else (since,)
        inner: torch.Tensor = self.dropout(self.block(self.norm(x), *packed))
        return x + inner


class MambaS(nn.Module):
    """(batch, length, dim) -> (batch, d_model): what the stack says at the last row.

    Attributes:
        form: ``kernels`` or ``reference``, the form that its blocks run in.
    """

    def __init__(self, config: ModelConfig) -> None:
        """`n_layers` layers whose blocks run in the config's form, which is not auto any more."""
        super().__init__()
        self.form = config.form
        self.embed = nn.Linear(config.dim, config.d_model)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.d_model, eps=1e-5)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """As the class says; padding is met after the last row, where causal blocks cannot see it."""
        padding = leading_padding(context)
        hidden = self.embed(padding_last(context, padding))
        for layer in self.layers:
            hidden = layer(hidden)
        last: torch.Tensor = self.norm(at_last_real(hidden, padding))
        return last

    def every(self, rows: torch.Tensor, since: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim), (batch, length) -> (batch, length, d_model) of packed documents.

        The reference masks in the scan. The kernels have every document in a row of its own.
        """
        hidden = self.embed(rows)
        if self.form == "kernels":
            hidden, places = apart(hidden, since)
            for layer in self.layers:
                hidden = layer(hidden)
            hidden = hidden[places]
        else:
            for layer in self.layers:
                hidden = layer(hidden, since)
        out: torch.Tensor = self.norm(hidden)
        return out
