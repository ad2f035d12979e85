"""Recipes: the numbers of a fit, and the reason for them. Pure functions; none imports MXNet.

sagemaker    SageMaker's hyperparameters become fields of `training`
tutorial     the numbers of MXNet's fine-tuning tutorial
features     the new layer alone, on features of the trunk that are computed once
full         all layers, starting from the new layer of `features`
progressive  the new layer, then the last blocks, then all layers
auto         the recipe for the hardware, and the recipes that its trials compare
checks       refuses settings that contradict each other or the recipe
settings     the user's settings, which replace single numbers of the recipe
recipe       Recipe: all numbers of one fit
schedule     the learning rate as a function of the epoch

To add a recipe: one file here, one line in RECIPES, and its name in contract/training.py
(RecipeName; and IMAGE_RECIPES if it trains on images); `make render`, a row in docs/training.md.
"""

import dataclasses
from collections.abc import Callable

from finetune_trainer.contract import ExitCode, RecipeName, TrainerError, Training
from finetune_trainer.recipes import auto, checks, features, full, progressive, sagemaker, tutorial
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.recipes.settings import with_settings

RECIPES: dict[RecipeName, Callable[[int], Recipe]] = {
    "auto": auto.recipe,
    "tutorial": tutorial.recipe,
    "features": features.recipe,
    "progressive": progressive.recipe,
    "full": full.recipe,
}
"""Each recipe as a function of the number of GPUs."""


def choose(training: Training, *, gpus: int, pods: int = 1) -> Recipe:
    """Return the recipe that `training` names, with the user's numbers. Raises InvalidSpec for
    settings that contradict the recipe or each other.
    """
    training = sagemaker.merged(training, gpus=gpus)
    recipe = RECIPES[training.recipe](gpus)
    checks.check(training, recipe)
    recipe = with_settings(recipe, training)
    return recipe if pods == 1 else _for_gang(recipe)


def _for_gang(recipe: Recipe) -> Recipe:
    """Return the recipe for the pods of a gang, without its start: each pod would have to compute
    the same bits of it. Raises InvalidSpec for recipes that need their start.
    """
    if recipe.name == "progressive":
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.recipe progressive trains on one pod, but trainer.numNodes is more than 1",
            "set training.recipe to full, or trainer.numNodes to 1",
        )
    if recipe.early_stopping:
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.earlyStopping is set, but trainer.numNodes is more than 1",
            "leave it out, or set trainer.numNodes to 1",
        )
    if recipe.retries and recipe.trains_trunk:
        # The leader would go back to a checkpoint, and the other pods would not.
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.onDivergence is Retry, but trainer.numNodes is more than 1",
            "leave it out, or set trainer.numNodes to 1",
        )
    return dataclasses.replace(recipe, start=None)
