"""Materials of a fit: the data set, the pretrained network and this pod's hardware, and the tasks
that recipes make of them. Nothing here trains.
"""

import dataclasses
import hashlib
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.dataset.lock import Tally, open_lock
from finetune_trainer.dataset.recordio import read_headers
from finetune_trainer.fit import batch_size, features, tasks
from finetune_trainer.fit.checkpoint import Checkpoint
from finetune_trainer.fit.features import Features, Labels
from finetune_trainer.fit.fit_progress import FitProgress, units
from finetune_trainer.fit.learner import INITIALIZERS
from finetune_trainer.fit.targets import Targets, balanced
from finetune_trainer.fit.tasks import Task
from finetune_trainer.model import network as model_files
from finetune_trainer.model.inference import contexts_of
from finetune_trainer.model.known_rows import with_known_rows
from finetune_trainer.model.last_blocks import find_cut
from finetune_trainer.model.memory import with_batches_that_fit
from finetune_trainer.model.network import Network
from finetune_trainer.model.reader import Reader, split_records
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run import files, threads
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import BUILT, PACKED, Built, Packed
from finetune_trainer.run.signals import Signals

log = logging.getLogger(__name__)

EXTRACTION_BATCH = 32
"""Images of a batch for feature extraction; the speed is the same from 8 to 64."""
CACHED_BYTES, CACHED_SHARE = 2**30, 0.25
"""Limits of cached activations, which stay in memory: bytes, and share of the container's limit."""


