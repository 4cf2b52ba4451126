"""What a model is, as plain data: it is read and written without torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lvmfast.errors import DataError
from lvmfast.models.registry import MODELS

#: What needs no training and predicts a vector: a mix of the window.
MIXES = ("copy-last", "mean", "lag-mix")
#: The lag mix, with the density of a candidate taken off its cosine.
LAG_MIX_DENSITY = "lag-mix-density"
BASELINES = (*MIXES, LAG_MIX_DENSITY)
#: The attention mixture network, which gates know by its name.
AMN = "amn"
#: What a prediction may be a correction to, by the baseline that it equals while the correction is zero.
RESIDUALS = {"last": "copy-last", "mean": "mean", "lag-mix": "lag-mix"}
#: What a network may be added to besides: the scores of the fitted linear scorer.
ON_LINEAR = "linear"
BLOCKS = ("mamba2", "mamba")
FORMS = ("auto", "kernels", "reference")
#: What a model was trained on: windows of `length` vectors, or documents, of which it sees up to `length`.
LAYOUTS = ("windows", "documents")


@dataclass(frozen=True)
class ModelConfig:
    """A model's shape; `docs/models.md` says what each model makes of it.

    Attributes:
        model: one of `MODELS`.
        dim: components of an embedding.
        length: vectors in a window; the most that it sees, where `layout` is documents.
        d_model: width of the hidden state; 0 stands for that of an embedding, rounded up to a multiple of
            `headdim`, and is replaced by it.
        n_layers: blocks, layers of the GRU or of the MLP; 0 stands for the model's own and is replaced by it.
        d_state: state components of a Mamba block, per channel.
        d_conv: taps of a Mamba block's convolution.
        expand: inner width of a block over `d_model`, in Mamba blocks and in MLP layers.
        headdim: channels of a head, in Mamba2.
        dropout: share of each block's output that is dropped in training.
        block: one of `BLOCKS`, for models of Mamba blocks.
        form: one of `FORMS`, for models of Mamba blocks: the kernels of mamba-ssm, the reference in PyTorch,
            or whichever of them suits the device.
        residual: one of `RESIDUALS`: the model corrects that mix of its window instead of predicting whole;
            `ON_LINEAR`: its inner product with a candidate is added to the score of the linear scorer.
        layout: one of `LAYOUTS`.
    """

    model: str
    dim: int
    length: int
    d_model: int = 0
    n_layers: int = 0
    d_state: int = 128
    d_conv: int = 4
    expand: int = 2
    headdim: int = 64
    dropout: float = 0.1
    block: str = "mamba2"
    form: str = "auto"
    residual: str | None = None
    layout: str = "windows"

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            DataError: a field names nothing known, is of another type, or is out of its range.
        """
        one_of("model", self.model, MODELS)
        architecture = MODELS[self.model]
        if self.n_layers == 0 and not isinstance(self.n_layers, bool):
            object.__setattr__(self, "n_layers", architecture.layers)
        for name in ("dim", "length", "n_layers", "d_state", "d_conv", "expand", "headdim", "d_model"):
            value = getattr(self, name)
            if name == "d_model" and value == 0 and not isinstance(value, bool):
                value = -(-self.dim // self.headdim) * self.headdim
                object.__setattr__(self, name, value)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise DataError(f"model config: {name}: expected a whole number above 0, got {value!r}")
        number = isinstance(self.dropout, (int, float)) and not isinstance(self.dropout, bool)
        if not number or not 0 <= self.dropout < 1:
            raise DataError(f"model config: dropout: expected a number in [0, 1), got {self.dropout!r}")
        one_of("block", self.block, BLOCKS)
        one_of("form", self.form, FORMS)
        one_of("layout", self.layout, LAYOUTS)
        if self.layout == "documents" and not architecture.documents:
            able = " or ".join(name for name, model in MODELS.items() if model.documents)
            raise DataError(
                f"model config: layout: expected {able} for documents: {self.model} cannot predict at every "
                "place of one in one pass"
            )
        if self.residual is not None:
            one_of("residual", self.residual, (*RESIDUALS, ON_LINEAR))
            if architecture.whole:
                raise DataError(
                    f"model config: residual: {self.model} corrects no baseline, got {self.residual!r}"
                )
        inner = self.expand * self.d_model
        if architecture.forms and self.block == "mamba2" and inner % self.headdim:
            raise DataError(
                f"model config: headdim: expected a divisor of expand * d_model = {inner}, got {self.headdim}"
            )
        if not architecture.forms and self.form != "auto":
            raise DataError(f"model config: form: {self.model} has one form only, got {self.form!r}")

    @property
    def neighbours(self) -> tuple[int, ...]:
        """The densities that the model takes off: by how many nearest others of a candidate."""
        return MODELS["linear" if self.residual == ON_LINEAR else self.model].neighbours

    def to_dict(self) -> dict[str, Any]:
        """Every field by its name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The config that `to_dict` gave.

        Raises:
            DataError: a key is unknown or missing, or as the class does.
        """
        known = {field.name for field in fields(cls)}
        for key in values:
            if key not in known:
                raise DataError(
                    f"model config: {key}: unknown key, expected some of {', '.join(sorted(known))}"
                )
        for key in ("model", "dim", "length"):
            if key not in values:
                raise DataError(f"model config: {key} is missing")
        return cls(**values)


def one_of(name: str, value: object, known: Collection[str]) -> None:
    """Raises a DataError where `value` is not among `known`."""
    if value not in known:
        raise DataError(f"model config: {name}: expected {' or '.join(known)}, got {value!r}")
