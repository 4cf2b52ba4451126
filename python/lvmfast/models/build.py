"""From a config to a model."""

from __future__ import annotations

from dataclasses import replace

import numpy.typing as npt
import torch

from lvmfast.leaks.devices import device_name
from lvmfast.models.config import ON_LINEAR, ModelConfig
from lvmfast.models.next_vector import Network, NextVectorModel
from lvmfast.models.registry import MODELS


def build(
    config: ModelConfig, *, device: str | torch.device = "cpu", mix: npt.ArrayLike | None = None
) -> NextVectorModel:
    """A new model on `device`, initialised from torch's generator on the CPU.

    Args:
        config: what to build.
        device: where it will run. The form of a Mamba block is settled for this device.
        mix: (length,) weights that a lag-mix residual or the linear scorer starts from
            (`baselines.fit_lag_mix`); without them, the last row alone.

    Raises:
        DataError: the config asks for mamba-ssm's kernels where they cannot run, or `mix` does not fit.
    """
    if isinstance(device, str):
        device_name(device)
    device = torch.device(device)
    architecture, settled = MODELS[config.model], config
    if architecture.forms:
        from lvmfast.models.forms import choose_form

        settled = replace(config, form=choose_form(config, device))
    model: NextVectorModel
    if architecture.whole:
        model = architecture.load()(settled, mix)
    elif config.residual == ON_LINEAR:
        from lvmfast.models.on_linear import OnLinear

        model = OnLinear(config, architecture.load()(settled), mix)
    else:
        model = Network(config, architecture.load()(settled), mix)
    model.to(device)
    return model
