"""Every figure of a run, in one place: what it means, its default, and the domain it is held to.

The command's options, the keys of a configuration file and the arguments of `lvmfast.train` are the fields of
`TrainConfig` and nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

from lvmfast.errors import DataError
from lvmfast.models.config import BLOCKS, FORMS, RESIDUALS
from lvmfast.models.registry import MODELS

Figure = bool | int | float | str | tuple[str, ...]
Check = tuple[Callable[[Any], bool], object]  #: whether a value will do, and what is expected: its str

#: What an epoch may be better by.
HIGHER_IS_BETTER = {"val_loss": False, "val_mrr": True, "val_r5": True, "val_cosine": True}

AT_LEAST_0: Check = (lambda v: v >= 0, "at least 0")
AT_LEAST_1: Check = (lambda v: v >= 1, "at least 1")
ABOVE_0: Check = (lambda v: v > 0, "above 0")
FRACTION: Check = (lambda v: 0 <= v < 1, "from 0 to below 1")
COSINE: Check = (lambda v: -1 <= v <= 1, "a cosine in [-1, 1]")
DEVICE: Check = (
    lambda v: re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", v) is not None,
    "auto, cpu, cuda or cuda:N",
)


@dataclass(frozen=True)
class Words:
    """Some words, as many as there are when a value is held to them."""

    known: Collection[str]

    def __str__(self) -> str:
        """What is expected."""
        return "one of " + ", ".join(self.known)


def one_of(known: Collection[str]) -> Check:
    """Holds a figure to some words."""
    return known.__contains__, Words(known)


def listed(words: Iterable[str]) -> str:
    """Them in a sentence: a, b or c."""
    *most, last = words
    return f"{', '.join(most)} or {last}"


def figure(default: Any, group: str, meaning: str, check: Check | None = None) -> Any:
    """A field of `TrainConfig`."""
    return field(default=default, metadata={"group": group, "meaning": meaning, "check": check})


@dataclass(frozen=True)
class TrainConfig:
    """What a run is asked to do; `presets.py` has the sets of figures that have a name.

    Raises:
        DataError: on construction, when a figure is outside its domain.
    """

    preset: str = figure("bank", "recipe", "The recipe whose figures hold where no other is given.")

    train: tuple[str, ...] = figure((), "data", "Training file, folder or quoted glob. Repeat for many.")
    val: tuple[str, ...] = figure(
        (), "data", "Validation file. Without it, documents of --train are held out."
    )
    val_docs: float = figure(
        0.1, "data", "Documents held out for validation: below 1 a share of them, else how many.", ABOVE_0
    )
    payload: str = figure("", "data", "Texts by (doc_id, chunk_id), so that shared texts are found, too.")
    ignore: tuple[str, ...] = figure(
        (), "data", "Pass over files and folders of such names. Repeat for many."
    )
    columns: tuple[str, ...] = figure((), "data", "NAME=FIELD: read column NAME (doc_id, ...) from FIELD.")
    threshold: float = figure(0.995, "data", "Cosine from which two vectors are the same leak.", COSINE)
    allow_leaked: bool = figure(
        False, "data", "Train in spite of a leak, and stamp all that is written LEAKED."
    )

    model: str = figure("mamba_s", "model", f"{listed(MODELS)}.", one_of(MODELS))
    d_model: int = figure(768, "model", "Width of the model.", AT_LEAST_1)
    n_layers: int = figure(
        0,
        "model",
        f"Layers; 0: as many as suit the model (mamba_s: {MODELS['mamba_s'].layers}).",
        AT_LEAST_0,
    )
    d_state: int = figure(128, "model", "State of a Mamba block.", AT_LEAST_1)
    d_conv: int = figure(4, "model", "Width of its convolution.", AT_LEAST_1)
    expand: int = figure(2, "model", "Its inner width over d_model.", AT_LEAST_1)
    headdim: int = figure(64, "model", "Width of a Mamba2 head.", AT_LEAST_1)
    dropout: float = figure(0.1, "model", "Dropout.", FRACTION)
    block: str = figure("mamba2", "model", "mamba2 or mamba.", one_of(BLOCKS))
    form: str = figure(
        "auto",
        "model",
        "auto, kernels (the package mamba-ssm) or reference.",
        one_of(FORMS),
    )
    residual: str = figure(
        "none",
        "model",
        "Start from a baseline and learn what is missing: last, mean or lag-mix.",
        one_of(("none", *RESIDUALS)),
    )

    infonce: float = figure(1.0, "objective", "Weight of InfoNCE.", AT_LEAST_0)
    cosine: float = figure(0.0, "objective", "Weight of 1 - cosine.", AT_LEAST_0)
    tau: float = figure(0.07, "objective", "Temperature of InfoNCE.", ABOVE_0)
    head: bool = figure(False, "objective", "InfoNCE in the space of a projection head.")
    head_hidden: int = figure(512, "objective", "Width inside the head.", AT_LEAST_1)
    head_dim: int = figure(256, "objective", "Width of the head's space.", AT_LEAST_1)
    bank: int = figure(
        0,
        "objective",
        "Frozen targets that every sequence is scored against, drawn anew each epoch.",
        AT_LEAST_0,
    )
    mask_context: bool = figure(False, "objective", "A sequence's own context is no negative of it.")
    mask_same_document: bool = figure(
        False, "objective", "Targets of its own document are no negatives of it."
    )
    mask_near: float = figure(
        0.0, "objective", "Targets at this cosine to its own or above are no negatives; 0: all are.", COSINE
    )

    article_dropout: float = figure(
        0.0, "corruption", "Share of sequences whose window loses its last vectors.", FRACTION
    )
    article_dropout_positions: int = figure(3, "corruption", "At most so many of them.", AT_LEAST_1)
    span_corruption: float = figure(
        0.0, "corruption", "Share of sequences that lose a span of up to half their window.", FRACTION
    )

    batch: int = figure(256, "batches", "Sequences that go through the model at once.", AT_LEAST_1)
    accumulate: int = figure(
        1,
        "batches",
        "Batches per step, on all GPUs together; negatives are those of all of them.",
        AT_LEAST_1,
    )
    max_per_document: int = figure(
        0, "batches", "Sequences of one document per step at most; 0: as many as chance has it.", AT_LEAST_0
    )

    lr: float = figure(1e-3, "optimiser", "Peak learning rate of AdamW.", ABOVE_0)
    weight_decay: float = figure(0.02, "optimiser", "Its weight decay, on matrices.", AT_LEAST_0)
    beta1: float = figure(0.9, "optimiser", "Its first decay.", FRACTION)
    beta2: float = figure(0.999, "optimiser", "Its second decay.", FRACTION)
    warmup: float = figure(
        1000.0, "optimiser", "Steps up to the peak; below 1, a share of all steps.", AT_LEAST_0
    )
    final_lr: float = figure(0.01, "optimiser", "Where the cosine ends, over the peak.", FRACTION)
    clip: float = figure(1.0, "optimiser", "Largest norm of the gradient; 0: any.", AT_LEAST_0)
    epochs: int = figure(20, "optimiser", "Epochs at most.", AT_LEAST_1)
    patience: int = figure(
        3, "optimiser", "Epochs without a better one before the end; 0: never.", AT_LEAST_0
    )
    best_by: str = figure(
        "val_loss",
        "optimiser",
        "What makes an epoch better.",
        one_of(HIGHER_IS_BETTER),
    )

    gate_epoch: int = figure(0, "gates", "Judge the run by its gates after this epoch; 0: never.", AT_LEAST_0)
    gates: str = figure("", "gates", "The gates, TOML or JSON; else those of `lvmfast gate`.")
    on_fail: str = figure("warn", "gates", "stop, triage or warn.", one_of(("stop", "triage", "warn")))

    seed: int = figure(0, "run", "Another seed, other weights, batches and corruption.", AT_LEAST_0)
    device: str = figure("auto", "run", "cpu, cuda, cuda:N; auto: a GPU where there is one.", DEVICE)
    precision: str = figure(
        "auto", "run", "float32 or bf16; auto: bf16 on a GPU.", one_of(("auto", "float32", "bf16"))
    )
    compile: str = figure(
        "auto", "run", "torch.compile: on, off; auto: on a GPU.", one_of(("auto", "on", "off"))
    )
    threads: int = figure(
        0,
        "run",
        "Threads of scans and of torch; 0: one per core, for torch as many as a step is worth.",
        AT_LEAST_0,
    )
    save_every: float = figure(300.0, "run", "Seconds between saved states inside an epoch.", ABOVE_0)

    def __post_init__(self) -> None:
        """Holds every figure to its type and its domain."""
        for spec in fields(self):
            value = getattr(self, spec.name)
            check: Check | None = spec.metadata["check"]
            if isinstance(value, float) and not math.isfinite(value):
                raise DataError(f"{spec.name}: expected a finite number, got {value}")
            if check is not None and not check[0](value):
                raise DataError(f"{spec.name}: expected {check[1]}, got {value!r}")
        if self.infonce == 0 and self.cosine == 0:
            raise DataError("infonce, cosine: expected a weight above 0, both are 0")
        if self.head and self.infonce == 0:
            raise DataError("head: a projection head is there for InfoNCE, whose weight is 0")
        if self.bank and self.infonce == 0:
            raise DataError("bank: a bank is there for InfoNCE, whose weight is 0")
        if self.val_docs >= 1 and self.val_docs != int(self.val_docs):
            raise DataError(f"val_docs: expected a share below 1 or a whole number, got {self.val_docs}")
        if self.warmup >= 1 and self.warmup != int(self.warmup):
            raise DataError(f"warmup: expected a share below 1 or a whole number, got {self.warmup}")

    @property
    def step_rows(self) -> int:
        """Sequences per step of the optimiser."""
        return self.batch * self.accumulate


TYPES: Mapping[str, Any] = get_type_hints(TrainConfig)
GROUPS: Mapping[str, str] = {spec.name: spec.metadata["group"] for spec in fields(TrainConfig)}

#: Figures that do not change what comes out, so that a run may go on with others.
FREE = ("save_every", "threads", "device")


def typed(where: str, name: str, value: Any) -> Figure:
    """`value` as the figure `name` has it: a whole number may stand for a float, a word for a list of one.

    Raises:
        DataError: there is no such figure, or the value is of another type.
    """
    if name not in TYPES:
        close = [known for known in TYPES if known.replace("_", "") == name.replace("_", "").replace("-", "")]
        hint = f"; {close[0]}?" if close else ""
        raise DataError(f"{where}: {name}: no such figure{hint}")
    wanted = TYPES[name]
    if wanted is bool and isinstance(value, bool):
        return value
    if wanted is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if wanted is str and isinstance(value, str):
        return value
    if wanted == tuple[str, ...]:
        words = (value,) if isinstance(value, str) else value
        if isinstance(words, (list, tuple)) and all(isinstance(word, str) for word in words):
            return tuple(words)
    named = "a list of strings" if wanted == tuple[str, ...] else wanted.__name__
    raise DataError(f"{where}: {name}: expected {named}, got {value!r}")
