"""Recipes: pure functions that say how to fit, and why. They compute nothing and import no MXNet.

The user's settings replace single numbers of the recipe that runs, not the recipe.
"""

import dataclasses

from finetune_trainer.contract import ExitCode, Optimizer, TrainerError, Training
from finetune_trainer.recipes import checks, features, full, progressive, sagemaker, tutorial
from finetune_trainer.recipes.recipe import TAKEN_BY, Recipe
from finetune_trainer.recipes.schedule import RateSchedule


def choose(training: Training, *, gpus: int, pods: int = 1) -> Recipe:
    """Return the recipe that `training` asks for, with the user's numbers. Raises InvalidSpec for
    settings that contradict it or each other.
    """
    training = sagemaker.merged(training, gpus=gpus)
    match training.recipe:
        case "tutorial":
            recipe = tutorial.recipe(reason="asked for")
        case "features":
            recipe = features.recipe(reason="asked for")
        case "progressive":
            recipe = progressive.recipe(reason="asked for", gpus=gpus)
        case "full":
            recipe = full.recipe(reason="asked for", gpus=gpus)
        case "auto":
            recipe = features.recipe(reason=_why_features(gpus))
    checks.check(training, recipe)
    recipe = _with_settings(recipe, training)
    return recipe if pods == 1 else _shared(recipe)


def _shared(recipe: Recipe) -> Recipe:
    """Return a recipe as the pods of a gang fit it: each would have to find the same bits of what
    it starts from. Raises InvalidSpec for one that is nothing without that.
    """
    if recipe.name == "progressive":
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.recipe progressive trains on one pod, but trainer.numNodes is more",
            "set training.recipe to full, or trainer.numNodes to 1",
        )
    if recipe.early_stopping:
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.earlyStopping is set, which is not for trainer.numNodes > 1",
            "leave it out",
        )
    if recipe.retries and recipe.trains_trunk:
        # The other pods would go on where the leader goes back.
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.onDivergence is Retry, which is not for trainer.numNodes > 1",
            "leave it out",
        )
    return dataclasses.replace(recipe, start=None)


def _why_features(gpus: int) -> str:
    hardware = f"with {gpus} GPUs" if gpus else "on CPUs"
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
        start=_started(recipe.start, training),
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


def _started(recipe: Recipe | None, training: Training) -> Recipe | None:
    if recipe is None:
        return None
    return dataclasses.replace(
        recipe,
        seed=training.seed,
        precision="float32" if recipe.trains == "head" else training.precision,
        balanced=training.class_weights == "balanced",
        retries=training.on_divergence == "Retry",
        start=_started(recipe.start, training),
    )


def _decimal(text: str | None, default: float) -> float:
    return default if text is None else float(text)


def _schedule(training: Training, recipes: RateSchedule) -> RateSchedule:
    given = training.schedule
    name = given.name or recipes.name
    warmup = _decimal(given.warmup_epochs, 0.0 if name == "onecycle" else recipes.warmup_epochs)
    return RateSchedule(
        name,
        warmup_epochs=warmup,
        step_epochs=given.step_epochs or recipes.step_epochs,
        factor=_decimal(given.factor, recipes.factor),
    )


def _optimizer_params(optimizer: Optimizer, recipe: Recipe) -> dict[str, float]:
    """Return MXNet's parameters: the recipe's, unless the user names another optimizer, with the
    user's on top.
    """
    name = optimizer.name or recipe.optimizer
    params = dict(recipe.optimizer_params) if name == recipe.optimizer else {}
    given = {
        "learning_rate": optimizer.learning_rate,
        "wd": optimizer.weight_decay,
        **{parameter: getattr(optimizer, parameter) for parameter in TAKEN_BY},
    }
    return params | {name: float(value) for name, value in given.items() if value is not None}
