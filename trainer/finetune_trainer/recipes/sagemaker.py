"""Turns SageMaker's hyperparameters into fields of `training`; the contract has their table."""

import re
from typing import Any

import msgspec

from finetune_trainer.contract import ALLOWED, SAGEMAKER, ExitCode, TrainerError, Training

_HINT = "docs/training.md lists the accepted names and their meaning."


def merged(training: Training, *, gpus: int) -> Training:
    """Return the settings with the hyperparameters as fields. Raises InvalidSpec for one that is
    unknown, refused, malformed, or set under both names.
    """
    found: dict[str, Any] = {}
    for name, value in training.hyperparameters.items():
        _check(name, value)
        if SAGEMAKER[name].place:
            _put(found, name, value, training)
    _settle_early_stopping(found, training)
    batch = found.get("batchSizePerDevice")
    if batch and batch % max(1, gpus):
        raise _refused("mini_batch_size", f"{batch} cannot be divided among {gpus} GPUs")
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
        raise TrainerError(
            ExitCode.InvalidSpec, f"training.hyperparameters: {error}", _HINT
        ) from error


def needless(training: Training) -> list[str]:
    """Return a note for each hyperparameter that changes nothing, with the reason."""
    reasons = {name: SAGEMAKER[name].needless for name in training.hyperparameters}
    if _has_factor_alone(training):
        reasons["lr_scheduler_factor"] = "there is no lr_scheduler_step"
    return [f"{name}: {reason}" for name, reason in reasons.items() if reason]


def _check(name: str, value: str) -> None:
    known = SAGEMAKER.get(name)
    if known is None:
        raise _refused(name, f"is not one of those that are accepted: {', '.join(ALLOWED)}")
    if known.instead:
        raise _refused(name, f"is not accepted: set {known.instead} instead")
    if not re.fullmatch(known.pattern, value):
        raise _refused(name, f"is {value!r}, but must be {known.words}")
    if name == "learning_rate" and not re.search("[1-9]", value):
        raise _refused(name, f"is {value!r}, but must be above 0")


def _put(found: dict[str, Any], name: str, value: str, training: Training) -> None:
    """Put the value into `found`, at its field of `training`."""
    place, own = SAGEMAKER[name].place, msgspec.to_builtins(training)
    *groups, field = place.split(".")
    for group in groups:
        found, own = found.setdefault(group, {}), own.get(group, {})
    if field in own:
        raise _refused(name, f"is set again as training.{place}: remove one of them")
    found[field] = SAGEMAKER[name].read(value)


def _settle_early_stopping(found: dict[str, Any], training: Training) -> None:
    """Keep the settings of early stopping in `found` if it is on, and remove them if it is off."""
    stopping = found.pop("earlyStopping", {})
    on = stopping.pop("on", None)
    if on is not None and training.early_stopping:
        raise _refused(
            "early_stopping", "is set again as training.earlyStopping: remove one of them"
        )
    if on:
        found["earlyStopping"] = stopping
    elif stopping and on is None:
        raise _refused(
            "early_stopping", "must be True if another early_stopping hyperparameter is set"
        )


def _has_factor_alone(training: Training) -> bool:
    """Return True if there is a factor for steps, but no step: SageMaker accepts that, too."""
    given = training.hyperparameters
    has_steps = "lr_scheduler_step" in given or training.schedule.step_epochs
    return "lr_scheduler_factor" in given and not has_steps


def _refused(name: str, why: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidSpec,
        f"training.hyperparameters.{name} {why}",
        _HINT,
    )
