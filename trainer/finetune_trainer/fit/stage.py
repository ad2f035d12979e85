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
from finetune_trainer.fit.choose_recipe import choose_recipe, remember
from finetune_trainer.fit.learner import SLOWED_RATE
from finetune_trainer.fit.loop import TrainResult
from finetune_trainer.fit.materials import Materials
from finetune_trainer.fit.train import starts_of, train
from finetune_trainer.model import network as model_files
from finetune_trainer.recipes import sagemaker
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import FITTED, Fitted
from finetune_trainer.run.signals import Signals

log = logging.getLogger(__name__)


def fit(run: Run) -> None:
    """Train the job's recipe, from the newest checkpoint if there is one."""
    asked = _asked(run)
    if not run.gang.is_leader:
        if asked.trains_trunk:
            _follow(run, asked)
        return
    with Signals() as signals:
        materials = Materials.of(run, asked, signals)
        recipe = choose_recipe(materials, asked)
        result = train(
            materials,
            recipe,
            checkpoints=run.paths.job / "checkpoints",
            on_smaller_batches=lambda smaller: remember(materials, asked, smaller),
        )
        shutil.rmtree(starts_of(materials), ignore_errors=True)
    best = run.paths.job / "best"
    with files.whole_directory(best, check=run.check_owner) as staged:
        _save(materials, result, staged)
    run.hand_on(FITTED, _fitted(best, result))


def _asked(run: Run) -> Recipe:
    """Return the recipe that the job asks for."""
    training = run.job.training
    recipe = recipes.choose(training, gpus=run.gpus, pods=run.gang.nodes)
    if recipe.precision == "float16" and not run.gpus:
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.precision is float16, which MXNet has on GPUs only",
            "leave it out, or set trainer.gpusPerNode",
        )
    log.info("recipe %s: %s", recipe.name, recipe.reason)
    for note in sagemaker.needless(training):
        log.info("hyperparameter %s", note)
    if run.gang.nodes > 1 and not recipe.trains_trunk:
        log.info("pod 0 of the gang computes it alone: there is too little to share")
    return recipe


def _follow(run: Run, recipe: Recipe) -> None:
    """Train this pod's share of each batch; the gang's leader does everything else."""
    with Signals() as signals:
        # Before anything is read: the leader packs the data set.
        meeting = distributed.wait_for_leader(run, signals)
        materials = Materials.of(run, recipe, signals, follows=True)
        train(materials, recipe, meeting=meeting)


def _save(materials: Materials, result: TrainResult, directory: Path) -> None:
    """Write the network, its preprocessing and the names of its classes."""
    model_files.save(result.network, directory)
    image = materials.run.job.dataset.image
    preprocessing = model_files.load_preprocessing(Path(materials.built.directory))
    files.write_json(
        directory / model_files.PREPROCESSING,
        msgspec.structs.replace(
            preprocessing,
            framing=materials.packed.framing,
            resize_short=image.resize_short,
            jpeg_quality=image.jpeg_quality,
        ),
    )
    labels = "".join(f"{name}\n" for name in materials.packed.classes)
    (directory / model_files.LABELS).write_text(labels)


def _fitted(directory: Path, result: TrainResult) -> Fitted:
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