@dataclasses.dataclass(frozen=True)
class Materials:
    """The data set and the pretrained network of one job, for all its recipes."""

    run: Run
    packed: Packed
    built: Built
    signals: Signals
    progress: FitProgress
    held_out: NDArray[np.bool_] | None = None
    """For each training image, True if it is held out: trials are measured on these instead of the
    validation images. None: no image is held out."""
    extracted: dict[tuple[int, int], Features] = dataclasses.field(default_factory=dict)
    """Features of all images, by (views, seed): extracted once for all folds."""

    @classmethod
    def of(
        cls, run: Run, recipe: Recipe, signals: Signals, *, is_follower: bool = False
    ) -> "Materials":
        """Read the files of earlier stages. `is_follower`: this pod is not the gang's leader."""
        packed = files.read_json(run.paths.job / PACKED, Packed)
        total = units(recipe, packed.status)
        return cls(
            run,
            packed,
            files.read_json(run.paths.job / BUILT, Built),
            signals,
            FitProgress(run.reporter, signals, total=total, is_follower=is_follower),
        )

    def hold_out(self, images: NDArray[np.bool_]) -> "Materials":
        """Return these materials with training images held out."""
        return dataclasses.replace(self, held_out=images)

    @property
    def labels(self) -> Labels:
        """Labels of the training images, in the order of train.rec."""
        headers = read_headers(Path(self.packed.directory, "train.rec"))
        return np.fromiter((header.label for header in headers), np.int64)

    @property
    def network(self) -> Network:
        """The pretrained network, without parameters of its new layer."""
        return model_files.load(Path(self.built.directory))

    def network_with_known_rows(self, recipe: Recipe) -> Network:
        """Return the pretrained network, with the new layer's rows of classes that it knows."""
        directory, initializer = Path(self.built.directory), INITIALIZERS[recipe.new_layer]
        return with_known_rows(self.network, directory, initializer, seed=recipe.seed)

    def features(self, recipe: Recipe) -> Features:
        """Return the features that the new layer of a recipe trains on."""
        key = recipe.views, recipe.seed
        if key not in self.extracted:
            self.extracted[key] = self._extract(self.built.features, *key)
        return self._with_held_out(self.extracted[key])

    def task(self, recipe: Recipe, network: Network) -> Task:
        """Return the task of training a network by a recipe."""
        match recipe.trains:
            case "head":
                task = self._on_features(network, recipe)
            case "last blocks":
                task = self._on_last_blocks(network, recipe)
            case "all":
                task = self._on_images(network, recipe)
        pretrained = frozenset[str]() if recipe.trains == "head" else frozenset(self.network.args)
        targets = _targets(recipe, self.packed)
        return dataclasses.replace(task, targets=targets, pretrained=pretrained)

    def within_memory(self, recipe: Recipe) -> Recipe:
        """Return the recipe, with smaller batches if its own do not fit into the container."""
        if recipe.trains != "all" or self.run.gpus or self.run.memory is None:
            return recipe
        found = batch_size.within_memory(
            recipe,
            self.network.symbol,
            size=self.built.input_size,
            contexts=len(self._contexts(recipe.batch_size)),
            limit=self.run.memory,
        )
        if found != recipe:
            log.info(
                "batches of %d images, %d for each update: more do not fit into %d MiB of memory",
                *(found.batch_size, found.accumulation, self.run.memory >> 20),
            )
        return found

    def reason_against_last_blocks(self, recipe: Recipe) -> str:
        """Return why a recipe that trains the last blocks cannot run here; "": it can."""
        symbol, size = self.network.symbol, self.built.input_size
        cut = find_cut(symbol, input_size=size)
        if cut is None:
            return "the network has no layer below its last blocks that all paths pass"
        _, (shape,), _ = symbol.get_internals()[cut].infer_shape(data=(1, 3, size, size))
        images = recipe.views * self.packed.status.train_images
        images += self.packed.status.validation_images
        needed = 4 * math.prod(shape) * images
        room = int(min(CACHED_BYTES, CACHED_SHARE * (self.run.memory or math.inf)))
        if needed > room:
            return f"{needed >> 20} MiB of activations are more than {room >> 20} MiB"
        return ""

    def fingerprint(self, recipe: Recipe) -> str:
        """Return a digest of all that changes the trained bits: recipe, pods, data set, network."""
        nodes = self.run.gang.nodes
        numbers = dataclasses.replace(recipe, reason="")
        if nodes == 1:  # an update in smaller batches that are added up is the same fit
            update = recipe.batch_size * recipe.accumulation
            numbers = dataclasses.replace(numbers, batch_size=update, accumulation=1)
        data, model = self.packed.status.digest, self.built.status
        parts = (numbers, nodes, data, self.packed.classes, model)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def units(self, recipe: Recipe) -> float:
        """Return the work of a recipe and of those that it starts from, in units of FitProgress."""
        return units(recipe, self.packed.status)

    def count_done(self, recipe: Recipe) -> None:
        """Count all work of a recipe as done by an earlier attempt."""
        self.progress.skip_to(self.units(recipe))

    def count_resumed(self, recipe: Recipe, start: Checkpoint) -> None:
        """Count the work up to a checkpoint of a recipe as done."""
        if start.status:
            alone = self.units(dataclasses.replace(recipe, start=None))
            left = alone * (1 - start.epoch / recipe.last_epoch)
            self.progress.skip_to(self.units(recipe) - left)

    def clear(self) -> None:
        """Remove the record files that were written for held-out images."""
        shutil.rmtree(self._held_out_files, ignore_errors=True)

    @property
    def _held_out_files(self) -> Path:
        return self.run.paths.job / "held-out"

    def _on_features(self, network: Network, recipe: Recipe) -> Task:
        return tasks.on_features(
            network,
            self.features(recipe),
            batch_size=recipe.batch_size,
            contexts=contexts_of(gpus=self.run.gpus)[:1],
            is_balanced=recipe.balanced_sampling,
        )

    def _on_last_blocks(self, network: Network, recipe: Recipe) -> Task:
        cut = find_cut(network.symbol, input_size=self.built.input_size)
        assert cut is not None
        found = self._with_held_out(self._extract(cut, recipe.views, recipe.seed))
        contexts = self._contexts(min(recipe.batch_size, len(found.train)))
        return tasks.on_last_blocks(network, cut, found, recipe, contexts=contexts)

    def _on_images(self, network: Network, recipe: Recipe) -> Task:
        train, validation = self._readers(recipe.batch_size)
        train = tasks.limit_to_smallest_shard(train, self.run.gang)
        return tasks.on_images(
            network,
            recipe,
            train=train,
            validation=validation,
            contexts=self._contexts(train.batch_size),
            gang=self.run.gang,
        )

    def _contexts(self, batch_size: int) -> list[Any]:
        plan = threads.for_training(batch_size=batch_size, cpus=self.run.threads)
        return contexts_of(gpus=self.run.gpus, cpus=plan.contexts)

    def _with_held_out(self, found: Features) -> Features:
        return found if self.held_out is None else found.hold_out(self.held_out)

    def _extract(self, output: str, views: int, seed: int) -> Features:
        """Return an output of the pretrained network for each view of each image, from the cache
        if it is there.
        """
        network = self.network
        trunk = Network(network.symbol.get_internals()[output], network.args, network.aux)
        self.progress.note = "extracting features"
        cpus = threads.contexts_in_use(cpus=self.run.threads)
        contexts = contexts_of(gpus=self.run.gpus, cpus=cpus)

        def extract(images: int) -> Features:
            train, validation = self._readers(images, all_images=True)
            extraction = features.Extraction(
                model=Path(self.built.directory),
                trunk=trunk,
                views=views,
                seed=seed,
                train=train,
                validation=validation,
            )
            return features.cached(extraction, contexts, on_batch=self.progress.advance)

        return with_batches_that_fit(extract, EXTRACTION_BATCH, what="extracting features")

    def _readers(self, images: int, *, all_images: bool = False) -> tuple[Reader, Reader]:
        """Return readers of the training and the measured images, in batches of so many `images`
        for each device.
        """
        directory = Path(self.packed.directory)
        records = directory / "train.rec", directory / "val.rec"
        if self.held_out is not None and not all_images:
            records = split_records(records[0], self.held_out, self._held_out_files)
        preprocessing = model_files.load_preprocessing(Path(self.built.directory))
        train, validation = (
            Reader.of(
                record,
                preprocessing,
                batch_size=images * max(1, self.run.gpus),
                threads=self.run.threads,
            )
            for record in records
        )
        return train, validation


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
