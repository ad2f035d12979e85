"""The trials of `auto`, within a time budget.

First weight decays of the new layer are compared by cross-validation on cached features, then
deeper recipes on a held-out fifth of the training images. The best one is then trained on all.
"""

import dataclasses
import math
import time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode
from finetune_trainer.fit.fit_progress import HEAD_COST, OutOfTime
from finetune_trainer.fit.folds import FOLDS, TOO_FEW, folds_of
from finetune_trainer.fit.materials import Materials
from finetune_trainer.fit.records import TRIALS, Trials
from finetune_trainer.fit.train import train
from finetune_trainer.model.inference import outputs
from finetune_trainer.recipes import auto
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run import files
from finetune_trainer.run.failure import DISK_FULL, explain

MAX_LOST_PODS = 2
"""Lost pods, each while it ran a trial, after which this trial is given up."""
DECAYS_SHARE = 0.3
"""Share of the time budget for comparing weight decays."""
TRIAL_SHARE = 0.4
"""Share of the remaining time for each deeper trial; the rest is for training on all images."""

Correct = NDArray[np.bool_]
"""For each image, True if it is classified correctly."""


def choose(materials: Materials, recipe: Recipe, *, budget_seconds: float) -> Recipe:
    """Return `recipe`, a variant of it or a deeper one, to be trained on all training images. A
    later attempt keeps the finished trials, and has the remaining time.
    """
    fold = folds_of(materials, recipe)
    if fold is None:
        return _with_reason(recipe, [TOO_FEW])
    trials = _Trials(materials, recipe)
    progress, run = materials.progress, materials.run
    deadline = time.monotonic() + budget_seconds - trials.spent
    materials.features(recipe)  # extracted even if no time is left: every fit needs them
    progress.deadline = time.monotonic() + DECAYS_SHARE * (deadline - time.monotonic())
    best, correct, compared = _best_weight_decay(materials, recipe, fold, trials)
    progress.deadline, progress.purpose = None, ""
    if not compared:
        return _with_reason(recipe, ["no time to compare weight decays"])
    decay = best.optimizer_params.get("wd", 0.0)
    notes = [
        f"weight decay {decay:g} of {compared} by cross-validation, "
        f"{correct.mean():.1%} of the images classified correctly"
    ]
    first = fold == 0
    held_out, correct, seconds_per_unit = materials.hold_out(first), correct[first], 0.0
    deeper = auto.deeper(best, run.job.training, gpus=run.gpus, pods=run.gang.nodes)
    for candidate in deeper:
        if candidate.trains == "last blocks" and (
            reason := materials.reason_against_last_blocks(candidate)
        ):
            notes.append(f"{candidate.name} left out, {reason}")
            continue
        units = materials.units(candidate)
        progress.total += units
        progress.purpose = f"trying {candidate.name}"
        began = time.monotonic()
        progress.deadline = began + TRIAL_SHARE * (deadline - began)
        try:
            found = trials.correct(candidate, held_out, least_seconds=seconds_per_unit * units)
        except OutOfTime as error:
            notes.append(f"{str(error) or 'no time'} for {candidate.name}")
            break
        except Exception as error:
            if not _ends_only_the_trial(error):
                raise
            notes.append(f"{candidate.name} left out, {explain(error).message}")
            break
        finally:
            progress.deadline, progress.purpose = None, ""
            materials.clear()
        notes.append(
            f"{candidate.name} classifies {found.sum()} of {len(found)} held-out images correctly, "
            f"{best.name} {correct.sum()}"
        )
        if candidate.trains == "all":
            seconds_per_unit = (time.monotonic() - began) / units
        if is_better(found, correct):
            best, correct = candidate, found
    return _with_reason(best, notes)


