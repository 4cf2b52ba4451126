"""The linear scorer: one weight for each place of the window, one for each density of a candidate.

s(y) = sum_l a_l <x_l, y> - sum_k b_k d_k(y), with unit vectors x_l of the window and unit candidates y;
d_k(y) is the mean cosine of y with its k nearest others in the pool (`evals/density.py`). It is one inner
product, <q', y'> with q' = [sum_l a_l x_l; -b] and y' = [y; d(y)], so that any vector database runs it.

It is trained by cross entropy over lists of candidates (`training/lists.py`): twelve weights at length five.
"""

from __future__ import annotations

import numpy.typing as npt
import torch
from torch import nn

from lvmfast.models.baselines import lag_weights
from lvmfast.models.config import ModelConfig
from lvmfast.models.next_vector import NextVectorModel

#: Scores are cosines times about this before any training: the inverse of a temperature.
START = 20.0
#: What a weight is held in: within a list a cosine differs by about a tenth, and so counts about as one.
UNIT = 10.0


class Linear(NextVectorModel):
    """The scorer of the module's formula. Untrained, it orders about as the lag mix less its density does.

    Attributes:
        lags: (length,) a / `UNIT`, oldest first.
        crowding: (m,) b / `UNIT`, in the order of the architecture's `neighbours`.
    """

    def __init__(self, config: ModelConfig, mix: npt.ArrayLike | None = None) -> None:
        """`mix`: (length,) weights to start from, as `fit_lag_mix` gives them; without, the last row alone.

        Raises:
            DataError: `mix` is not (length,) finite weights.
        """
        super().__init__(config)
        name = "copy-last" if mix is None else "lag-mix"
        start = torch.as_tensor(lag_weights(name, config.length, mix), dtype=torch.float32)
        self.lags = nn.Parameter(start * (START / UNIT))
        self.crowding = nn.Parameter(torch.full((len(self.neighbours),), START / UNIT / len(self.neighbours)))

    @property
    def weights(self) -> tuple[torch.Tensor, torch.Tensor]:
        """a, (length,), and b, (m,)."""
        return UNIT * self.lags, UNIT * self.crowding

    def take(self, weights: torch.Tensor) -> None:
        """Sets a and b, (length + m,) one after the other."""
        with torch.no_grad():
            length = len(self.lags)
            self.lags.copy_(weights[:length] / UNIT)
            self.crowding.copy_(weights[length:] / UNIT)

    def mixed(self, context: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim) -> (batch, dim): sum_l a_l x_l of unit rows; rows of zeros add nothing."""
        return torch.einsum("l,bld->bd", self.weights[0], nn.functional.normalize(context.float(), dim=-1))

    def queries(self, context: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim) -> (batch, dim + m + 1) augmented queries [sum_l a_l x_l; -b; 0]."""
        mixed = self.mixed(context)
        there = (mixed != 0).any(dim=-1, keepdim=True)  # a window of padding alone asks for nothing
        beside = nn.functional.pad(-self.weights[1], (0, 1)).expand(len(mixed), -1)
        return torch.cat([mixed, torch.where(there, beside, beside.new_zeros(()))], dim=1)

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim) -> (batch, dim) float32 of length 1: where scores point without density."""
        return nn.functional.normalize(self.mixed(context), dim=-1)
