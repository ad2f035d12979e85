"""The recipe that is trained in the end: the choice of `auto`, or the last epoch by early stopping.

Both look at the training images alone. The validation images, whose accuracy is reported, choose
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


def choose_recipe(materials: Materials, asked: Recipe) -> Recipe:
    """Return the recipe to train for the one that the job asks for. Later attempts get the same."""
    path = materials.run.paths.job / CHOSEN
    if path.exists():
        found = files.read_json(path, Chosen)
        if found.fingerprint == materials.fingerprint(asked):
            materials.progress.total = materials.units(found.recipe)
            return found.recipe
    training = materials.run.job.training
    if asked.early_stopping:
        recipe = _with_last_epoch(materials, asked)
    elif training.recipe == "auto":
        budget = auto.budget_seconds(training, gpus=materials.run.gpus)
        recipe = trials.choose(materials, asked, budget_seconds=budget)
    else:
        return asked
    materials.progress.total += materials.units(recipe)
    log.info("recipe %s: %s", recipe.name, recipe.reason)
    remember(materials, asked, recipe)
    return recipe


def remember(materials: Materials, asked: Recipe, chosen: Recipe) -> None:
    """Record what is trained for the recipe that was asked for, for the attempts that follow."""
    record = Chosen(fingerprint=materials.fingerprint(asked), recipe=chosen)
    materials.run.hand_on(CHOSEN, record)


def _with_last_epoch(materials: Materials, recipe: Recipe) -> Recipe:
    """Return the recipe with the epoch after which it was best on a fifth of the training images
    that it was not trained on. An attempt that follows goes on from the trial's checkpoints.
    """
    fold, limits = folds_of(materials, recipe), recipe.early_stopping
    assert limits is not None
    if fold is None:
        return _early_stopping(recipe, f"not: {TOO_FEW}")
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
    found = f"after epoch {patience.best_epoch} of {recipe.epochs}"
    found += f", {patience.best:.1%} of the held-out images are classified correctly"
    return dataclasses.replace(_early_stopping(recipe, found), stop_after=patience.best_epoch)


def _early_stopping(recipe: Recipe, found: str) -> Recipe:
    return dataclasses.replace(recipe, reason=f"{recipe.reason}; early stopping: {found}")
