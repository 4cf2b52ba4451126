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
from lvmfast.models.config import BLOCKS, FORMS, LAYOUTS, ON_LINEAR, RESIDUALS
from lvmfast.models.registry import MODELS
from lvmfast.training.loggers import LOGGERS

Figure = bool | int | float | str | tuple[str, ...]
#: What figures were called before, in the configuration files of older runs.
FORMER_NAMES = {"preset": "recipe"}
#: What figures were by default then, in the files of models that have no such figure.
FORMER_DEFAULTS = {"d_model": 768}
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


def shown(value: Any) -> str:
    """A value in a message: several words as they are given, one by one."""
    return ", ".join(map(repr, value)) if isinstance(value, tuple) else repr(value)


def figure(default: Any, group: str, meaning: str, check: Check | None = None) -> Any:
    """A field of `TrainConfig`."""
    return field(default=default, metadata={"group": group, "meaning": meaning, "check": check})


@dataclass(frozen=True)
class TrainConfig:
    """What a run is asked to do; `recipes.py` has the sets of figures that have a name.

    Raises:
        DataError: on construction, when a figure is outside its domain.
    """

    recipe: str = figure(
        "residual", "recipe", "Figures that go together, by name: residual, bank, seed, ar or linear."
    )

    train: tuple[str, ...] = figure((), "data", "Training file, folder or quoted glob. Repeat for many.")
    layout: str = figure(
        "windows",
        "data",
        "windows: each with the chunk that follows; or documents: whole ones, every next chunk predicted.",
        one_of(LAYOUTS),
    )
    context: int = figure(
        0, "data", "Chunks of a document that a prediction sees at most (documents: 100).", AT_LEAST_0
    )
    val: tuple[str, ...] = figure(
        (), "data", "Validation file. Without it, some documents of --train are held out."
    )
    val_docs: float = figure(
        0.1,
        "data",
        "Documents held out for validation: a share of them if below 1, otherwise a number.",
        ABOVE_0,
    )
    payload: str = figure("", "data", "Texts by (doc_id, chunk_id), so that shared texts are found as well.")
    ignore: tuple[str, ...] = figure((), "data", "Skip files and folders with such names. Repeat for many.")
    columns: tuple[str, ...] = figure((), "data", "Read column NAME (doc_id, ...) from FIELD.")
    threshold: float = figure(0.995, "data", "Two vectors match from this cosine on.", COSINE)
    allow_leaked: bool = figure(False, "data", "Train in spite of a leak, and stamp every file LEAKED.")

    model: str = figure("mamba_s", "model", f"What is trained: {listed(MODELS)}.", one_of(MODELS))
    d_model: int = figure(
        0,
        "model",
        "Width of the model; 0: that of the vectors, rounded up to a multiple of --headdim.",
        AT_LEAST_0,
    )
    n_layers: int = figure(
        0,
        "model",
        f"Number of layers; 0: the usual number for the model (mamba_s: {MODELS['mamba_s'].layers}).",
        AT_LEAST_0,
    )
    d_state: int = figure(128, "model", "Size of the state of a Mamba block.", AT_LEAST_1)
    d_conv: int = figure(4, "model", "Width of the convolution of a Mamba block.", AT_LEAST_1)
    expand: int = figure(2, "model", "Inner width of a Mamba block, as a multiple of --d-model.", AT_LEAST_1)
    headdim: int = figure(64, "model", "Width of a head of a Mamba2 block.", AT_LEAST_1)
    dropout: float = figure(0.1, "model", "Share of activations that dropout removes.", FRACTION)
    block: str = figure("mamba2", "model", "Kind of Mamba block: mamba2 or mamba.", one_of(BLOCKS))
    form: str = figure(
        "auto",
        "model",
        "How a Mamba block is computed: kernels (the package mamba-ssm), reference, or auto.",
        one_of(FORMS),
    )
    residual: str = figure(
        "none",
        "model",
        "Start from a baseline and learn what is missing: last, mean, lag-mix or linear, the scorer.",
        one_of(("none", *RESIDUALS, ON_LINEAR)),
    )

    infonce: float = figure(1.0, "objective", "Weight of InfoNCE.", AT_LEAST_0)
    cosine: float = figure(0.0, "objective", "Weight of the term 1 - cosine.", AT_LEAST_0)
    tau: float = figure(0.07, "objective", "Temperature of InfoNCE.", ABOVE_0)
    head: bool = figure(False, "objective", "Compute InfoNCE behind a projection head.")
    head_hidden: int = figure(512, "objective", "Hidden width of the projection head.", AT_LEAST_1)
    head_dim: int = figure(256, "objective", "Output width of the projection head.", AT_LEAST_1)
    bank: int = figure(
        0,
        "objective",
        "Number of frozen targets against which every sequence is scored; drawn anew each epoch.",
        AT_LEAST_0,
    )
    mask_context: bool = figure(False, "objective", "Do not use a sequence's own context as negatives.")
    mask_same_document: bool = figure(
        False, "objective", "Do not use targets of the same document as negatives."
    )
    mask_near: float = figure(
        0.0,
        "objective",
        "Do not use targets as negatives from this cosine to the own target on; 0: use all.",
        COSINE,
    )

    article_dropout: float = figure(
        0.0,
        "corruption",
        "Share of sequences in which the last vectors of the window are set to zero.",
        FRACTION,
    )
    article_dropout_positions: int = figure(
        3, "corruption", "How many vectors --article-dropout sets to zero at most.", AT_LEAST_1
    )
    span_corruption: float = figure(
        0.0,
        "corruption",
        "Share of sequences in which a span of up to half the window is set to zero.",
        FRACTION,
    )

    batch: int = figure(256, "batches", "Sequences that the model processes at once.", AT_LEAST_1)
    accumulate: int = figure(
        1,
        "batches",
        "Batches per step, on all GPUs together; all of them share their negatives.",
        AT_LEAST_1,
    )
    max_per_document: int = figure(
        0, "batches", "Most sequences of one document in a step; 0: no limit.", AT_LEAST_0
    )

    lr: float = figure(1e-3, "optimiser", "Peak learning rate of AdamW.", ABOVE_0)
    weight_decay: float = figure(0.02, "optimiser", "Weight decay of AdamW, applied to matrices.", AT_LEAST_0)
    beta1: float = figure(0.9, "optimiser", "First decay rate (beta 1) of AdamW.", FRACTION)
    beta2: float = figure(0.999, "optimiser", "Second decay rate (beta 2) of AdamW.", FRACTION)
    warmup: float = figure(
        1000.0, "optimiser", "Steps until the peak is reached: a share of all steps if below 1.", AT_LEAST_0
    )
    final_lr: float = figure(0.01, "optimiser", "Final learning rate, as a fraction of the peak.", FRACTION)
    clip: float = figure(
        1.0, "optimiser", "Clip the norm of the gradient at this value; 0: no clipping.", AT_LEAST_0
    )
    epochs: int = figure(20, "optimiser", "Largest number of epochs.", AT_LEAST_1)
    patience: int = figure(
        3, "optimiser", "Stop after this many epochs without a better one; 0: never.", AT_LEAST_0
    )
    best_by: str = figure(
        "val_loss",
        "optimiser",
        "The figure by which epochs are compared.",
        one_of(HIGHER_IS_BETTER),
    )

    gate_epoch: int = figure(0, "gates", "Judge the run by its gates after this epoch; 0: never.", AT_LEAST_0)
    gates: str = figure(
        "", "gates", "The gates: a TOML or JSON file, or the name of a set. Default: those of `lvmfast gate`."
    )
    on_fail: str = figure(
        "warn",
        "gates",
        "When a gate fails: stop the run, print what to try next (triage), or warn.",
        one_of(("stop", "triage", "warn")),
    )

    seed: int = figure(0, "run", "Seed of the weights, the order of batches and the corruption.", AT_LEAST_0)
    device: str = figure("auto", "run", "cpu, cuda or cuda:N; auto: a GPU if there is one.", DEVICE)
    precision: str = figure(
        "auto", "run", "float32 or bf16; auto: bf16 on a GPU.", one_of(("auto", "float32", "bf16"))
    )
    compile: str = figure(
        "auto", "run", "torch.compile: on, off; auto: on a GPU.", one_of(("auto", "on", "off"))
    )
    threads: int = figure(
        0,
        "run",
        "Threads of scans and of torch; 0: one per core, and for torch as many as a step can use.",
        AT_LEAST_0,
    )
    save_every: float = figure(300.0, "run", "Seconds between two saved states within an epoch.", ABOVE_0)
    log: tuple[str, ...] = figure(
        (),
        "run",
        f"Log the run to {listed(LOGGERS)} as well. Repeat for many.",
        (lambda names: set(names) <= set(LOGGERS), Words(LOGGERS)),
    )

    def __post_init__(self) -> None:
        """Holds every figure to its type and its domain."""
        for spec in fields(self):
            value = getattr(self, spec.name)
            check: Check | None = spec.metadata["check"]
            if isinstance(value, float) and not math.isfinite(value):
                raise DataError(f"{spec.name}: expected a finite number, got {value}")
            if check is not None and not check[0](value):
                raise DataError(f"{spec.name}: expected {check[1]}, got {shown(value)}")
        if self.infonce == 0 and self.cosine == 0:
            raise DataError("infonce, cosine: expected a weight above 0, both are 0")
        if self.head and self.infonce == 0:
            raise DataError("head: a projection head needs InfoNCE, whose weight is 0")
        if self.bank and self.infonce == 0:
            raise DataError("bank: a bank needs InfoNCE, whose weight is 0")
        if self.layout == "windows" and self.context:
            raise DataError(
                "context: only for --layout documents; windows have the length that their file gives them"
            )
        if self.layout == "documents":
            self._check_documents()
        if self.val_docs >= 1 and self.val_docs != int(self.val_docs):
            raise DataError(f"val_docs: expected a share below 1 or a whole number, got {self.val_docs}")
        if self.warmup >= 1 and self.warmup != int(self.warmup):
            raise DataError(f"warmup: expected a share below 1 or a whole number, got {self.warmup}")

    def _check_documents(self) -> None:
        able = [name for name, model in MODELS.items() if model.documents]
        if self.model not in able:
            raise DataError(f"model: expected {listed(able)} with --layout documents, got {self.model}")
        if not self.context:
            raise DataError("context: expected at least 1 chunk with --layout documents")
        if self.residual == ON_LINEAR:
            raise DataError(f"residual: {ON_LINEAR} is for windows, not for --layout documents")
        for name in OF_WINDOWS:
            if getattr(self, name):
                raise DataError(f"{name}: it is for windows, and --layout documents has none: leave it out")

    def of_outcome(self) -> dict[str, Figure]:
        """The figures that change what comes out, by name."""
        return {spec.name: getattr(self, spec.name) for spec in fields(self) if spec.name not in FREE}

    @property
    def step_rows(self) -> int:
        """Sequences per step of the optimiser."""
        return self.batch * self.accumulate


TYPES: Mapping[str, Any] = get_type_hints(TrainConfig)
GROUPS: Mapping[str, str] = {spec.name: spec.metadata["group"] for spec in fields(TrainConfig)}

#: Figures that say something of windows alone.
OF_WINDOWS = ("article_dropout", "span_corruption", "max_per_document")

#: Figures that do not change what comes out, so that a run may go on with others.
FREE = ("save_every", "threads", "device", "log")


def typed(where: str, name: str, value: Any) -> Figure:
    """`value` as the figure `name` has it: a whole number may stand for a float, a word for a list of one.

    Raises:
        DataError: there is no such figure, or the value is of another type.
    """
    if name not in TYPES:
        close = [known for known in TYPES if known.replace("_", "") == name.replace("_", "").replace("-", "")]
        hint = f"; {close[0]}?" if close else ""
        raise DataError(f"{where}: {name}: there is no such setting{hint}")
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
