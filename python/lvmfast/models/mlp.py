"""A multilayer perceptron over the whole window as one row."""

from __future__ import annotations

import torch
from torch import nn

from lvmfast.models.config import ModelConfig
from lvmfast.models.layers import ResidualMLP


class MLP(nn.Module):
    """(batch, length, dim) -> (batch, d_model): one product over all places, then `n_layers` residual MLPs.

    Each place has weights of its own, and rows of zeros add nothing to the product.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Takes `dim`, `length`, `d_model`, `n_layers`, `expand` and `dropout` of the config."""
        super().__init__()
        self.embed = nn.Linear(config.length * config.dim, config.d_model)
        self.layers = nn.Sequential(
            *(ResidualMLP(config.d_model, config.expand, config.dropout) for _ in range(config.n_layers))
        )
        self.norm = nn.RMSNorm(config.d_model, eps=1e-5)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """As the class says."""
        hidden: torch.Tensor = self.norm(self.layers(self.embed(context.flatten(1))))
        return hidden
