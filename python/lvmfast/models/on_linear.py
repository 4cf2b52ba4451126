"""A network that stands on the linear scorer: what it adds to the scores starts at zero.

s(y) = <sum_l a_l x_l + r(x), y> - sum_k b_k d_k(y): the scores of `linear.py`, whose weights are learned on,
and the inner product of a candidate with what the network makes of the window. r is not normalised: how much
it counts beside the linear part is learned, too. Its last layer starts at zero, so that the untrained model
is the linear scorer, to the last bit.
"""

from __future__ import annotations

import numpy.typing as npt
import torch
from torch import nn

from lvmfast.models.config import ModelConfig
from lvmfast.models.linear import Linear
from lvmfast.models.next_vector import NextVectorModel


class OnLinear(NextVectorModel):
    """The scorer of the module's formula.

    Attributes:
        linear: the scorer that it stands on.
        body: (batch, length, dim) -> (batch, d_model).
        head: (batch, d_model) -> (batch, dim), zero at the start.
    """

    def __init__(self, config: ModelConfig, body: nn.Module, mix: npt.ArrayLike | None = None) -> None:
        """Puts a head of the config's widths on `body`; `mix` is what the scorer's weights start from.

        Raises:
            DataError: `mix` is not (length,) finite weights.
        """
        super().__init__(config)
        self.linear = Linear(ModelConfig("linear", config.dim, config.length), mix)
        self.body = body
        self.head = nn.Linear(config.d_model, config.dim)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def queries(self, context: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim) -> (batch, dim + m + 1) augmented queries [sum_l a_l x_l + r(x); -b; 0]."""
        added = self.head(self.body(context)).float()
        with torch.autocast(context.device.type, enabled=False):
            queries = self.linear.queries(context)
            there = context.flatten(1).any(dim=1, keepdim=True)  # a window of padding alone asks for nothing
            added = nn.functional.pad(added * there, (0, queries.shape[1] - added.shape[1]))
            return queries + added

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim) -> (batch, dim) float32 of length 1: where scores point without density."""
        return nn.functional.normalize(self.queries(context)[:, : self.config.dim], dim=-1)


def scorer_of(model: NextVectorModel) -> Linear | None:
    """The linear scorer that a model is, or stands on; None for one that takes no density off."""
    if isinstance(model, OnLinear):
        return model.linear
    return model if isinstance(model, Linear) else None
