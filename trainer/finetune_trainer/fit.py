"""Fits the network to the packed images (the stage `fit`): one way for every recipe.

The validation images choose nothing here: the model is that of the last epoch.
"""

import contextlib
import dataclasses
import hashlib
import logging
from pathlib import Path
from typing import Any

import msgspec
import mxnet as mx
import numpy as np

from finetune_trainer import features, files, recipes, tasks, threads, together
from finetune_trainer.checkpoint import Checkpoint, Checkpoints
from finetune_trainer.dataset.lock import Tally, open_lock
from finetune_trainer.dataset.read import Reader
from finetune_trainer.gang import Gang
from finetune_trainer.handoff import BUILT, FITTED, PACKED, Built, Fitted, Packed
from finetune_trainer.loop import train
from finetune_trainer.model import network as model_files
from finetune_trainer.model.network import Network
from finetune_trainer.progress import Work
from finetune_trainer.recipes import Recipe, sagemaker
from finetune_trainer.scoring import contexts
from finetune_trainer.signals import Signals
from finetune_trainer.stage import Run
from finetune_trainer.targets import Targets, balanced
from finetune_trainer.tasks import HEAD_COST, TRAINING_COST, Task

log = logging.getLogger(__name__)

EXTRACTION_BATCH = 32
"""Images at once through a trunk that does not train; speed is the same from 8 to 64."""


def fit(run: Run) -> None:
    """Fit by the job's recipe, from the newest checkpoint if there is one."""
    recipe = recipes.choose(run.job.training, devices=run.devices)
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
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        work = Work(run.reporter, signals, total=_units(recipe, packed, gang=run.gang))
        fingerprint = _fingerprint(run, recipe, packed, built)
        checkpoints = Checkpoints(run.paths.job / "checkpoints", fingerprint, run.check_owner)
        start = checkpoints.newest() or Checkpoint()
        stage = _Stage(run, packed, built, recipe, work)
        task = stage.task(is_new=start.status is None)
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
            directory=str(best),
            recipe=recipe.name,
            epochs=recipe.epochs,
            checkpoint=checkpoint,
            reason=recipe.reason,
            settings=recipe.described(),
        ),
    )


def _follow(run: Run, recipe: Recipe) -> None:
    """Train this pod's share of each batch; its leader does everything else."""
    with Signals() as signals:
        meeting = together.wait_for_leader(run, signals)
        packed = files.read_json(run.paths.job / PACKED, Packed)
        built = files.read_json(run.paths.job / BUILT, Built)
        together.check_same(meeting, _fingerprint(run, recipe, packed, built))
        total = _units(recipe, packed, gang=run.gang)
        work = Work(run.reporter, signals, total=total, follows=True)
        task = _Stage(run, packed, built, recipe, work).task(is_new=False)
        start = together.load_start(run, meeting)
        task = dataclasses.replace(task, kvstore=together.follow(run, meeting))
        train(task, recipe, start=start, checkpoints=None, work=work)
        mx.nd.waitall()


@dataclasses.dataclass(frozen=True)
class _Stage:
    """Makes the task of a recipe from what earlier stages left."""

    run: Run
    packed: Packed
    built: Built
    recipe: Recipe
    work: Work

    def task(self, *, is_new: bool) -> Task:
        """Return what the recipe trains; features that it needs are computed here."""
        network = model_files.load(Path(self.built.directory))
        if not self.recipe.trains_trunk:
            devices = contexts(devices=self.run.devices)
            return self._on_features(network, self.recipe, devices)
        train, validation = self._readers(self.recipe.batch_size)
        train = tasks.fair(train, self.run.gang)
        plan = threads.for_training(batch_size=train.batch_size, cpus=self.run.threads)
        devices = contexts(devices=self.run.devices, cpus=plan.contexts)
        pretrained = frozenset(network.args)
        if is_new and _fits_head_first(self.recipe, self.run.gang):
            network = self._with_head(network, devices)
        task = tasks.on_images(
            network,
            self.recipe.augmentation,
            train=train,
            validation=validation,
            devices=devices,
            gang=self.run.gang,
        )
        return dataclasses.replace(
            task, targets=_targets(self.recipe, self.packed), pretrained=pretrained
        )

    def _with_head(self, network: Network, devices: list[Any]) -> Network:
        head = recipes.head_of(self.recipe)
        task = self._on_features(network, head, devices)
        return train(task, head, start=Checkpoint(), checkpoints=None, work=self.work)[0]

    def _on_features(self, network: Network, head: Recipe, devices: list[Any]) -> Task:
        train, validation = self._readers(EXTRACTION_BATCH)
        self.work.note = "looking at the images"
        extraction = tasks.extraction(network, self.built, head, train=train, validation=validation)
        found = features.cached(extraction, devices, seen=self.work.advance)
        self.work.skip_to(_extraction_units(head, self.packed))
        task = tasks.on_features(network, found, batch_size=head.batch_size, devices=devices[:1])
        return dataclasses.replace(task, targets=_targets(head, self.packed))

    def _readers(self, share: int) -> tuple[Reader, Reader]:
        preprocessing = model_files.load_preprocessing(Path(self.built.directory))
        train, validation = (
            Reader.of(
                Path(self.packed.directory, f"{record}.rec"),
                preprocessing,
                batch_size=share * max(1, self.run.devices),
                threads=self.run.threads,
            )
            for record in ("train", "val")
        )
        return train, validation


def _fits_head_first(recipe: Recipe, gang: Gang) -> bool:
    """In a gang each pod would have to find the same bits."""
    return recipe.starts_from_features and gang.nodes == 1


def _targets(recipe: Recipe, packed: Packed) -> Targets | None:
    if not recipe.needs_targets:
        return None
    classes = len(packed.classes)
    weights = None
    if recipe.balanced:
        with open_lock(Path(packed.directory)) as (_, photos):
            images = Tally.of(photos).splits
        weights = balanced(np.array([images[label, "train"] for label in range(classes)]))
    return Targets(classes, smoothing=recipe.smoothing, mixup=recipe.mixup, weights=weights)


def _units(recipe: Recipe, packed: Packed, *, gang: Gang) -> float:
    train, validation = packed.status.train_images, packed.status.validation_images
    if not recipe.trains_trunk:
        head = recipe.epochs * HEAD_COST * recipe.views * train
        return _extraction_units(recipe, packed) + head
    units = recipe.epochs * (TRAINING_COST * train + validation)
    if _fits_head_first(recipe, gang):
        units += _units(recipes.head_of(recipe), packed, gang=gang)
    return units


def _extraction_units(recipe: Recipe, packed: Packed) -> int:
    return recipe.views * packed.status.train_images + packed.status.validation_images


def _fingerprint(run: Run, recipe: Recipe, packed: Packed, built: Built) -> str:
    numbers = dataclasses.replace(recipe, reason="")
    parts = (numbers, run.gang.nodes, packed.status.digest, packed.classes, built.status)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _save(run: Run, network: Network, *, packed: Packed, built: Built, directory: Path) -> None:
    model_files.save(network, directory)
    preprocessing = model_files.load_preprocessing(Path(built.directory))
    files.write_json(
        directory / model_files.PREPROCESSING,
        msgspec.structs.replace(preprocessing, resize_short=run.job.dataset.image.resize_short),
    )
    (directory / model_files.LABELS).write_text("".join(f"{name}\n" for name in packed.classes))
