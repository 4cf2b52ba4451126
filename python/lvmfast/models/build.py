"""From a config to a model."""

from __future__ import annotations

import numpy.typing as npt
import torch
from torch import nn

from lvmfast.leaks.devices import device_name
from lvmfast.models.attention_mixture import AttentionMixture
from lvmfast.models.config import ModelConfig
from lvmfast.models.forms import choose_form
from lvmfast.models.gru import GRU
from lvmfast.models.mamba_s import MambaS
from lvmfast.models.mlp import MLP
from lvmfast.models.next_vector import NextVectorModel


def build(
    config: ModelConfig, *, device: str | torch.device = "cpu", mix: npt.ArrayLike | None = None
) -> NextVectorModel:
    """A new model on `device`, initialised from torch's generator on the CPU.

    Args:
        config: what to build.
        device: where it will run. The form of a Mamba block is settled for this device.
        mix: (length,) weights that a lag-mix residual starts from (`baselines.fit_lag_mix`); without
            them, the last row alone.

    Raises:
        DataError: the config asks for mamba-ssm's kernels where they cannot run, or `mix` does not fit.
    """
    if isinstance(device, str):
        device_name(device)
    device = torch.device(device)
    body: nn.Module
    if config.model == "mamba_s":
        body = MambaS(config, choose_form(config, device))
    elif config.model == "amn":
        body = AttentionMixture(config)
    elif config.model == "gru":
        body = GRU(config)
    else:
        body = MLP(config)
    model = NextVectorModel(config, body, mix)
    model.to(device)
    return model
