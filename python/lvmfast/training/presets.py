"""Sets of figures that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvmfast.errors import DataError
from lvmfast.training.config import Figure, TrainConfig, typed

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
}


def settle(where: str, *given: Mapping[str, Any]) -> TrainConfig:
    """The figures of a run: a preset's, then each of `given` over the ones before.

    Raises:
        DataError: an unknown figure or preset, or a value outside its domain; led by `where`.
    """
    stated: dict[str, Figure] = {}
    for figures in given:
        stated |= {name: typed(where, name, value) for name, value in figures.items()}
    preset = stated.get("preset", "bank")
    if preset not in PRESETS:
        raise DataError(f"{where}: preset: expected one of {', '.join(PRESETS)}, got {preset!r}")
    whole: dict[str, Any] = {**PRESETS[str(preset)], **stated}
    return TrainConfig(**whole)
