"""Refuses settings that contradict each other or the recipe. In a cluster the API server has the
same rules; these are for local runs, and for numbers of SageMaker's names and of the recipe.
"""

from collections.abc import Iterator

import msgspec

from finetune_trainer.contract import IMAGE_FIELDS, ExitCode, TrainerError, Training
from finetune_trainer.recipes.recipe import OPTIMIZERS_WITH, Recipe

BELOW_ONE = ("momentum", "beta1", "beta2")

Mistake = tuple[str, str]
"""The problem, after the word `training.`, and the remedy."""


def check(training: Training, recipe: Recipe) -> None:
    """Raise InvalidSpec for the first mistake; `recipe` has its own numbers, not the user's."""
    for mistakes in (_image_fields, _optimizer, _schedule, _others):
        for problem, remedy in mistakes(training, recipe):
            raise TrainerError(ExitCode.InvalidSpec, f"training.{problem}", remedy)


def _image_fields(training: Training, recipe: Recipe) -> Iterator[Mistake]:
    given = msgspec.to_builtins(training)  # without fields at their default
    for name in IMAGE_FIELDS:
        is_set = name in given and (name != "cutmix" or float(given[name]) > 0)
        if is_set and not recipe.trains_trunk:
            yield (
                f"{name} is set, but the recipe {recipe.name} trains on features that are computed"
                " once",
                "leave it out, or set training.recipe to full or tutorial",
            )


def _optimizer(training: Training, recipe: Recipe) -> Iterator[Mistake]:
    given = training.optimizer
    name = given.name or recipe.optimizer
    for parameter, optimizers in OPTIMIZERS_WITH.items():
        if getattr(given, parameter) is not None and name not in optimizers:
            yield (
                f"optimizer.{parameter} is set, but {name} has none",
                f"leave it out, or set training.optimizer.name to {' or '.join(optimizers)}",
            )
    for parameter in BELOW_ONE:
        if float(getattr(given, parameter) or 0) >= 1:
            yield f"optimizer.{parameter} must be below 1", 'write a number such as "0.9"'
    if given.learning_rate is not None and not float(given.learning_rate):
        yield "optimizer.learningRate must be above 0", 'write a number such as "0.01"'


def _schedule(training: Training, recipe: Recipe) -> Iterator[Mistake]:
    given = training.schedule
    if (given.name == "step") != bool(given.step_epochs):
        yield (
            "schedule.stepEpochs and schedule.name step belong together",
            "set both, or neither",
        )
    if given.factor is not None and not given.step_epochs:
        yield (
            "schedule.factor is set, but it is only for schedule.name step",
            "leave it out, or set training.schedule.stepEpochs",
        )
    if given.name == "onecycle" and float(given.warmup_epochs or 0):
        yield (
            "schedule.warmupEpochs is set, but onecycle has its own warm-up",
            "leave it out, or set training.schedule.name to cosine",
        )


def _others(training: Training, recipe: Recipe) -> Iterator[Mistake]:
    if training.time_budget_seconds is not None and training.recipe != "auto":
        yield (
            "timeBudgetSeconds is set, but it is only for the recipe auto",
            "leave it out, or set training.recipe to auto",
        )
    if training.sampling == "balanced" and training.recipe != "features":
        yield (
            f"sampling is balanced, but the recipe {training.recipe} may read the images in"
            " MXNet's own order",
            "set training.classWeights to balanced instead, or training.recipe to features",
        )
    if training.sampling == "balanced" and training.class_weights == "balanced":
        yield "sampling and training.classWeights both balance the classes", "leave one of them out"
