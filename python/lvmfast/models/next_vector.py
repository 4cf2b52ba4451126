"""What every trained model is, and what networks share: a body, a head, and perhaps a mix to correct."""

from __future__ import annotations

import numpy.typing as npt
import torch
from torch import nn

from lvmfast.models.baselines import lag_weights
from lvmfast.models.config import RESIDUALS, ModelConfig
from lvmfast.models.layers import wide
from lvmfast.models.packed import mixed


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
        form: str | None = getattr(getattr(self, "body", None), "form", None)
        return form

    @property
    def neighbours(self) -> tuple[int, ...]:
        """The densities that it takes off: by how many nearest others of a candidate."""
        return self.config.neighbours

    def every(self, rows: torch.Tensor, since: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim) of length 1: what follows each row of packed documents, in one pass.

        Args:
            rows: (batch, length, dim).
            since: (batch, length) int64: how many rows of its document stand before each
                (`models/packed.py`).
        """
        raise NotImplementedError(f"{self.config.model} is for windows")

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

    def forward(self, context: torch.Tensor) -> torch.Tensor:
        """(batch, length, dim) -> (batch, dim) float32 of length 1."""
        predicted = self.head(self.body(context))
        predicted = predicted.to(wide(predicted))
        if self.config.residual is not None:
            with torch.autocast(context.device.type, enabled=False):
                mix = self.mix[-context.shape[1] :].to(predicted.dtype)
                predicted = predicted + torch.einsum("l,bld->bd", mix, context.to(predicted.dtype))
        return nn.functional.normalize(predicted, dim=-1)

    def every(self, rows: torch.Tensor, since: torch.Tensor) -> torch.Tensor:
        """As `NextVectorModel.every`."""
        predicted = self.head(self.body.every(rows, since))
        predicted = predicted.to(wide(predicted))
        if self.config.residual is not None:
            with torch.autocast(rows.device.type, enabled=False):
                dtype = predicted.dtype
                predicted = predicted + mixed(rows.to(dtype), since, self.mix.to(dtype))
        return nn.functional.normalize(predicted, dim=-1)
