"""Folds of the training images, for cross-validation and for images that are held out."""

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.fit.features import Labels
from finetune_trainer.fit.materials import Materials
from finetune_trainer.recipes.recipe import Recipe

FOLDS = 5
"""Number of folds; deeper recipes and early stopping hold out the first one."""
FEWEST = FOLDS * FOLDS
"""Fewest training images for trials."""
TOO_FEW = f"fewer than {FEWEST} training images are too few for trials"


def folds_of(materials: Materials, recipe: Recipe) -> NDArray[np.int64] | None:
    """Return the fold of each training image; None: there are too few images."""
    labels = materials.labels
    return folds(labels, seed=recipe.seed) if len(labels) >= FEWEST else None


def folds(labels: Labels, *, seed: int) -> NDArray[np.int64]:
    """Return the fold of each image, 0 to FOLDS - 1. Every class is spread over all folds."""
    random = np.random.default_rng(seed).permutation(len(labels))
    fold = np.empty(len(labels), np.int64)
    fold[np.lexsort((random, labels))] = np.arange(len(labels)) % FOLDS
    return fold
