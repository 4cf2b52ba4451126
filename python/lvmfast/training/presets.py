"""Sets of figures that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvmfast.errors import DataError
from lvmfast.models.registry import MODELS
from lvmfast.training.config import GROUPS, Figure, TrainConfig, typed

#: What the public run's recipe has beside its objective.
_CUSTOMARY: Mapping[str, Figure] = {
    "article_dropout": 0.2,
    "article_dropout_positions": 3,
    "span_corruption": 0.1,
    "batch": 256,
    "accumulate": 4,
    "lr": 1e-3,
    "weight_decay": 0.02,
    "warmup": 1000.0,
    "final_lr": 0.01,
    "clip": 1.0,
    "epochs": 20,
    "patience": 3,
}

PRESETS: Mapping[str, Mapping[str, Figure]] = {
    # the customary recipe: InfoNCE behind a projection head, and cosine
    "seed": {**_CUSTOMARY, "infonce": 0.7, "cosine": 0.3, "tau": 0.07, "head": True},
    # cosine alone, as an autoregressive model of embeddings is customarily trained
    "ar": {**_CUSTOMARY, "infonce": 0.0, "cosine": 1.0},
    # InfoNCE in the output space against frozen targets
    "bank": {
        **_CUSTOMARY,
        "infonce": 1.0,
        "cosine": 0.0,
        "tau": 0.07,
        "bank": 65_536,
        "mask_context": True,
        "mask_near": 0.995,
        "max_per_document": 2,
        "article_dropout": 0.0,
        "span_corruption": 0.0,
        "warmup": 0.05,
        "best_by": "val_mrr",
    },
    # cross entropy over lists of candidates, for the model that is a few weights of their figures
    "linear": {
        "model": "linear",
        "infonce": 1.0,
        "cosine": 0.0,
        "batch": 128,
        "accumulate": 1,
        "lr": 2e-2,
        "weight_decay": 0.0,
        "warmup": 0.05,
        "final_lr": 0.01,
        "clip": 1.0,
        "epochs": 12,
        "patience": 0,
        "best_by": "val_loss",
    },
}

#: What says nothing to a model that has a preset of its own: networks, their objectives, what they are fed.
_OF_NETWORKS = ("model", "objective", "corruption")


def settle(where: str, *given: Mapping[str, Any]) -> TrainConfig:
    """The figures of a run: a preset's, then each of `given` over the ones before.

    Raises:
        DataError: an unknown figure or preset, or a value outside its domain; led by `where`.
    """
    stated: dict[str, Figure] = {}
    for figures in given:
        stated |= {name: typed(where, name, value) for name, value in figures.items()}
    preset = stated.get("preset", _preset_of(stated.get("model")) or "bank")
    if preset not in PRESETS:
        raise DataError(f"{where}: preset: expected one of {', '.join(PRESETS)}, got {preset!r}")
    whole: dict[str, Any] = {"preset": preset, **PRESETS[str(preset)], **stated}
    config = TrainConfig(**whole)
    _check_preset(where, config)
    return config


def _preset_of(model: object) -> str | None:
    """The preset that trains a model and nothing else."""
    return MODELS[model].preset if isinstance(model, str) and model in MODELS else None


def _check_preset(where: str, config: TrainConfig) -> None:
    """Holds a model that has a preset of its own to that preset, and the preset to that model."""
    own = _preset_of(config.model)
    if own is None:
        of = next((name for name, model in MODELS.items() if model.preset == config.preset), None)
        if of is not None:
            raise DataError(f"{where}: preset: {config.preset} is for model {of} alone, got {config.model}")
        return
    if config.preset != own:
        raise DataError(f"{where}: preset: model {config.model} is trained by preset {own} alone")
    figures: dict[str, Any] = {"preset": own, **PRESETS[own]}
    plain = TrainConfig(**figures)
    for name, group in GROUPS.items():
        fixed = group in _OF_NETWORKS or name == "max_per_document"
        if fixed and getattr(config, name) != getattr(plain, name):
            raise DataError(f"{where}: {name}: model {config.model} has no use for it: leave it out")
