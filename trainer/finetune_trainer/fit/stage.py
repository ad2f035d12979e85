"""The stage `fit`: choose the recipe, train it, save the network, hand it on.

The validation images choose nothing: the network is that of the last epoch.
"""

import logging
import shutil
from pathlib import Path

import msgspec

from finetune_trainer import recipes
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.fit import distributed
from finetune_trainer.fit.choose_recipe import choose_recipe, record_choice
from finetune_trainer.fit.learner import SLOWED_RATE
from finetune_trainer.fit.loop import TrainResult
from finetune_trainer.fit.materials import Materials
from finetune_trainer.fit.train import start_directory, train
from finetune_trainer.model import network as model_files
from finetune_trainer.recipes import sagemaker
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import FITTED, Fitted
from finetune_trainer.run.signals import Signals

log = logging.getLogger(__name__)


def fit(run: Run) -> None:
    """Choose the job's recipe, train it, and save the network for the stage `evaluate`."""
    requested = _requested_recipe(run)
    if not run.gang.is_leader:
        if requested.trains_trunk:
            _follow(run, requested)
        return
    with Signals() as signals:
        materials = Materials.of(run, requested, signals)
        recipe = choose_recipe(materials, requested)
        result = train(
            materials,
            recipe,
            checkpoints=run.paths.job / "checkpoints",
            on_smaller_batches=lambda smaller: record_choice(materials, requested, smaller),
        )
        shutil.rmtree(start_directory(materials), ignore_errors=True)
    best = run.paths.job / "best"
    with files.whole_directory(best, check=run.check_owner) as staged:
        _save(materials, result, staged)
    run.hand_on(FITTED, _describe(best, result))


def _requested_recipe(run: Run) -> Recipe:
    """Return the recipe that the job asks for."""
    training = run.job.training
    recipe = recipes.choose(training, gpus=run.gpus, pods=run.gang.nodes)
    if recipe.precision == "float16" and not run.gpus:
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.precision is float16, which MXNet has on GPUs only",
            "remove it, or set trainer.gpusPerNode",
        )
    log.info("recipe %s: %s", recipe.name, recipe.reason)
    for note in sagemaker.needless(training):
        log.info("hyperparameter %s", note)
    if run.gang.nodes > 1 and not recipe.trains_trunk:
        log.info("pod 0 of the gang trains it alone: there is too little work to share")
    return recipe


def _follow(run: Run, recipe: Recipe) -> None:
    """Train this pod's shard of each batch; the gang's leader does everything else."""
    with Signals() as signals:
        # This comes first: the leader packs the data set that is read next.
        meeting = distributed.wait_for_leader(run, signals)
        materials = Materials.of(run, recipe, signals, is_follower=True)
        train(materials, recipe, meeting=meeting)


def _save(materials: Materials, result: TrainResult, directory: Path) -> None:
    """Write the network, its preprocessing and the names of its classes."""
    model_files.save(result.network, directory)
    preprocessing = model_files.load_preprocessing(Path(materials.built.directory))
    files.write_json(
        directory / model_files.PREPROCESSING,
        msgspec.structs.replace(
            preprocessing,
            framing=materials.packed.framing,
            resize_short=materials.packed.resize_short,
            jpeg_quality=materials.run.job.dataset.image.jpeg_quality,
        ),
    )
    labels = "".join(f"{name}\n" for name in materials.packed.classes)
    (directory / model_files.LABELS).write_text(labels)


def _describe(directory: Path, result: TrainResult) -> Fitted:
    """Return what the next stages need to know about the fit."""
    recipe, settings = result.recipe, result.recipe.described()
    if result.slowed:
        settings |= {"after divergence": f"learning rate x {SLOWED_RATE:g}"}
    return Fitted(
        directory=str(directory),
        recipe=recipe.name,
        epochs=recipe.last_epoch,
        checkpoint=result.checkpoint,
        reason=recipe.reason,
        settings=settings,
    )
