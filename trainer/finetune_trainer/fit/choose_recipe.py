"""Chooses on the training images alone: for `auto`, within a time budget, and when to stop.

The validation images, whose accuracy is reported, choose nothing: weight decays are compared by
cross-validation on cached features, deeper recipes on a fifth of the training images that is kept
aside. What is chosen is then fitted to all of them.
"""

import dataclasses
import logging
import math
import time
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import EarlyStopping, ExitCode
from finetune_trainer.fit.batch_size import trained_with_room
from finetune_trainer.fit.checkpoint import Checkpoint, Checkpoints
from finetune_trainer.fit.features import Labels
from finetune_trainer.fit.fit_progress import OutOfTime
from finetune_trainer.fit.loop import train
from finetune_trainer.fit.materials import Course, units
from finetune_trainer.fit.records import TRIALS, Trials
from finetune_trainer.fit.tasks import HEAD_COST
from finetune_trainer.model.inference import outputs
from finetune_trainer.recipes import auto
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run import files
from finetune_trainer.run.failure import DISK_FULL, explain
from finetune_trainer.run.history import DIGITS

log = logging.getLogger(__name__)

FOLDS = 5
"""Of the cross-validation; deeper recipes are measured on the first."""
FEWEST = FOLDS * FOLDS
TOO_FEW = f"{FEWEST} training images are the fewest to choose by"
TRIES = 2
"""Of a trial that is lost with its attempt."""
HEADS_SHARE = 0.3
"""Of the budget, for comparing weight decays."""
TRIAL_SHARE = 0.4
"""Of what is left, for each trial: the fit to all images must still find time."""

Hits = NDArray[np.bool_]
"""For each image whether its most probable class is the right one."""


def choose(course: Course, recipe: Recipe, *, budget_seconds: float) -> Recipe:
    """Return `recipe`, a variant of it or a deeper one, to be fitted to all training images. An
    attempt that follows goes on with the trials that are done, and with what is left of the time.
    """
    fold = _folds_of(course, recipe)
    if fold is None:
        return _because(recipe, [TOO_FEW])
    trials = _Trials(course, recipe)
    end = time.monotonic() + budget_seconds - trials.spent
    course.features(recipe)  # which every fit needs
    course.work.end = time.monotonic() + HEADS_SHARE * (end - time.monotonic())
    best, hits, tried = _best_head(course, recipe, fold, trials)
    course.work.end = None
    if not tried:
        return _because(recipe, ["no time to compare weight decays"])
    decay = best.optimizer_params.get("wd", 0.0)
    note = f"weight decay {decay:g} of {tried} by cross-validation, right on {hits.mean():.1%}"
    notes, held = [note], fold == 0
    hits, pace = hits[held], 0.0
    apart = dataclasses.replace(course, held=held)
    run = course.run
    deeper = auto.deeper(best, run.job.training, devices=run.devices, pods=run.gang.nodes)
    for candidate in deeper:
        if candidate.trains == "top" and (why := course.without_top(candidate)):
            notes.append(f"{candidate.name} left out, {why}")
            continue
        work = units(candidate, course.packed)
        course.work.total += work
        course.work.note = f"trying {candidate.name}"
        began = time.monotonic()
        course.work.end = began + TRIAL_SHARE * (end - began)
        try:
            found = trials.hits(candidate, apart, least_seconds=pace * work)
        except OutOfTime as error:
            notes.append(f"{str(error) or 'no time'} for {candidate.name}")
            break
        except Exception as error:
            if not _is_of_the_trial(error):
                raise
            notes.append(f"{candidate.name} left out, {explain(error).message}")
            break
        finally:
            course.work.end = None
            course.clear()
        notes.append(
            f"{candidate.name} right on {found.sum()} of {len(found)} images kept aside, "
            f"{best.name} on {hits.sum()}"
        )
        if candidate.trains == "all":
            pace = (time.monotonic() - began) / work
        if is_better(found, hits):
            best, hits = candidate, found
    return _because(best, notes)


def _is_of_the_trial(error: Exception) -> bool:
    """Whether there was no memory, no numbers, or no room on the disk for it: no end of the job."""
    if isinstance(error, OSError):
        return error.errno in DISK_FULL
    return explain(error).code in (ExitCode.DeviceOutOfMemory, ExitCode.Diverged)


class _Trials:
    """What is known of recipes: in the job's directory, for the attempts that follow."""

    def __init__(self, course: Course, asked: Recipe) -> None:
        self._course, self._began = course, time.monotonic()
        self._kept = Trials(fingerprint=course.fingerprint(asked))
        path = course.run.paths.job / TRIALS
        if path.exists():
            found = files.read_json(path, Trials)
            if found.fingerprint == self._kept.fingerprint:
                self._kept = found
        self.spent = self._kept.spent
        """Seconds of the budget, by earlier attempts."""

    def hits(self, recipe: Recipe, *parts: Course, least_seconds: float = 0.0) -> Hits:
        """Return which images of the parts, kept aside one after the other, the recipe names right.

        Raises OutOfTime if it would take too long, or was lost with its attempt too often.
        """
        key, end = self._course.fingerprint(recipe), self._course.work.end
        if (known := self._kept.hits.get(key)) is not None:
            return np.array([hit == "1" for hit in known])
        lost = self._kept.lost.get(key, 0)
        if lost == TRIES:
            raise OutOfTime(f"lost {TRIES} times with its pod, no more time")
        if end is not None and time.monotonic() + least_seconds > end:
            raise OutOfTime
        try:
            self._keep(lost=self._kept.lost | {key: lost + 1})
            found = np.concatenate([_hits(part, recipe) for part in parts])
            text = "".join("01"[hit] for hit in found.tolist())
            self._keep(hits=self._kept.hits | {key: text})
            return found
        finally:  # whatever it was, it was not lost
            self._keep(lost=self._kept.lost | {key: lost})

    def _keep(self, **changes: Any) -> None:
        spent = self.spent + time.monotonic() - self._began
        self._kept = msgspec.structs.replace(self._kept, spent=spent, **changes)
        self._course.run.hand_on(TRIALS, self._kept)


