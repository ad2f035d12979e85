"""Trials of `auto`, within a time budget: weight decays of the new layer by cross-validation on
cached features, then deeper recipes on a fifth of the training images that is held out. What is
chosen is then trained on all training images.
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

TRIES = 2
"""Attempts that may lose a trial with their pod before the trial is given up."""
HEADS_SHARE = 0.3
"""Share of the budget for comparing weight decays."""
TRIAL_SHARE = 0.4
"""Share of the time left for each trial: training on all images must still find time."""

Correct = NDArray[np.bool_]
"""For each image, True if its most probable class is the right one."""


def choose(materials: Materials, recipe: Recipe, *, budget_seconds: float) -> Recipe:
    """Return `recipe`, a variant of it or a deeper one, to be trained on all training images. An
    attempt that follows goes on with the trials that are done, and with what is left of the time.
    """
    fold = folds_of(materials, recipe)
    if fold is None:
        return _because(recipe, [TOO_FEW])
    trials = _Trials(materials, recipe)
    progress, run = materials.progress, materials.run
    deadline = time.monotonic() + budget_seconds - trials.spent
    materials.features(recipe)  # every fit needs them
    progress.deadline = time.monotonic() + HEADS_SHARE * (deadline - time.monotonic())
    best, correct, tried = _best_head(materials, recipe, fold, trials)
    progress.deadline, progress.purpose = None, ""
    if not tried:
        return _because(recipe, ["no time to compare weight decays"])
    decay = best.optimizer_params.get("wd", 0.0)
    notes = [
        f"weight decay {decay:g} of {tried} by cross-validation, "
        f"{correct.mean():.1%} of the images classified correctly"
    ]
    first = fold == 0
    held_out, correct, pace = materials.hold_out(first), correct[first], 0.0
    deeper = auto.deeper(best, run.job.training, gpus=run.gpus, pods=run.gang.nodes)
    for candidate in deeper:
        if candidate.trains == "last blocks" and (why := materials.why_no_last_blocks(candidate)):
            notes.append(f"{candidate.name} left out, {why}")
            continue
        work = materials.units(candidate)
        progress.total += work
        progress.purpose = f"trying {candidate.name}"
        began = time.monotonic()
        progress.deadline = began + TRIAL_SHARE * (deadline - began)
        try:
            found = trials.correct(candidate, held_out, least_seconds=pace * work)
        except OutOfTime as error:
            notes.append(f"{str(error) or 'no time'} for {candidate.name}")
            break
        except Exception as error:
            if not _costs_the_trial_alone(error):
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
            pace = (time.monotonic() - began) / work
        if is_better(found, correct):
            best, correct = candidate, found
    return _because(best, notes)


def _costs_the_trial_alone(error: Exception) -> bool:
    """Return True for no memory, a NaN loss or a full disk: the job goes on without the trial."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    return explain(error).code in (ExitCode.DeviceOutOfMemory, ExitCode.Diverged)


class _Trials:
    """The results of trials, recorded in the job's directory for the attempts that follow."""

    def __init__(self, materials: Materials, asked: Recipe) -> None:
        self._materials, self._began = materials, time.monotonic()
        self._kept = Trials(fingerprint=materials.fingerprint(asked))
        path = materials.run.paths.job / TRIALS
        if path.exists():
            found = files.read_json(path, Trials)
            if found.fingerprint == self._kept.fingerprint:
                self._kept = found
        self.spent = self._kept.spent
        """Seconds of the budget that earlier attempts have used."""

    def correct(self, recipe: Recipe, *parts: Materials, least_seconds: float = 0.0) -> Correct:
        """Return which held-out images of the parts, one part after the other, the recipe
        classifies correctly.

        Raises OutOfTime if it would take too long, or was lost with its attempt too often.
        """
        key, deadline = self._materials.fingerprint(recipe), self._materials.progress.deadline
        if (known := self._kept.correct.get(key)) is not None:
            return np.array([digit == "1" for digit in known])
        lost = self._kept.lost.get(key, 0)
        if lost == TRIES:
            raise OutOfTime(f"lost {TRIES} times with its pod, no more time")
        if deadline is not None and time.monotonic() + least_seconds > deadline:
            raise OutOfTime
        try:
            self._keep(lost=self._kept.lost | {key: lost + 1})
            found = np.concatenate([_correct(part, recipe) for part in parts])
            text = "".join("01"[right] for right in found.tolist())
            self._keep(correct=self._kept.correct | {key: text})
            return found
        finally:  # whatever it was, the pod was not lost
            self._keep(lost=self._kept.lost | {key: lost})

    def _keep(self, **changes: Any) -> None:
        spent = self.spent + time.monotonic() - self._began
        self._kept = msgspec.structs.replace(self._kept, spent=spent, **changes)
        self._materials.run.hand_on(TRIALS, self._kept)


def _best_head(
    materials: Materials, recipe: Recipe, fold: NDArray[np.int64], trials: _Trials
) -> tuple[Recipe, Correct, int]:
    """Return the best weight decay by cross-validation, the first unless another is better, and
    how many there was time for.
    """
    variants, progress = auto.heads(recipe), materials.progress
    cost = FOLDS * recipe.epochs * HEAD_COST * recipe.views * len(fold)
    progress.total += cost * len(variants)
    best, correct, tried = recipe, np.zeros(len(fold), np.bool_), 0
    parts = [materials.hold_out(fold == number) for number in range(FOLDS)]
    place = np.argsort(np.argsort(fold, kind="stable"), kind="stable")
    for variant in variants:
        progress.purpose = f"comparing weight decays, {tried + 1} of {len(variants)}"
        try:
            found = trials.correct(variant, *parts)[place]
        except OutOfTime:
            break
        if not tried or is_better(found, correct):
            best, correct = variant, found
        tried += 1
    return best, correct, tried


def is_better(correct: Correct, others: Correct) -> bool:
    """Return True if more images are correct than chance makes of two classifiers that are as good:
    by two standard errors of the images on which they differ (McNemar 1947).
    """
    gained, lost = int((correct & ~others).sum()), int((others & ~correct).sum())
    return gained - lost > 2 * math.sqrt(gained + lost)


def _correct(materials: Materials, recipe: Recipe) -> Correct:
    result = train(materials, recipe)
    task = result.task
    answers = outputs(result.task_network, task.validation(), task.contexts)
    return np.concatenate([values.argmax(axis=1) == labels for values, labels in answers])


def _because(recipe: Recipe, notes: list[str]) -> Recipe:
    return dataclasses.replace(recipe, reason="auto: " + "; ".join(notes))
