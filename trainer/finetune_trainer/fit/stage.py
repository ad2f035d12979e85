"""Fits the network to the packed images (the stage `fit`): one way for every recipe.

The validation images choose nothing here: the model is that of the last epoch.
"""

import contextlib
import dataclasses
import logging
import shutil
from pathlib import Path

import msgspec
import mxnet as mx

from finetune_trainer import recipes
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.fit import choose_recipe, distributed
from finetune_trainer.fit.batch_size import trained_with_room
from finetune_trainer.fit.checkpoint import Checkpoint, Checkpoints
from finetune_trainer.fit.fit_progress import Work
from finetune_trainer.fit.learner import SLOWED_RATE
from finetune_trainer.fit.loop import Trained, train
from finetune_trainer.fit.materials import Course, units
from finetune_trainer.fit.records import CHOSEN, Chosen
from finetune_trainer.model import network as model_files
from finetune_trainer.model.network import Network
from finetune_trainer.recipes import auto, sagemaker
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import BUILT, FITTED, PACKED, Built, Fitted, Packed
from finetune_trainer.run.signals import Signals

log = logging.getLogger(__name__)


def fit(run: Run) -> None:
    """Fit by the job's recipe, from the newest checkpoint if there is one."""
    recipe = recipes.choose(run.job.training, devices=run.devices, pods=run.gang.nodes)
    if recipe.precision == "float16" and not run.devices:
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.precision is float16, which MXNet has on GPUs only",
            "leave it out, or set trainer.gpusPerNode",
        )
    log.info("recipe %s: %s", recipe.name, recipe.reason)
    for note in sagemaker.needless(run.job.training):
        log.info("hyperparameter %s", note)
    if run.gang.nodes > 1 and not recipe.trains_trunk:
        log.info("pod 0 of the gang computes it alone: there is too little to share")
    if run.gang.leads:
        _fit(run, recipe)
    elif recipe.trains_trunk:
        _follow(run, recipe)


def _fit(run: Run, recipe: Recipe) -> None:
    packed = files.read_json(run.paths.job / PACKED, Packed)
    built = files.read_json(run.paths.job / BUILT, Built)
    with Signals() as signals:
        work = Work(run.reporter, signals, total=units(recipe, packed))
        course = Course(run, packed, built, work)
        chosen = course.within_memory(_chosen(course, recipe))

        def fitted(part: Recipe) -> tuple[Recipe, Trained]:
            if part != chosen:
                _keep(course, recipe, chosen=part)
            return part, _trained(course, part, signals)

        if run.gang.nodes > 1:  # all pods must have the same batches
            recipe, trained = fitted(chosen)
        else:
            recipe, trained = trained_with_room(fitted, chosen)
        course.forget_starts()
    best = run.paths.job / "best"
    with files.whole_directory(best, check=run.check_owner) as staged:
        _save(run, trained.network, packed=packed, built=built, directory=staged)
    run.hand_on(
        FITTED,
        Fitted(
            directory=str(best),
            recipe=recipe.name,
            epochs=recipe.last_epoch,
            checkpoint=trained.checkpoint,
            reason=recipe.reason,
            settings=recipe.described() | _remarks(trained),
        ),
    )


def _trained(course: Course, recipe: Recipe, signals: Signals) -> Trained:
    """Train from the newest checkpoint, if there is one; a gang's leader, together with it."""
    run = course.run
    fingerprint = course.fingerprint(recipe)
    checkpoints = Checkpoints(run.paths.job / "checkpoints", fingerprint, run.check_owner)
    start = checkpoints.newest() or Checkpoint()
    course.skip(recipe, start)
    task = course.task(recipe, is_new=start.status is None)
    with contextlib.ExitStack() as stack:
        if run.gang.nodes > 1 and recipe.trains_trunk:
            host = distributed.find_self(run, signals)
            called = distributed.lead(run, host=host, fingerprint=fingerprint, start=start)
            task = dataclasses.replace(task, kvstore=stack.enter_context(called))
        return train(task, recipe, start=start, checkpoints=checkpoints, work=course.work)


def _chosen(course: Course, recipe: Recipe) -> Recipe:
    """Return what `auto` has chosen, when to stop, and batches that fit: an attempt that follows
    goes on with the same.
    """
    run = course.run
    fingerprint = course.fingerprint(recipe)
    path = run.paths.job / CHOSEN
    if path.exists() and (found := files.read_json(path, Chosen)).fingerprint == fingerprint:
        course.work.total = units(found.recipe, course.packed)
        return found.recipe
    asked = recipe
    if recipe.early_stopping:
        trial = run.paths.job / "trial"
        checkpoints = Checkpoints(trial / "checkpoints", fingerprint, run.check_owner)
        recipe = choose_recipe.stopped(course, recipe, checkpoints=checkpoints)
        shutil.rmtree(trial, ignore_errors=True)
    elif run.job.training.recipe == "auto":
        budget = auto.budget_seconds(run.job.training, devices=run.devices)
        recipe = choose_recipe.choose(course, recipe, budget_seconds=budget)
    else:
        return recipe
    course.work.total += units(recipe, course.packed)
    log.info("recipe %s: %s", recipe.name, recipe.reason)
    _keep(course, asked, chosen=recipe)
    return recipe


def _keep(course: Course, asked: Recipe, *, chosen: Recipe) -> None:
    """Write down what is fitted instead of what was asked for, for the attempts that follow."""
    kept = Chosen(fingerprint=course.fingerprint(asked), recipe=chosen)
    course.run.hand_on(CHOSEN, kept)


def _follow(run: Run, recipe: Recipe) -> None:
    """Train this pod's share of each batch; its leader does everything else."""
    with Signals() as signals:
        meeting = distributed.wait_for_leader(run, signals)
        packed = files.read_json(run.paths.job / PACKED, Packed)
        built = files.read_json(run.paths.job / BUILT, Built)
        work = Work(run.reporter, signals, total=units(recipe, packed), follows=True)
        course = Course(run, packed, built, work)
        recipe = course.within_memory(recipe)
        distributed.check_same(meeting, course.fingerprint(recipe))
        start = distributed.load_start(run, meeting)
        course.skip(recipe, start)
        task = course.task(recipe, is_new=start.status is None)
        task = dataclasses.replace(task, kvstore=distributed.follow(run, meeting))
        train(task, recipe, start=start, checkpoints=None, work=work)
        mx.nd.waitall()


def _remarks(trained: Trained) -> dict[str, str]:
    return {"after divergence": f"learning rate x {SLOWED_RATE:g}"} if trained.slowed else {}


def _save(run: Run, network: Network, *, packed: Packed, built: Built, directory: Path) -> None:
    model_files.save(network, directory)
    preprocessing = model_files.load_preprocessing(Path(built.directory))
    files.write_json(
        directory / model_files.PREPROCESSING,
        msgspec.structs.replace(
            preprocessing,
            framing=packed.framing,
            resize_short=run.job.dataset.image.resize_short,
            jpeg_quality=run.job.dataset.image.jpeg_quality,
        ),
    )
    (directory / model_files.LABELS).write_text("".join(f"{name}\n" for name in packed.classes))
