"""Recipes: pure functions that say how to fit, and why. They compute nothing and import no MXNet.

The user's settings replace single numbers of the recipe that runs, not the recipe.
"""

import dataclasses
from typing import Literal

from finetune_trainer.contract import ExitCode, Optimizer, TrainerError, Training

WITH_MOMENTUM = ("sgd", "nag")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All numbers of one fit."""

    name: str
    reason: str
    """Why this one runs, for people."""
    epochs: int
    batch_size: int
    """Images of a step on one device."""
    optimizer: str
    optimizer_params: dict[str, float]
    seed: int
    trains_trunk: bool
    """Whether the whole network is fitted, or only the head on cached features."""
    new_layer: Literal["xavier", "zero"] = "xavier"
    """What the new layer starts from."""
    views: int = 0
    """Pictures made of each training image for the cached features: the centre, then random
    crops, mirrored or not."""
    checkpoint_epochs: int = 1
    """Epochs from one checkpoint, and its lines in the log, to the next."""


def choose(training: Training, *, devices: int) -> Recipe:
    """Return the recipe that `training` asks for, with the user's numbers."""
    from finetune_trainer.recipes import features, tutorial

    match training.recipe:
        case "tutorial":
            recipe = tutorial.recipe(reason="asked for")
        case "features":
            recipe = features.recipe(reason="asked for")
        case "auto":
            recipe = features.recipe(reason=_why_features(devices))
    return _with_settings(recipe, training)


def _why_features(devices: int) -> str:
    hardware = f"with {devices} GPUs" if devices else "on CPUs"
    return (
        f"auto: {hardware}, one pass of the pretrained trunk and a well-trained last layer "
        "give more accuracy for the time than epochs of the whole network"
    )


def _with_settings(recipe: Recipe, training: Training) -> Recipe:
    optimizer = training.optimizer
    return dataclasses.replace(
        recipe,
        epochs=training.epochs or recipe.epochs,
        batch_size=training.batch_size_per_device or recipe.batch_size,
        seed=training.seed,
        optimizer=optimizer.name or recipe.optimizer,
        optimizer_params=_optimizer_params(optimizer, recipe),
    )


def _optimizer_params(optimizer: Optimizer, recipe: Recipe) -> dict[str, float]:
    """Return MXNet's parameters: the recipe's, unless the user names another optimizer, with the
    user's on top.
    """
    name = optimizer.name or recipe.optimizer
    if optimizer.momentum is not None and name not in WITH_MOMENTUM:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"training.optimizer.momentum is set, but {name} has none",
            f"leave it out, or set training.optimizer.name to {' or '.join(WITH_MOMENTUM)}",
        )
    params = dict(recipe.optimizer_params) if name == recipe.optimizer else {}
    given = {
        "learning_rate": optimizer.learning_rate,
        "momentum": optimizer.momentum,
        "wd": optimizer.weight_decay,
    }
    return params | {name: float(value) for name, value in given.items() if value is not None}
