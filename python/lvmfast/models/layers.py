"""The layers that several models stand on."""

from __future__ import annotations

import torch
from torch import nn


class ResidualMLP(nn.Module):
    """x + dropout(W2 gelu(W1 rmsnorm(x))), of inner width `expand` times `width`."""

    def __init__(self, width: int, expand: int, dropout: float) -> None:
        """Of the widths that the class names."""
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.up = nn.Linear(width, expand * width)
        self.down = nn.Linear(expand * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, width) -> (batch, width)."""
        inner: torch.Tensor = self.down(nn.functional.gelu(self.up(self.norm(x))))
        return x + self.dropout(inner)


def wide(x: torch.Tensor) -> torch.dtype:
    """float32, or float64 for what is float64: what steps, decays, norms and predictions are computed in."""
    return torch.promote_types(x.dtype, torch.float32)