def _ends_only_the_trial(error: Exception) -> bool:
    """Return True for a full GPU, a NaN loss or a full disk: the job goes on without this trial."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    return explain(error).code in (ExitCode.DeviceOutOfMemory, ExitCode.Diverged)


class _Trials:
    """The results of trials, recorded in the job's directory for later attempts."""

    def __init__(self, materials: Materials, requested: Recipe) -> None:
        self._materials, self._began = materials, time.monotonic()
        self._recorded = Trials(fingerprint=materials.fingerprint(requested))
        path = materials.run.paths.job / TRIALS
        if path.exists():
            found = files.read_json(path, Trials)
            if found.fingerprint == self._recorded.fingerprint:
                self._recorded = found
        self.spent = self._recorded.spent
        """Seconds of the budget that earlier attempts have used."""

    def correct(self, recipe: Recipe, *folds: Materials, least_seconds: float = 0.0) -> Correct:
        """Return which held-out images the recipe classifies correctly, fold by fold.

        Raises OutOfTime if there are less than `least_seconds` left, if the deadline passes, or if
        the trial was lost with its pod too often.
        """
        key, deadline = self._materials.fingerprint(recipe), self._materials.progress.deadline
        if (known := self._recorded.correct.get(key)) is not None:
            return np.array([digit == "1" for digit in known])
        lost = self._recorded.lost.get(key, 0)
        if lost == MAX_LOST_PODS:
            raise OutOfTime(f"lost {MAX_LOST_PODS} times with its pod, no more time")
        if deadline is not None and time.monotonic() + least_seconds > deadline:
            raise OutOfTime
        try:
            self._record(lost=self._recorded.lost | {key: lost + 1})
            found = np.concatenate([_correct(fold, recipe) for fold in folds])
            text = "".join("01"[right] for right in found.tolist())
            self._record(correct=self._recorded.correct | {key: text})
            return found
        finally:  # an exception comes through here, the loss of the pod does not
            self._record(lost=self._recorded.lost | {key: lost})

    def _record(self, **changes: Any) -> None:
        spent = self.spent + time.monotonic() - self._began
        self._recorded = msgspec.structs.replace(self._recorded, spent=spent, **changes)
        self._materials.run.hand_on(TRIALS, self._recorded)


def _best_weight_decay(
    materials: Materials, recipe: Recipe, fold: NDArray[np.int64], trials: _Trials
) -> tuple[Recipe, Correct, int]:
    """Return the recipe with the best weight decay by cross-validation, which images it classifies
    correctly, and the number of weight decays that there was time for.

    The first weight decay stays unless another one is better by more than chance.
    """
    variants, progress = auto.heads(recipe), materials.progress
    cost = FOLDS * recipe.epochs * HEAD_COST * recipe.views * len(fold)
    progress.total += cost * len(variants)
    best, correct, compared = recipe, np.zeros(len(fold), np.bool_), 0
    folds = [materials.hold_out(fold == number) for number in range(FOLDS)]
    # The folds' answers one after the other, put back into the order of the images.
    position = np.argsort(np.argsort(fold, kind="stable"), kind="stable")
    for variant in variants:
        progress.purpose = f"comparing weight decays, {compared + 1} of {len(variants)}"
        try:
            found = trials.correct(variant, *folds)[position]
        except OutOfTime:
            break
        if not compared or is_better(found, correct):
            best, correct = variant, found
        compared += 1
    return best, correct, compared


def is_better(correct: Correct, others: Correct) -> bool:
    """Return True if `correct` has more images than `others`, by more than two standard errors of
    the number of images on which the two differ (McNemar 1947).
    """
    gained, lost = int((correct & ~others).sum()), int((others & ~correct).sum())
    return gained - lost > 2 * math.sqrt(gained + lost)


def _correct(materials: Materials, recipe: Recipe) -> Correct:
    result = train(materials, recipe)
    task = result.task
    answers = outputs(result.task_network, task.validation(), task.contexts)
    return np.concatenate([values.argmax(axis=1) == labels for values, labels in answers])


def _with_reason(recipe: Recipe, notes: list[str]) -> Recipe:
    return dataclasses.replace(recipe, reason="auto: " + "; ".join(notes))
