"""Which of its two forms a Mamba block runs in: the kernels of mamba-ssm, or the reference in PyTorch."""

from __future__ import annotations

import importlib
import importlib.util

import torch
from torch import nn

from lvmfast.errors import DataError
from lvmfast.models.config import ModelConfig
from lvmfast.models.mamba import Mamba
from lvmfast.models.mamba2 import Mamba2

#: Where mamba-ssm keeps each block.
PACKAGED = {
    "mamba2": ("mamba_ssm.modules.mamba2", "Mamba2"),
    "mamba": ("mamba_ssm.modules.mamba_simple", "Mamba"),
}


def kernels_missing(block: str, device: torch.device) -> str | None:
    """Why mamba-ssm's kernels cannot run this block on this device, or None where they can."""
    if device.type != "cuda":
        return f"they run on a CUDA device, and this one is {device}"
    module, _ = PACKAGED[block]
    try:
        importlib.import_module(module)
    # What a half-installed or mismatched package raises is not foreseeable: OSError, RuntimeError, ...
    except Exception as error:
        return f"{module} cannot be imported ({type(error).__name__}: {error}): pip install 'lvmfast[mamba]'"
    return None


def choose_form(config: ModelConfig, device: torch.device) -> str:
    """``kernels`` or ``reference``: what the config asks for; auto takes the kernels where they can run.

    Raises:
        DataError: the kernels are asked for where they cannot run.
    """
    if config.form == "reference":
        return "reference"
    missing = kernels_missing(config.block, device)
    if config.form == "kernels" and missing is not None:
        raise DataError(f"model config: form: the kernels of mamba-ssm cannot run: {missing}")
    return "reference" if missing else "kernels"


def make_block(config: ModelConfig, form: str) -> nn.Module:
    """One block, (batch, length, d_model) -> the same; its parameters do not depend on the form."""
    if form == "reference":
        if config.block == "mamba2":
            return Mamba2(config.d_model, config.d_state, config.d_conv, config.expand, config.headdim)
        return Mamba(config.d_model, config.d_state, config.d_conv, config.expand)
    module, name = PACKAGED[config.block]
    packaged = getattr(importlib.import_module(module), name)
    shape = {"d_state": config.d_state, "d_conv": config.d_conv, "expand": config.expand}
    if config.block == "mamba2":
        # Its fused path calls causal-conv1d without asking whether that is there.
        fused = importlib.util.find_spec("causal_conv1d") is not None
        shape |= {"headdim": config.headdim, "use_mem_eff_path": fused}
    block: nn.Module = packaged(config.d_model, **shape)
    return block
