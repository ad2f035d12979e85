"""Turns SageMaker's hyperparameters into fields of `training`; the contract has their table."""

import re
from typing import Any

import msgspec

from finetune_trainer.contract import ALLOWED, SAGEMAKER, ExitCode, TrainerError, Training


def merged(training: Training, *, gpus: int) -> Training:
    """Return the settings with the hyperparameters under our names. Raises InvalidSpec for one
    that is unknown, not taken, malformed, or set under both names.
    """
    found: dict[str, Any] = {}
    for name, value in training.hyperparameters.items():
        _check(name, value)
        if SAGEMAKER[name].place:
            _put(found, name, value, training)
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
    reasons = {name: SAGEMAKER[name].needless for name in training.hyperparameters}
    if _has_factor_alone(training):
        reasons["lr_scheduler_factor"] = "there is no lr_scheduler_step"
    return [f"{name}: {reason}" for name, reason in reasons.items() if reason]


def _check(name: str, value: str) -> None:
    known = SAGEMAKER.get(name)
    if known is None:
        raise _refused(name, f"is none of those that are known here: {', '.join(ALLOWED)}")
    if known.instead:
        raise _refused(name, f"set {known.instead} instead")
    if not re.fullmatch(known.pattern, value):
        raise _refused(name, f"is {value!r}, but must be {known.words}")
    if name == "learning_rate" and not re.search("[1-9]", value):
        raise _refused(name, f"is {value!r}, but must be above 0")


def _put(found: dict[str, Any], name: str, value: str, training: Training) -> None:
    """Put the value into `found`, at its place below `training`."""
    place, own = SAGEMAKER[name].place, msgspec.to_builtins(training)
    *groups, field = place.split(".")
    for group in groups:
        found, own = found.setdefault(group, {}), own.get(group, {})
    if field in own:
        raise _refused(name, f"is set a second time as training.{place}: remove one")
    found[field] = SAGEMAKER[name].read(value)


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


def _refused(name: str, why: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidSpec,
        f"training.hyperparameters.{name} {why}",
        "docs/training.md has the names and what becomes of them.",
    )
