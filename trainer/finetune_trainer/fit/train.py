"""Trains a recipe; all trainings, trials too, come through `train`.

Batches that do not fit into memory become smaller. The training starts from the newest checkpoint,
else from the network that the recipe starts from. After a divergence it may go on once at a lower
learning rate.
"""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.fit import batch_size, distributed
from finetune_trainer.fit.checkpoint import Checkpoint, Checkpoints
from finetune_trainer.fit.early_stopping import Patience
from finetune_trainer.fit.loop import TrainResult, run_epochs
from finetune_trainer.fit.materials import Materials
from finetune_trainer.fit.records import Meeting
from finetune_trainer.fit.tasks import Task
from finetune_trainer.model import network as model_files
from finetune_trainer.model.memory import with_batches_that_fit
from finetune_trainer.model.network import Network
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run import files

log = logging.getLogger(__name__)


def train(
    materials: Materials,
    recipe: Recipe,
    *,
    checkpoints: Path | None = None,
    patience: Patience | None = None,
    meeting: Meeting | None = None,
    on_smaller_batches: Callable[[Recipe], None] = lambda recipe: None,
) -> TrainResult:
    """Train the recipe to its last epoch.

    `checkpoints` is the directory to resume from and to save to; without it nothing is saved. With
    `patience` this is a trial, which may end earlier and reports no checkpoint. `meeting` is given
    to a gang's followers only. `on_smaller_batches` is called with the recipe before it is trained
    in smaller batches than requested, because the GPU has too little memory.

    Raises DeviceOutOfMemory if a batch of one image does not fit, Diverged if the loss is NaN,
    Interrupted after SIGTERM.
    """
    recipe = materials.within_memory(recipe)

    def attempt(images: int) -> TrainResult:
        smaller = batch_size.in_batches_of(images, recipe)
        if smaller != recipe:
            on_smaller_batches(smaller)
        return _train(materials, smaller, checkpoints, patience, meeting)

    if materials.run.gang.nodes > 1 and recipe.trains_trunk:  # all pods need equal batches
        return attempt(recipe.batch_size)
    return with_batches_that_fit(attempt, recipe.batch_size, what=f"the recipe {recipe.name}")


def _train(
    materials: Materials,
    recipe: Recipe,
    directory: Path | None,
    patience: Patience | None,
    meeting: Meeting | None,
) -> TrainResult:
    """Train in batches of the recipe's own size."""
    run = materials.run
    fingerprint = materials.fingerprint(recipe)
    checkpoints = Checkpoints(directory, fingerprint, run.check_owner) if directory else None
    if meeting:
        start = distributed.load_start(run, meeting, fingerprint)
    else:
        start = (checkpoints and checkpoints.newest()) or Checkpoint()
    materials.count_resumed(recipe, start)
    task = _task(materials, recipe, is_new=start.status is None)
    if run.gang.nodes > 1 and recipe.trains_trunk:
        gang = distributed.join(run, materials.signals, meeting, fingerprint, start)
        with gang as kvstore:
            task = dataclasses.replace(task, kvstore=kvstore)
            return run_epochs(task, recipe, start, checkpoints, materials.progress)
    try:
        return run_epochs(task, recipe, start, checkpoints, materials.progress, patience)
    except TrainerError as error:
        if error.code != ExitCode.Diverged or not recipe.retries or start.slowed:
            raise
        log.warning("%s: it goes on from the last good checkpoint, at a tenth of the rate", error)
    # If the pod is lost before the next checkpoint, the next attempt diverges and retries again.
    last = (checkpoints and checkpoints.newest()) or start
    slowed = dataclasses.replace(last, slowed=True)
    return run_epochs(task, recipe, slowed, checkpoints, materials.progress, patience)


def _task(materials: Materials, recipe: Recipe, *, is_new: bool) -> Task:
    """Return the recipe's task. A resumed fit takes its weights from the checkpoint."""
    if not is_new:
        return materials.task(recipe, materials.network)
    if recipe.start:
        return materials.task(recipe, _network_after(materials, recipe.start))
    return materials.task(recipe, materials.network_with_known_rows(recipe))


def _network_after(materials: Materials, recipe: Recipe) -> Network:
    """Return the network that a recipe has trained, as the start of another recipe. If it cannot
    run here, return the network that it would start from.

    A network that takes more than seconds is saved, for attempts before the first checkpoint.
    """
    if (
        recipe.trains == "last blocks"
        and recipe.start
        and (reason := materials.reason_against_last_blocks(recipe))
    ):
        log.info("%s: left out, %s", recipe.name, reason)
        return _network_after(materials, recipe.start)
    if recipe.trains == "head" or materials.held_out is not None:
        return _train_start(materials, recipe)
    saved = start_directory(materials) / materials.fingerprint(recipe)
    if saved.is_dir():
        materials.count_done(recipe)
    else:
        network = _train_start(materials, recipe)
        with files.whole_directory(saved, check=materials.run.check_owner) as staged:
            model_files.save(network, staged)
    return model_files.load(saved)


def start_directory(materials: Materials) -> Path:
    """Return the directory of the saved networks that recipes start from."""
    return materials.run.paths.job / "starts"


def _train_start(materials: Materials, recipe: Recipe) -> Network:
    """Train a network that another recipe starts from. The hint of an error does not mention the
    user's learning rate, which this training does not use.
    """
    try:
        return train(materials, recipe).network
    except TrainerError as error:
        if error.code != ExitCode.Diverged or isinstance(error.__cause__, TrainerError):
            raise  # in the second case the message names the start that has diverged already
        wider = "set training.precision to float32, or " if recipe.precision != "float32" else ""
        retry = "" if recipe.retries else "set training.onDivergence to Retry, or "
        raise TrainerError(
            error.code,
            f"{recipe.name}, which the recipe starts from: {error.message}",
            f"{wider}{retry}choose another training.recipe",
        ) from error
