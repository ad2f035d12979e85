"""The user's settings: each replaces one number of the recipe that runs, and nothing else."""

import dataclasses

from finetune_trainer.contract import Optimizer, Training
from finetune_trainer.recipes.recipe import OPTIMIZERS_WITH, Recipe
from finetune_trainer.recipes.schedule import RateSchedule


def with_settings(recipe: Recipe, training: Training) -> Recipe:
    """Return the recipe with the numbers that the user has set."""
    optimizer = training.optimizer
    return dataclasses.replace(
        recipe,
        epochs=training.epochs or recipe.epochs,
        batch_size=training.batch_size_per_device or recipe.batch_size,
        seed=training.seed,
        start=_start(recipe.start, training),
        optimizer=optimizer.name or recipe.optimizer,
        optimizer_params=_optimizer_params(optimizer, recipe),
        schedule=_schedule(training, recipe.schedule),
        augmentation=training.augmentation or recipe.augmentation,
        precision=training.precision,
        smoothing=_decimal(training.label_smoothing, recipe.smoothing),
        mixup=_decimal(training.mixup, recipe.mixup),
        cutmix=_decimal(training.cutmix, recipe.cutmix),
        balanced=training.class_weights == "balanced" or recipe.balanced,
        balanced_sampling=training.sampling == "balanced",
        clipping=_decimal(training.gradient_clipping, recipe.clipping),
        accumulation=training.gradient_accumulation,
        averaging=training.weight_averaging,
        retries=training.on_divergence == "Retry",
        early_stopping=training.early_stopping,
    )


def _start(recipe: Recipe | None, training: Training) -> Recipe | None:
    """Return the recipe that another one starts from, with the settings that are for both."""
    if recipe is None:
        return None
    return dataclasses.replace(
        recipe,
        seed=training.seed,
        precision="float32" if recipe.trains == "head" else training.precision,
        balanced=training.class_weights == "balanced",
        retries=training.on_divergence == "Retry",
        start=_start(recipe.start, training),
    )


def _decimal(text: str | None, default: float) -> float:
    return default if text is None else float(text)


def _schedule(training: Training, default: RateSchedule) -> RateSchedule:
    given = training.schedule
    name = given.name or default.name
    warmup = _decimal(given.warmup_epochs, 0.0 if name == "onecycle" else default.warmup_epochs)
    return RateSchedule(
        name,
        warmup_epochs=warmup,
        step_epochs=given.step_epochs or default.step_epochs,
        factor=_decimal(given.factor, default.factor),
    )


def _optimizer_params(optimizer: Optimizer, recipe: Recipe) -> dict[str, float]:
    """Return the optimizer's parameters by MXNet's names: the user's, and the recipe's for those
    that are not set, unless the user names another optimizer.
    """
    name = optimizer.name or recipe.optimizer
    params = dict(recipe.optimizer_params) if name == recipe.optimizer else {}
    given = {
        "learning_rate": optimizer.learning_rate,
        "wd": optimizer.weight_decay,
        **{parameter: getattr(optimizer, parameter) for parameter in OPTIMIZERS_WITH},
    }
    return params | {name: float(value) for name, value in given.items() if value is not None}
