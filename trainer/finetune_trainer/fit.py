"""Fits the network to the packed images (the stage `fit`): one way for every recipe.

The validation images choose nothing here: the model is that of the last epoch.
"""

import contextlib
import dataclasses
import hashlib
import logging
from pathlib import Path

import msgspec
import mxnet as mx

from finetune_trainer import features, files, recipes, tasks, threads, together
from finetune_trainer.checkpoint import Checkpoint, Checkpoints
from finetune_trainer.dataset.read import Reader
from finetune_trainer.handoff import BUILT, FITTED, PACKED, Built, Fitted, Packed
from finetune_trainer.loop import train
from finetune_trainer.model import network as model_files
from finetune_trainer.model.network import Network
from finetune_trainer.progress import Work
from finetune_trainer.recipes import Recipe
from finetune_trainer.scoring import contexts
from finetune_trainer.signals import Signals
from finetune_trainer.stage import Run
from finetune_trainer.tasks import HEAD_COST, TRAINING_COST, Task

log = logging.getLogger(__name__)

EXTRACTION_BATCH = 32
"""Images at once through a trunk that does not train; speed is the same from 8 to 64."""


def fit(run: Run) -> None:
    """Fit by the job's recipe, from the newest checkpoint if there is one."""
    recipe = recipes.choose(run.job.training, devices=run.devices)
    log.info("recipe %s: %s", recipe.name, recipe.reason)
    if run.gang.nodes > 1 and not recipe.trains_trunk:
        log.info("pod 0 of the gang computes it alone: there is too little to share")
    if run.gang.leads:
        _fit(run, recipe)
    elif recipe.trains_trunk:
        _follow(run, recipe)


def _fit(run: Run, recipe: Recipe) -> None:
    packed = files.read_json(run.paths.job / PACKED, Packed)
    built = files.read_json(run.paths.job / BUILT, Built)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        work = Work(run.reporter, signals, total=_units(recipe, packed))
        task = _task(run, packed, built, recipe, work)
        fingerprint = _fingerprint(run, recipe, packed, built)
        checkpoints = Checkpoints(run.paths.job / "checkpoints", fingerprint, run.check_owner)
        start = checkpoints.newest() or Checkpoint()
        if run.gang.nodes > 1 and recipe.trains_trunk:
            host = together.find_self(run, signals)
            called = together.lead(run, host=host, fingerprint=fingerprint, start=start)
            store = stack.enter_context(called)
            task = dataclasses.replace(task, kvstore=store)
        network, checkpoint = train(task, recipe, start=start, checkpoints=checkpoints, work=work)
    best = run.paths.job / "best"
    with files.whole_directory(best, check=run.check_owner) as staged:
        _save(run, network, packed=packed, built=built, directory=staged)
    run.hand_on(
        FITTED,
        Fitted(
            directory=str(best), recipe=recipe.name, epochs=recipe.epochs, checkpoint=checkpoint
        ),
    )


def _follow(run: Run, recipe: Recipe) -> None:
    """Train this pod's share of each batch; its leader does everything else."""
    with Signals() as signals:
        meeting = together.wait_for_leader(run, signals)
        packed = files.read_json(run.paths.job / PACKED, Packed)
        built = files.read_json(run.paths.job / BUILT, Built)
        together.check_same(meeting, _fingerprint(run, recipe, packed, built))
        work = Work(run.reporter, signals, total=_units(recipe, packed), follows=True)
        task = _task(run, packed, built, recipe, work)
        start = together.load_start(run, meeting)
        task = dataclasses.replace(task, kvstore=together.follow(run, meeting))
        train(task, recipe, start=start, checkpoints=None, work=work)
        mx.nd.waitall()


def _task(run: Run, packed: Packed, built: Built, recipe: Recipe, work: Work) -> Task:
    """Return what the recipe trains; for the head alone, its features are computed here."""
    network = model_files.load(Path(built.directory))
    preprocessing = model_files.load_preprocessing(Path(built.directory))
    share = recipe.batch_size if recipe.trains_trunk else EXTRACTION_BATCH
    readers = {
        name: Reader.of(
            Path(packed.directory, f"{record}.rec"),
            preprocessing,
            batch_size=share * max(1, run.devices),
            threads=run.threads,
        )
        for name, record in (("train", "train"), ("validation", "val"))
    }
    if recipe.trains_trunk:
        readers["train"] = tasks.fair(readers["train"], run.gang)
        plan = threads.for_training(batch_size=readers["train"].batch_size, cpus=run.threads)
        devices = contexts(devices=run.devices, cpus=plan.contexts)
        return tasks.on_images(network, devices=devices, gang=run.gang, **readers)
    devices = contexts(devices=run.devices)
    work.note = "looking at the images"
    extraction = tasks.extraction(network, built, recipe, **readers)
    found = features.cached(extraction, devices, seen=work.advance)
    work.skip_to(recipe.views * packed.status.train_images + packed.status.validation_images)
    return tasks.on_features(network, found, batch_size=recipe.batch_size, devices=devices[:1])


def _units(recipe: Recipe, packed: Packed) -> float:
    train, validation = packed.status.train_images, packed.status.validation_images
    if recipe.trains_trunk:
        return recipe.epochs * (TRAINING_COST * train + validation)
    return recipe.views * train + validation + recipe.epochs * HEAD_COST * recipe.views * train


def _fingerprint(run: Run, recipe: Recipe, packed: Packed, built: Built) -> str:
    numbers = (
        recipe.name,
        recipe.epochs,
        recipe.batch_size,
        recipe.optimizer,
        recipe.seed,
        recipe.new_layer,
        run.gang.nodes,
    )
    params = sorted(recipe.optimizer_params.items())
    parts = (numbers, params, recipe.views, packed.status.digest, packed.classes, built.status)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _save(run: Run, network: Network, *, packed: Packed, built: Built, directory: Path) -> None:
    model_files.save(network, directory)
    preprocessing = model_files.load_preprocessing(Path(built.directory))
    files.write_json(
        directory / model_files.PREPROCESSING,
        msgspec.structs.replace(preprocessing, resize_short=run.job.dataset.image.resize_short),
    )
    (directory / model_files.LABELS).write_text("".join(f"{name}\n" for name in packed.classes))
