"""What `auto` chooses between: weight decays of the new layer, then how deep the training goes."""

import dataclasses

import msgspec

from finetune_trainer.contract import Training
from finetune_trainer.recipes import features, full, progressive, sagemaker
from finetune_trainer.recipes.recipe import Recipe

BUDGET_SECONDS, GPU_BUDGET_SECONDS = 30, 1800
"""What choosing and fitting may take unless timeBudgetSeconds says so: on CPUs, with GPUs."""
DEEPER_SECONDS = 45
"""The budget from which on recipes that train more than the new layer are tried."""
OF_ALL = (
    *("seed", "classWeights", "timeBudgetSeconds", "minAccuracy", "onDivergence", "resumeFrom"),
)
"""Settings that are not of a single recipe."""
WEIGHT_DECAYS = (0.1, 0.03, 0.3, 0.01, 0.003)
"""The first is that of `features`; the best one falls with the number of images."""


def recipe(gpus: int = 0) -> Recipe:
    """Return the recipe that fits without trials, and the reason."""
    hardware = f"with {gpus} GPUs" if gpus else "on CPUs"
    reason = (
        f"auto: {hardware}, one pass of the pretrained trunk and a well-trained last layer "
        "give more accuracy for the time than epochs of the whole network"
    )
    return features.recipe(gpus, reason=reason)


def budget_seconds(training: Training, *, gpus: int) -> int:
    """Return the time for choosing and fitting."""
    default = GPU_BUDGET_SECONDS if gpus else BUDGET_SECONDS
    return training.time_budget_seconds or default


def goes_deeper(training: Training, *, gpus: int) -> bool:
    """Whether more than the new layer is tried: not in a hurry, nor with the user's own numbers,
    which are for a head.
    """
    own = dict.fromkeys(OF_ALL, None)
    settings = msgspec.to_builtins(sagemaker.merged(training, gpus=gpus)) | own
    budget = budget_seconds(training, gpus=gpus)
    return settings == msgspec.to_builtins(Training()) | own and budget >= DEEPER_SECONDS


def heads(recipe: Recipe) -> tuple[Recipe, ...]:
    """Return variants of the recipe `features`; only itself if the user has changed its optimizer
    or weight decay.
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
    """Return what may be better than a head, the cheaper first. In a gang nothing: the other pods
    do not wait for what the first one has chosen.
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
