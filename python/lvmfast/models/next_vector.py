"""What every trained model is, and what networks share: a body, a head, and perhaps a mix to correct."""

from __future__ import annotations

import numpy.typing as npt
import torch
from torch import nn

from lvmfast.models.baselines import lag_weights
from lvmfast.models.config import RESIDUALS, ModelConfig
from lvmfast.models.registry import MODELS


class NextVectorModel(nn.Module):
    """Turns windows into what candidates are scored by. Rows of zeros in front of a window are padding.

    `forward` gives directions, (batch, dim) of length 1. They are all of a prediction, but for a model that
    takes densities of candidates off: such a one has `neighbours`, and its `queries` are augmented.

    Attributes:
        config: what it was built from.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Of any model."""
        super().__init__()
        self.config = config

    @property
    def form(self) -> str | None:
        """``kernels`` or ``reference``; None for a model that has one form only."""
        return None

    @property
    def neighbours(self) -> tuple[int, ...]:
        """The densities that it takes off: by how many nearest others of a candidate."""
        return MODELS[self.config.model].neighbours

    def queries(self, context: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim) -> what (augmented) rows of candidates are multiplied with."""
        found: torch.Tensor = self(context)
        return found


class Network(NextVectorModel):
    """Predicts the embedding that follows a window: (batch, length, dim) -> (batch, dim), L2-normalised.

    With a residual the prediction is normalise(mix + head(body)), and the head starts at zero: untrained, the
    model is the baseline (`RESIDUALS`). Rows of zeros at a window's front are padding.

    Attributes:
        body: (batch, length, dim) -> (batch, d_model).
        head: (batch, d_model) -> (batch, dim).
        mix: (length,) weights of the window's rows, oldest first; a parameter for lag-mix.
    """

    def __init__(self, config: ModelConfig, body: nn.Module, mix: npt.ArrayLike | None = None) -> None:
        """Puts a head of the config's widths on `body`; `mix` is what a lag-mix residual starts from.

        Raises:
            DataError: `mix` is not (length,) finite weights.
        """
        super().__init__(config)
        self.body = body
        self.head = nn.Linear(config.d_model, config.dim)
        if config.residual is None:
            return
        if config.residual == "lag-mix" and mix is None:
            mix = lag_weights("copy-last", config.length)
        weights = torch.as_tensor(
            lag_weights(RESIDUALS[config.residual], config.length, mix), dtype=torch.float32
        )
        if config.residual == "lag-mix":
            self.mix = nn.Parameter(weights)
        else:
            self.register_buffer("mix", weights, persistent=False)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    @property
    def form(self) -> str | None:
        """``kernels`` or ``reference``; None for a model that has one form only."""
        form: str | None = getattr(self.body, "form", None)
        return form

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim) -> (batch, dim) float32 of length 1."""
        predicted = self.head(self.body(context)).float()
        if self.config.residual is not None:
            with torch.autocast(context.device.type, enabled=False):
                predicted = predicted + torch.einsum("l,bld->bd", self.mix.float(), context.float())
        return nn.functional.normalize(predicted, dim=-1)
