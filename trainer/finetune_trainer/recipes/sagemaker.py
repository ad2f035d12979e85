"""The hyperparameters of SageMaker's "Image Classification - MXNet" under our names.

Every name of theirs is taken over, needless (and said to be so), or refused with what to do.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from finetune_trainer.contract import ELSEWHERE, SAGEMAKER, ExitCode, TrainerError, Training

AUGMENTATIONS = {
    "none": "none",
    "crop": "crop",
    "crop_color": "color",
    "crop_color_transform": "strong",
}
NEEDLESS = {
    "num_classes": "the classes are counted",
    "num_training_samples": "the photos are counted",
    "checkpoint_frequency": "a checkpoint is saved after every epoch",
    "kv_store": "gradients are added up in step (dist_sync) with trainer.numNodes",
    "top_k": "the report has it",
}


def merged(training: Training, *, gpus: int) -> Training:
    """Return the settings with the hyperparameters under our names. Raises InvalidSpec for one
    that is unknown, not taken, malformed, or set under both names.
    """
    found: dict[str, Any] = {}
    for name, value in training.hyperparameters.items():
        _check(name, value)
        if name in PLACES:
            place, read = PLACES[name]
            _put(found, place, value=read(value), name=name, training=training)
    _put_early_stopping(found, training)
    batch = found.get("batchSizePerDevice")
    if batch and batch % max(1, gpus):
        raise _refused("mini_batch_size", f"{batch} does not divide among {gpus} GPUs")
    if batch:
        found["batchSizePerDevice"] = batch // max(1, gpus)
    if "stepEpochs" in found.get("schedule", {}):
        if own_name := training.schedule.name:
            raise _refused("lr_scheduler_step", f"contradicts training.schedule.name {own_name}")
        found["schedule"]["name"] = "step"
    if _has_factor_alone(training):
        del found["schedule"]
    own = msgspec.to_builtins(training)
    for group in found.keys() & {"optimizer", "schedule", "earlyStopping"}:
        found[group] = own.get(group, {}) | found[group]
    try:
        return msgspec.convert(own | found | {"hyperparameters": {}}, Training)
    except msgspec.ValidationError as error:
        raise TrainerError(ExitCode.InvalidSpec, f"training.hyperparameters: {error}") from error


def needless(training: Training) -> list[str]:
    """Return what to say about hyperparameters that change nothing."""
    known = NEEDLESS
    if _has_factor_alone(training):
        known = known | {"lr_scheduler_factor": "there is no lr_scheduler_step"}
    return [f"{n}: {known[n]}" for n in training.hyperparameters if n in known]


def _check(name: str, value: str) -> None:
    if name in ELSEWHERE:
        raise _refused(name, f"set {ELSEWHERE[name]} instead")
    if name not in SAGEMAKER:
        raise _refused(name, f"is none of those that are known here: {', '.join(SAGEMAKER)}")
    pattern, what = SAGEMAKER[name]
    if not re.fullmatch(pattern, value):
        raise _refused(name, f"is {value!r}, but must be {what}")
    if name == "learning_rate" and not re.search("[1-9]", value):
        raise _refused(name, f"is {value!r}, but must be above 0")


def _put(
    found: dict[str, Any], place: tuple[str, ...], *, value: Any, name: str, training: Training
) -> None:
    own = msgspec.to_builtins(training)
    for step in place[:-1]:
        found, own = found.setdefault(step, {}), own.get(step, {})
    if place[-1] in own:
        raise _refused(name, f"is set a second time as training.{'.'.join(place)}: remove one")
    found[place[-1]] = value


def _put_early_stopping(found: dict[str, Any], training: Training) -> None:
    """Put what it is like there if it is on; leave it out if it is off."""
    stopping = found.pop("earlyStopping", {})
    on = stopping.pop("on", None)
    if on is not None and training.early_stopping:
        raise _refused(
            "early_stopping", "is set a second time as training.earlyStopping: remove one"
        )
    if on:
        found["earlyStopping"] = stopping
    elif stopping and on is None:
        raise _refused("early_stopping", "must be True for the others of its kind")


def _has_factor_alone(training: Training) -> bool:
    """Whether there is a factor for steps, but no step: SageMaker takes that, too."""
    given = training.hyperparameters
    has_steps = "lr_scheduler_step" in given or training.schedule.step_epochs
    return "lr_scheduler_factor" in given and not has_steps


def _decimal(text: str) -> str:
    """1e-8 -> 0.00000001, as the API has decimals."""
    return f"{Decimal(text):f}"


def _truth(text: str) -> bool:
    return text.lower() == "true"


def _steps(text: str) -> list[int]:
    return [int(step) for step in text.split(",")]


def _refused(name: str, why: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidSpec,
        f"training.hyperparameters.{name} {why}",
        "docs/training.md has the names and what becomes of them.",
    )


PLACES: Mapping[str, tuple[tuple[str, ...], Callable[[str], Any]]] = {
    "epochs": (("epochs",), int),
    "mini_batch_size": (("batchSizePerDevice",), int),
    "augmentation_type": (("augmentation",), AUGMENTATIONS.__getitem__),
    "optimizer": (("optimizer", "name"), str),
    "learning_rate": (("optimizer", "learningRate"), _decimal),
    "momentum": (("optimizer", "momentum"), _decimal),
    "weight_decay": (("optimizer", "weightDecay"), _decimal),
    "beta_1": (("optimizer", "beta1"), _decimal),
    "beta_2": (("optimizer", "beta2"), _decimal),
    "eps": (("optimizer", "epsilon"), _decimal),
    "lr_scheduler_step": (("schedule", "stepEpochs"), _steps),
    "lr_scheduler_factor": (("schedule", "factor"), _decimal),
    "precision_dtype": (("precision",), str),
    "early_stopping": (("earlyStopping", "on"), _truth),
    "early_stopping_min_epochs": (("earlyStopping", "minEpochs"), int),
    "early_stopping_patience": (("earlyStopping", "patience"), int),
    "early_stopping_tolerance": (("earlyStopping", "tolerance"), _decimal),
}
"""Where each goes below `training`, and how its text is read."""
