"""Training of a recipe, in one way for all: with batches that fit, from the newest checkpoint or
the network that the recipe starts from, and once more, slower, after a divergence.
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

    `checkpoints` is the directory to resume from and to save to; without one nothing is saved. With
    `patience` it is a trial, which may end earlier and reports no checkpoint. `meeting` is given
    to the pods of a gang that follow its leader. `on_smaller_batches` is called before a recipe
    is trained in smaller batches, because the GPU had no memory for those asked for.

    Raises DeviceOutOfMemory if a batch of one image does not fit, Diverged if the loss is NaN,
    Interrupted after SIGTERM.
    """
    recipe = materials.within_memory(recipe)

    def attempt(images: int) -> TrainResult:
        smaller = batch_size.in_batches_of(images, recipe)
        if smaller != recipe:
            on_smaller_batches(smaller)
        return _train(materials, smaller, checkpoints, patience, meeting)

    if materials.run.gang.nodes > 1 and recipe.trains_trunk:  # all pods need the same batches
        return attempt(recipe.batch_size)
    return with_batches_that_fit(attempt, recipe.batch_size, what=f"the recipe {recipe.name}")


def _train(
    materials: Materials,
    recipe: Recipe,
    directory: Path | None,
    patience: Patience | None,
    meeting: Meeting | None,
) -> TrainResult:
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
        gang = distributed.joined(run, materials.signals, meeting, fingerprint, start)
        with gang as kvstore:
            task = dataclasses.replace(task, kvstore=kvstore)
            return run_epochs(task, recipe, start, checkpoints, materials.progress)
    try:
        return run_epochs(task, recipe, start, checkpoints, materials.progress, patience)
    except TrainerError as error:
        if error.code != ExitCode.Diverged or not recipe.retries or start.slowed:
            raise
        log.warning("%s: it goes on from the last good checkpoint, at a tenth of the rate", error)
    # An attempt that is lost before its next checkpoint comes to this place again.
    last = (checkpoints and checkpoints.newest()) or start
    slowed = dataclasses.replace(last, slowed=True)
    return run_epochs(task, recipe, slowed, checkpoints, materials.progress, patience)


def _task(materials: Materials, recipe: Recipe, *, is_new: bool) -> Task:
    """Return what the recipe trains. A resumed fit takes its weights from the checkpoint."""
    if not is_new:
        return materials.task(recipe, materials.network)
    if recipe.start:
        return materials.task(recipe, _network_after(materials, recipe.start))
    return materials.task(recipe, materials.network_with_known_rows(recipe))


def _network_after(materials: Materials, recipe: Recipe) -> Network:
    """Return the network that a recipe leaves, or its own start if it cannot run here. What takes
    more than seconds is kept for attempts that come before the first checkpoint.
    """
    if (
        recipe.trains == "last blocks"
        and recipe.start
        and (why := materials.why_no_last_blocks(recipe))
    ):
        log.info("%s: left out, %s", recipe.name, why)
        return _network_after(materials, recipe.start)
    if recipe.trains == "head" or materials.held_out is not None:
        return _train_start(materials, recipe)
    kept = starts_of(materials) / materials.fingerprint(recipe)
    if kept.is_dir():
        materials.count_done(recipe)
    else:
        network = _train_start(materials, recipe)
        with files.whole_directory(kept, check=materials.run.check_owner) as staged:
            model_files.save(network, staged)
    return model_files.load(kept)


def starts_of(materials: Materials) -> Path:
    """Return the directory of the networks that recipes start from."""
    return materials.run.paths.job / "starts"


def _train_start(materials: Materials, recipe: Recipe) -> Network:
    """Train what another recipe starts from. The hint leaves out the user's learning rate, which is
    not the start's.
    """
    try:
        return train(materials, recipe).network
    except TrainerError as error:
        if error.code != ExitCode.Diverged or isinstance(error.__cause__, TrainerError):
            raise  # the second: the start of this start has diverged, and it is said already
        wider = "set training.precision to float32, or " if recipe.precision != "float32" else ""
        again = "" if recipe.retries else "set training.onDivergence to Retry, or "
        raise TrainerError(
            error.code,
            f"{recipe.name}, which the recipe starts from: {error.message}",
            f"{wider}{again}choose another training.recipe",
        ) from error
