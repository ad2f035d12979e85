"""The recipe `auto`, and the recipes that its trials compare: other weight decays of the new layer,
then deeper recipes, which train more than the new layer.
"""

import dataclasses

import msgspec

from finetune_trainer.contract import Training
from finetune_trainer.recipes import features, full, progressive, sagemaker
from finetune_trainer.recipes.recipe import Recipe

BUDGET_SECONDS, GPU_BUDGET_SECONDS = 30, 1800
"""Default of timeBudgetSeconds: seconds for choosing and fitting on CPUs, and with GPUs."""
DEEPER_SECONDS = 45
"""The smallest budget with which deeper recipes are tried."""
COMMON_SETTINGS = (
    *("seed", "classWeights", "timeBudgetSeconds", "minAccuracy", "onDivergence", "resumeFrom"),
)
"""Settings that all recipes have: deeper ones are tried with them too."""
WEIGHT_DECAYS = (0.1, 0.03, 0.3, 0.01, 0.003)
"""Weight decays to compare, that of `features` first. The more images, the lower the best one."""


def recipe(gpus: int = 0) -> Recipe:
    """Return the recipe that `auto` fits if it has no trials, with the reason."""
    hardware = f"with {gpus} GPUs" if gpus else "on CPUs"
    reason = (
        f"auto: {hardware}, one pass of the pretrained trunk and a well-trained last layer "
        "give more accuracy for the time than epochs of the whole network"
    )
    return features.recipe(gpus, reason=reason)


def budget_seconds(training: Training, *, gpus: int) -> int:
    """Return the seconds for choosing and fitting."""
    default = GPU_BUDGET_SECONDS if gpus else BUDGET_SECONDS
    return training.time_budget_seconds or default


def goes_deeper(training: Training, *, gpus: int) -> bool:
    """Return True if deeper recipes are tried: the budget is large enough, and the user has set no
    numbers, which would be for the new layer alone.
    """
    own = dict.fromkeys(COMMON_SETTINGS, None)
    settings = msgspec.to_builtins(sagemaker.merged(training, gpus=gpus)) | own
    budget = budget_seconds(training, gpus=gpus)
    return settings == msgspec.to_builtins(Training()) | own and budget >= DEEPER_SECONDS


def heads(recipe: Recipe) -> tuple[Recipe, ...]:
    """Return variants of the recipe `features` with other weight decays; the recipe alone if the
    user has changed its optimizer or weight decay.
    """
    own = features.recipe(reason="")
    decay = own.optimizer_params["wd"]
    if recipe.optimizer != own.optimizer or recipe.optimizer_params.get("wd") != decay:
        return (recipe,)
    return tuple(
        dataclasses.replace(recipe, optimizer_params=recipe.optimizer_params | {"wd": decay})
        for decay in WEIGHT_DECAYS
    )


def deeper(head: Recipe, training: Training, *, gpus: int, pods: int) -> tuple[Recipe, ...]:
    """Return the deeper recipes to try after `head`, the cheapest first. None in a gang: the other
    pods do not wait for the choice of the first one.
    """
    if pods > 1 or not goes_deeper(training, gpus=gpus):
        return ()
    last_blocks = _after(head, progressive.last_blocks())
    whole = _after(last_blocks, progressive.recipe(gpus, reason=""))
    return last_blocks, whole, _after(head, full.recipe(gpus, reason=""))


def _after(start: Recipe, recipe: Recipe) -> Recipe:
    return dataclasses.replace(
        recipe,
        start=start,
        seed=start.seed,
        balanced=start.balanced,
        retries=start.retries,
    )
