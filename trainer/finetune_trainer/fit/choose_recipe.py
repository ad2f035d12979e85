"""Chooses the recipe to train: `auto` by trials, the last epoch by early stopping.

Both use the training images alone. The validation images, whose accuracy is reported, choose
nothing.
"""

import dataclasses
import logging
import shutil

from finetune_trainer.fit import trials
from finetune_trainer.fit.early_stopping import Patience
from finetune_trainer.fit.folds import TOO_FEW, folds_of
from finetune_trainer.fit.materials import Materials
from finetune_trainer.fit.records import CHOSEN, Chosen
from finetune_trainer.fit.train import train
from finetune_trainer.recipes import auto
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run import files

log = logging.getLogger(__name__)


def choose_recipe(materials: Materials, requested: Recipe) -> Recipe:
    """Return the recipe to train for the requested one. Later attempts get the same."""
    path = materials.run.paths.job / CHOSEN
    if path.exists():
        recorded = files.read_json(path, Chosen)
        if recorded.fingerprint == materials.fingerprint(requested):
            materials.progress.total = materials.units(recorded.recipe)
            return recorded.recipe
    training = materials.run.job.training
    if requested.early_stopping:
        recipe = _with_last_epoch(materials, requested)
    elif training.recipe == "auto":
        budget = auto.budget_seconds(training, gpus=materials.run.gpus)
        recipe = trials.choose(materials, requested, budget_seconds=budget)
    else:
        return requested
    materials.progress.total += materials.units(recipe)
    log.info("recipe %s: %s", recipe.name, recipe.reason)
    record_choice(materials, requested, recipe)
    return recipe


def record_choice(materials: Materials, requested: Recipe, chosen: Recipe) -> None:
    """Write the chosen recipe to the job's directory, for later attempts."""
    record = Chosen(fingerprint=materials.fingerprint(requested), recipe=chosen)
    materials.run.hand_on(CHOSEN, record)


def _with_last_epoch(materials: Materials, recipe: Recipe) -> Recipe:
    """Return the recipe with its best epoch as the last one. The best epoch is that of a trial,
    measured on a held-out fifth of the training images. A later attempt resumes the trial.
    """
    fold, limits = folds_of(materials, recipe), recipe.early_stopping
    assert limits is not None
    if fold is None:
        return _early_stopping(recipe, f"none, {TOO_FEW}")
    patience, trial = Patience(limits), materials.run.paths.job / "trial"
    progress = materials.progress
    progress.total += materials.units(recipe)
    progress.purpose = "finding the last epoch"
    train(
        materials.hold_out(fold == 0),
        recipe,
        checkpoints=trial / "checkpoints",
        patience=patience,
    )
    progress.purpose = ""
    materials.clear()
    shutil.rmtree(trial, ignore_errors=True)
    summary = f"after epoch {patience.best_epoch} of {recipe.epochs}"
    summary += f", {patience.best:.1%} of the held-out images are classified correctly"
    return dataclasses.replace(_early_stopping(recipe, summary), stop_after=patience.best_epoch)


def _early_stopping(recipe: Recipe, summary: str) -> Recipe:
    return dataclasses.replace(recipe, reason=f"{recipe.reason}; early stopping: {summary}")
