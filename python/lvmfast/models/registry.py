"""The models that can be trained, by name: this list is all that makes one known, and it loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

#: Makes a body, (batch, length, dim) -> (batch, d_model), from a `ModelConfig` whose form is settled; the
#: type is not named here, because a config asks this list which models there are.
Body = Callable[..., Any]

#: Stands for all others of a pool where a number of nearest others is asked for.
ALL = 0


@dataclass(frozen=True)
class Architecture:
    """One kind of model."""

    name: str  #: what configs, commands and checkpoints call it
    body: str  #: module:class, imported when a model is built: it is a `Body`
    layers: int  #: where a config asks for none
    meaning: str  #: what it is, in a phrase of Markdown
    documents: bool = False  #: can predict at every place of a document in one pass: its body has `every`
    forms: bool = False  #: made of Mamba blocks, which run as kernels or in PyTorch
    whole: bool = False  #: its class is the whole model, made from a config and the lag mix; it has no widths
    neighbours: tuple[int, ...] = ()  #: densities of candidates that it takes off; `ALL`: over all others
    recipe: str | None = None  #: the one that trains it, and nothing else; None: any of the others

    def load(self) -> Body:
        """The maker of its body, or of the whole model."""
        module, _, name = self.body.partition(":")
        found: Body = getattr(import_module(module), name)
        return found


#: In the order in which they are listed.
MODELS: dict[str, Architecture] = {}


def register(*architectures: Architecture) -> None:
    """Makes models known.

    Raises:
        ValueError: a name is taken.
    """
    for architecture in architectures:
        if architecture.name in MODELS:
            raise ValueError(f"model {architecture.name!r} is registered already")
        MODELS[architecture.name] = architecture


register(
    Architecture(
        "mamba_s",
        "lvmfast.models.mamba_s:MambaS",
        layers=8,
        meaning="projection in, 8 pre-norm layers `x + dropout(block(rmsnorm(x)))`, RMSNorm, the last row, "
        'projection out; the block is Mamba2 (`block="mamba2"`) or Mamba',
        documents=True,
        forms=True,
    ),
    Architecture(
        "amn",
        "lvmfast.models.attention_mixture:AttentionMixture",
        layers=1,
        meaning="attention mixture network: the mean of the embedded window, plus what one head of attention "
        "mixes out of it (the mean asks, rows and their places answer), residual MLP",
        documents=True,
    ),
    Architecture(
        "gru",
        "lvmfast.models.gru:GRU",
        layers=1,
        meaning="a GRU over the embedded window, its state after the last row",
        documents=True,
    ),
    Architecture(
        "mlp",
        "lvmfast.models.mlp:MLP",
        layers=2,
        meaning="one product over the window as one row, two residual MLPs",
    ),
    Architecture(
        "linear",
        "lvmfast.models.linear:Linear",
        layers=1,
        meaning="a weight for each place of the window, less one for each of seven densities of a candidate: "
        "a scorer, one inner product with augmented vectors",
        whole=True,
        neighbours=(1, 2, 3, 5, 10, 30, ALL),
        recipe="linear",
    ),
)
