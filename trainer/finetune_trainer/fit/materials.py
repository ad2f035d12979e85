"""Makes what a recipe trains of what earlier stages left, after the recipes it starts from."""

import dataclasses
import hashlib
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.lock import Tally, open_lock
from finetune_trainer.dataset.recordio import read_heads
from finetune_trainer.fit import batch_size, features, tasks
from finetune_trainer.fit.checkpoint import Checkpoint
from finetune_trainer.fit.features import Features, Labels
from finetune_trainer.fit.fit_progress import Work
from finetune_trainer.fit.learner import INITIALIZERS
from finetune_trainer.fit.loop import Trained, train
from finetune_trainer.fit.targets import Targets, balanced
from finetune_trainer.fit.tasks import HEAD_COST, TOP_COST, TRAINING_COST, Task
from finetune_trainer.model import network as model_files
from finetune_trainer.model.inference import contexts
from finetune_trainer.model.known_rows import with_known_rows
from finetune_trainer.model.last_blocks import cut_below
from finetune_trainer.model.memory import with_room
from finetune_trainer.model.network import Network
from finetune_trainer.model.reader import Reader, divided
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run import files, threads
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import Built, Packed

log = logging.getLogger(__name__)

EXTRACTION_BATCH = 32
"""Images at once through a trunk that does not train; speed is the same from 8 to 64."""
CACHED_BYTES, CACHED_SHARE = 2**30, 0.25
"""Of activations, at most, in all and of the container's memory: they are held there."""