def stopped(course: Course, recipe: Recipe, *, checkpoints: Checkpoints) -> Recipe:
    """Return the recipe with the epoch after which a fit without a fifth of the training images is
    best on these. An attempt that follows goes on from the checkpoints.
    """
    fold = _folds_of(course, recipe)
    if fold is None:
        return _stopping(recipe, f"not: {TOO_FEW}")
    limits = recipe.early_stopping
    assert limits is not None
    apart = dataclasses.replace(course, held=fold == 0)
    course.work.total += units(recipe, course.packed)

    def tried(part: Recipe) -> Patience:
        patience = Patience(limits)
        start = checkpoints.newest() or Checkpoint()
        for row in checkpoints.noted()[: start.epoch]:
            patience.ends(row.epoch, row.validation_accuracy or 0.0)
        if not patience.is_over:
            course.skip(part, start)
            task = apart.task(part, is_new=start.status is None)
            train(
                task,
                part,
                start=start,
                checkpoints=checkpoints,
                work=course.work,
                ends=patience.ends,
            )
        return patience

    patience = trained_with_room(tried, course.within_memory(recipe))
    course.clear()
    found = f"after epoch {patience.best_epoch} of {recipe.epochs}"
    found += f", right on {patience.best:.1%} of images kept aside"
    return dataclasses.replace(_stopping(recipe, found), stop_after=patience.best_epoch)


class Patience:
    """Waits for a better epoch (the rule is SageMaker's)."""

    def __init__(self, limits: EarlyStopping) -> None:
        self._limits, self._tolerance = limits, 1 + float(limits.tolerance)
        self.best, self.best_epoch = 0.0, 1
        self.is_over = False

    def ends(self, epoch: int, accuracy: float) -> bool:
        """Take an epoch, from 1, and its accuracy; return whether to wait no longer."""
        accuracy = round(accuracy, DIGITS)  # as an attempt that follows will read it
        if accuracy > self._tolerance * self.best:
            self.best, self.best_epoch = accuracy, epoch
        waited = epoch - self.best_epoch
        self.is_over = epoch >= self._limits.min_epochs and waited >= self._limits.patience
        return self.is_over


def _folds_of(course: Course, recipe: Recipe) -> NDArray[np.int64] | None:
    """Return the fold of each training image; None: there are too few."""
    labels = course.labels
    return folds(labels, seed=recipe.seed) if len(labels) >= FEWEST else None


def folds(labels: Labels, *, seed: int) -> NDArray[np.int64]:
    """Return the fold of each image, 0 to FOLDS - 1: every class is spread over all of them."""
    random = np.random.default_rng(seed).permutation(len(labels))
    fold = np.empty(len(labels), np.int64)
    fold[np.lexsort((random, labels))] = np.arange(len(labels)) % FOLDS
    return fold


def is_better(hits: Hits, others: Hits) -> bool:
    """Whether there are more hits on the same images than chance makes of two that are as good: by
    two standard errors of the images on which they differ (McNemar 1947).
    """
    gained, lost = int((hits & ~others).sum()), int((others & ~hits).sum())
    return gained - lost > 2 * math.sqrt(gained + lost)


def _best_head(
    course: Course, recipe: Recipe, fold: NDArray[np.int64], trials: _Trials
) -> tuple[Recipe, Hits, int]:
    """Return the best weight decay by cross-validation, the first unless another is better, and
    how many there was time for.
    """
    variants = auto.heads(recipe)
    cost = FOLDS * recipe.epochs * HEAD_COST * recipe.views * len(fold)
    course.work.total += cost * len(variants)
    best, hits, tried = recipe, np.zeros(len(fold), np.bool_), 0
    parts = [dataclasses.replace(course, held=fold == number) for number in range(FOLDS)]
    place = np.argsort(np.argsort(fold, kind="stable"), kind="stable")
    for variant in variants:
        course.work.note = f"comparing weight decays, {tried + 1} of {len(variants)}"
        try:
            found = trials.hits(variant, *parts)[place]
        except OutOfTime:
            break
        if not tried or is_better(found, hits):
            best, hits = variant, found
        tried += 1
    return best, hits, tried


def _hits(course: Course, recipe: Recipe) -> Hits:
    task, trained = course.trained(recipe)
    answers = outputs(trained.of_task, task.validation(), task.devices)
    return np.concatenate([values.argmax(axis=1) == labels for values, labels in answers])


def _stopping(recipe: Recipe, what: str) -> Recipe:
    return dataclasses.replace(recipe, reason=f"{recipe.reason}; early stopping: {what}")


def _because(recipe: Recipe, notes: list[str]) -> Recipe:
    return dataclasses.replace(recipe, reason="auto: " + "; ".join(notes))
