"""A gated recurrent unit over the window."""

from __future__ import annotations

import torch
from torch import nn

from lvmfast.models.config import ModelConfig
from lvmfast.models.packed import apart
from lvmfast.models.windows import at_last_real, leading_padding, padding_last


class GRU(nn.Module):
    """(batch, length, dim) -> (batch, d_model): the state after the last row, `n_layers` deep."""

    def __init__(self, config: ModelConfig) -> None:
        """Takes `dim`, `d_model`, `n_layers` and `dropout` of the config."""
        super().__init__()
        self.embed = nn.Linear(config.dim, config.d_model)
        between = config.dropout if config.n_layers > 1 else 0.0
        self.gru = nn.GRU(config.d_model, config.d_model, config.n_layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """As the class says; padding is met after the last row, where it changes nothing."""
        padding = leading_padding(context)
        states, _ = self.gru(self.embed(padding_last(context, padding)))
        last: torch.Tensor = self.dropout(at_last_real(states, padding))
        return last

    def every(self, rows: torch.Tensor, since: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim), (batch, length) -> (batch, length, d_model) of packed documents.

        torch's recurrence has no mask, so that every document goes through it in a row of its own.
        """
        alone, places = apart(self.embed(rows), since)
        states, _ = self.gru(alone)
        out: torch.Tensor = self.dropout(states[places])
        return out