@dataclasses.dataclass(frozen=True)
class Course:
    """Recipes on one data set and network."""

    run: Run
    packed: Packed
    built: Built
    work: Work
    held: NDArray[np.bool_] | None = None
    """For each training image whether it is kept aside, to be measured on instead of the
    validation images."""
    looked: dict[tuple[int, int], Features] = dataclasses.field(default_factory=dict)
    """What heads train on, by views and seed: read once for all folds."""

    @property
    def labels(self) -> Labels:
        """The training images' labels."""
        heads = read_heads(Path(self.packed.directory, "train.rec"))
        return np.fromiter((head.label for head in heads), np.int64)

    def task(self, recipe: Recipe, *, is_new: bool = True) -> Task:
        """Return what the recipe trains; a new fit starts from the recipe's start."""
        network = self._network
        pretrained = frozenset(network.args)
        if recipe.start and is_new:
            network = self._after(recipe.start)
        elif is_new:
            directory, initializer = Path(self.built.directory), INITIALIZERS[recipe.new_layer]
            network = with_known_rows(network, directory, initializer, seed=recipe.seed)
        match recipe.trains:
            case "head":
                task = self._on_features(network, recipe)
            case "top":
                task = self._on_top(network, recipe)
            case "all":
                task = self._on_images(network, recipe)
        task = dataclasses.replace(task, targets=_targets(recipe, self.packed))
        return task if recipe.trains == "head" else dataclasses.replace(task, pretrained=pretrained)

    def within_memory(self, recipe: Recipe) -> Recipe:
        """Return the recipe, with smaller batches if those would not fit into the container."""
        if recipe.trains != "all" or self.run.devices or self.run.memory is None:
            return recipe
        found = batch_size.within(
            recipe,
            self._network.symbol,
            size=self.built.input_size,
            contexts=len(self._devices(recipe.batch_size)),
            limit=self.run.memory,
        )
        if found != recipe:
            log.info(
                "batches of %d images, %d for each update: more do not fit into %d MiB of memory",
                *(found.batch_size, found.accumulation, self.run.memory >> 20),
            )
        return found

    def trained(self, recipe: Recipe) -> tuple[Task, Trained]:
        """Return what a recipe trained from its start on, and what came of it; nothing is saved."""

        def trained(part: Recipe) -> tuple[Task, Trained]:
            task = self.task(part)
            return task, train(task, part, start=Checkpoint(), checkpoints=None, work=self.work)

        return batch_size.trained_with_room(trained, self.within_memory(recipe))

    def features(self, recipe: Recipe) -> Features:
        """Return what the head of a recipe trains on."""
        key = recipe.views, recipe.seed
        if key not in self.looked:
            self.looked[key] = self._cached(self.built.features, *key)
        return self._apart(self.looked[key])

    def without_top(self, recipe: Recipe) -> str:
        """Return why a recipe that trains the last blocks cannot run here, "" if it can."""
        symbol, size = self._network.symbol, self.built.input_size
        cut = cut_below(symbol, input_size=size)
        if cut is None:
            return "the network has no last blocks that images pass one after the other"
        _, (shape,), _ = symbol.get_internals()[cut].infer_shape(data=(1, 3, size, size))
        images = recipe.views * self.packed.status.train_images
        images += self.packed.status.validation_images
        needed = 4 * math.prod(shape) * images
        room = int(min(CACHED_BYTES, CACHED_SHARE * (self.run.memory or math.inf)))
        if needed > room:
            return f"{needed >> 20} MiB of activations are more than {room >> 20} MiB"
        return ""

    def fingerprint(self, recipe: Recipe) -> str:
        """Return what differs for whatever gives another fit."""
        nodes = self.run.gang.nodes
        numbers = dataclasses.replace(recipe, reason="")
        if nodes == 1:  # in how many parts the batch of an update is read is no other fit
            update = recipe.batch_size * recipe.accumulation
            numbers = dataclasses.replace(numbers, batch_size=update, accumulation=1)
        data, model = self.packed.status.digest, self.built.status
        parts = (numbers, nodes, data, self.packed.classes, model)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def skip(self, recipe: Recipe, start: Checkpoint) -> None:
        """Count what a checkpoint has done of a recipe already."""
        if start.status:
            alone = units(dataclasses.replace(recipe, start=None), self.packed)
            left = alone * (1 - start.epoch / recipe.last_epoch)
            self.work.skip_to(units(recipe, self.packed) - left)

    def clear(self) -> None:
        """Remove what was made for images that are held."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    def forget_starts(self) -> None:
        """Remove what recipes that are done have started from."""
        shutil.rmtree(self._starts, ignore_errors=True)

    @property
    def _scratch(self) -> Path:
        return self.run.paths.job / "held"

    @property
    def _starts(self) -> Path:
        return self.run.paths.job / "starts"

    @property
    def _network(self) -> Network:
        return model_files.load(Path(self.built.directory))

    def _after(self, recipe: Recipe) -> Network:
        """Return the network that a recipe leaves, or its own start if it cannot run here. What
        takes more than seconds is kept for attempts that come before the first checkpoint.
        """
        if recipe.trains == "top" and recipe.start and (why := self.without_top(recipe)):
            log.info("%s: left out, %s", recipe.name, why)
            return self._after(recipe.start)
        if recipe.trains == "head" or self.held is not None:
            return self._trained_start(recipe)
        kept = self._starts / self.fingerprint(recipe)
        if kept.is_dir():
            self.work.skip_to(units(recipe, self.packed))
        else:
            network = self._trained_start(recipe)
            with files.whole_directory(kept, check=self.run.check_owner) as staged:
                model_files.save(network, staged)
        return model_files.load(kept)

    def _trained_start(self, recipe: Recipe) -> Network:
        """Return what a start trains. The user's learning rate is not of it and mends nothing."""
        try:
            return self.trained(recipe)[1].network
        except TrainerError as error:
            if error.code != ExitCode.Diverged or isinstance(error.__cause__, TrainerError):
                raise  # the second: it is of a start of this start
            wider = (
                "set training.precision to float32, or " if recipe.precision != "float32" else ""
            )
            again = "" if recipe.retries else "set training.onDivergence to Retry, or "
            raise TrainerError(
                error.code,
                f"{recipe.name}, which the recipe starts from: {error.message}",
                f"{wider}{again}choose another training.recipe",
            ) from error

    def _on_features(self, network: Network, recipe: Recipe) -> Task:
        return tasks.on_features(
            network,
            self.features(recipe),
            batch_size=recipe.batch_size,
            devices=contexts(devices=self.run.devices)[:1],
            is_balanced=recipe.balanced_sampling,
        )

    def _on_top(self, network: Network, recipe: Recipe) -> Task:
        cut = cut_below(network.symbol, input_size=self.built.input_size)
        assert cut is not None
        found = self._apart(self._cached(cut, recipe.views, recipe.seed))
        devices = self._devices(min(recipe.batch_size, len(found.train)))
        return tasks.on_top(network, cut, found, recipe, devices=devices)

    def _on_images(self, network: Network, recipe: Recipe) -> Task:
        train, validation = self._readers(recipe.batch_size)
        train = tasks.fair(train, self.run.gang)
        return tasks.on_images(
            network,
            recipe,
            train=train,
            validation=validation,
            devices=self._devices(train.batch_size),
            gang=self.run.gang,
        )

    def _devices(self, batch_size: int) -> list[Any]:
        plan = threads.for_training(batch_size=batch_size, cpus=self.run.threads)
        return contexts(devices=self.run.devices, cpus=plan.contexts)

    def _apart(self, found: Features) -> Features:
        return found if self.held is None else found.apart(self.held)

    def _cached(self, output: str, views: int, seed: int) -> Features:
        """Return an output of the pretrained network for each view of each image."""
        network = self._network
        trunk = Network(network.symbol.get_internals()[output], network.args, network.aux)
        self.work.note = "looking at the images"
        cpus = threads.contexts_in_use(cpus=self.run.threads)
        devices = contexts(devices=self.run.devices, cpus=cpus)

        def look(share: int) -> Features:
            train, validation = self._readers(share, whole=True)
            extraction = features.Extraction(
                model=Path(self.built.directory),
                trunk=trunk,
                views=views,
                seed=seed,
                train=train,
                validation=validation,
            )
            return features.cached(extraction, devices, seen=self.work.advance)

        return with_room(look, EXTRACTION_BATCH, what="looking at the images")

    def _readers(self, share: int, *, whole: bool = False) -> tuple[Reader, Reader]:
        directory = Path(self.packed.directory)
        records = directory / "train.rec", directory / "val.rec"
        if self.held is not None and not whole:
            records = divided(records[0], self.held, self._scratch)
        preprocessing = model_files.load_preprocessing(Path(self.built.directory))
        train, validation = (
            Reader.of(
                record,
                preprocessing,
                batch_size=share * max(1, self.run.devices),
                threads=self.run.threads,
            )
            for record in records
        )
        return train, validation


def units(recipe: Recipe, packed: Packed) -> float:
    """Return the work of a recipe and of those that it starts from, in images through the trunk."""
    train, validation = packed.status.train_images, packed.status.validation_images
    if recipe.trains == "all":
        own = recipe.last_epoch * (TRAINING_COST * train + validation)
    else:
        cost = HEAD_COST if recipe.trains == "head" else TOP_COST
        own = recipe.views * train + validation + recipe.epochs * cost * recipe.views * train
    return own + (units(recipe.start, packed) if recipe.start else 0)


def _targets(recipe: Recipe, packed: Packed) -> Targets | None:
    if not recipe.needs_targets:
        return None
    classes = len(packed.classes)
    weights = None
    if recipe.balanced:
        with open_lock(Path(packed.directory)) as (_, photos):
            images = Tally.of(photos).splits
        weights = balanced(np.array([images[label, "train"] for label in range(classes)]))
    return Targets(
        classes,
        smoothing=recipe.smoothing,
        mixup=recipe.mixup,
        cutmix=recipe.cutmix,
        weights=weights,
    )
