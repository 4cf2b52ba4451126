"""Recipes: sets of figures that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvmfast.errors import DataError
from lvmfast.models.config import ON_LINEAR
from lvmfast.models.registry import MODELS
from lvmfast.training.config import FORMER_NAMES, GROUPS, Figure, TrainConfig, typed

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

#: What is trained on lists of candidates.
_LISTS: Mapping[str, Figure] = {
    "infonce": 1.0,
    "cosine": 0.0,
    "batch": 128,
    "accumulate": 1,
    "warmup": 0.05,
    "final_lr": 0.01,
    "clip": 1.0,
}

RECIPES: Mapping[str, Mapping[str, Figure]] = {
    # the public run's: InfoNCE behind a projection head, and cosine
    "seed": {**_CUSTOMARY, "d_model": 768, "infonce": 0.7, "cosine": 0.3, "tau": 0.07, "head": True},
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
        **_LISTS,
        "model": "linear",
        "lr": 2e-2,
        "weight_decay": 0.0,
        "epochs": 12,
        "patience": 0,
        "best_by": "val_loss",
    },
    # the same for a network that stands on that model
    "residual": {
        **_LISTS,
        "residual": ON_LINEAR,
        "lr": 1e-3,
        "weight_decay": 0.02,
        "epochs": 20,
        "patience": 3,
        "best_by": "val_mrr",
    },
}

#: Over every recipe, with the layout that it is for.
LAYOUT_FIGURES: Mapping[str, Mapping[str, Figure]] = {
    "documents": {"article_dropout": 0.0, "span_corruption": 0.0, "max_per_document": 0, "context": 100},
}

#: The recipes that train on lists of candidates, and on nothing else.
ON_LISTS = ("linear", "residual")
#: What says nothing to what is trained on lists: objectives of vectors, what their windows and steps are.
_OF_VECTORS = ("objective", "corruption")


def settle(where: str, *given: Mapping[str, Any]) -> TrainConfig:
    """The figures of a run: a recipe's, then each of `given` over the ones before.

    Raises:
        DataError: an unknown figure or recipe, or a value outside its domain; led by `where`.
    """
    stated: dict[str, Figure] = {}
    for figures in given:
        for given_name, value in figures.items():
            name = FORMER_NAMES.get(given_name, given_name)
            stated[name] = typed(where, name, value)
    layout = str(stated.get("layout"))
    usual = "bank" if layout == "documents" else TrainConfig.recipe
    recipe = stated.get("recipe", _recipe_of(stated.get("model")) or usual)
    if recipe not in RECIPES:
        raise DataError(f"{where}: recipe: expected one of {', '.join(RECIPES)}, got {recipe!r}")
    of_layout = LAYOUT_FIGURES.get(layout, {})
    whole: dict[str, Any] = {"recipe": recipe, **RECIPES[str(recipe)], **of_layout, **stated}
    config = TrainConfig(**whole)
    _check_recipe(where, config)
    return config


def _recipe_of(model: object) -> str | None:
    """The recipe that trains a model and nothing else."""
    return MODELS[model].recipe if isinstance(model, str) and model in MODELS else None


def _check_recipe(where: str, config: TrainConfig) -> None:
    """Holds what is trained on lists to its recipe, and the recipe to it."""
    own, what = _recipe_of(config.model), f"model {config.model}"
    if own is None and config.residual == ON_LINEAR:
        own, what = "residual", f"residual {ON_LINEAR}"
    if own is None:
        of = {"residual": f"residual {ON_LINEAR}"}
        of |= {model.recipe: f"model {name}" for name, model in MODELS.items() if model.recipe}
        if config.recipe in of:
            given = config.residual if config.recipe == "residual" else config.model
            raise DataError(f"{where}: recipe: {config.recipe} is for {of[config.recipe]} alone, got {given}")
        return
    if config.recipe != own:
        raise DataError(f"{where}: recipe: {what} is trained by recipe {own} alone")
    figures: dict[str, Any] = {"recipe": own, **RECIPES[own]}
    plain = TrainConfig(**figures)
    groups = _OF_VECTORS if own == "residual" else (*_OF_VECTORS, "model")
    for name, group in GROUPS.items():
        fixed = group in groups or name == "max_per_document"
        if fixed and getattr(config, name) != getattr(plain, name):
            raise DataError(f"{where}: {name}: not used with {what}; leave it out")
