"""Fits the network to the packed images (the stage `fit`): one loop for every recipe.

The validation images choose nothing here: the model is that of the last epoch.
"""

import hashlib
import itertools
import logging
import time
import zlib
from pathlib import Path

import msgspec
import mxnet as mx

from finetune_trainer import features, files, recipes, tasks, threads
from finetune_trainer.checkpoint import Checkpoint, Checkpoints, restore_states
from finetune_trainer.contract import CheckpointStatus, ExitCode, TrainerError
from finetune_trainer.dataset.read import Reader, real_rows
from finetune_trainer.handoff import BUILT, FITTED, PACKED, Built, Fitted, Packed
from finetune_trainer.model import network as model_files
from finetune_trainer.model.network import Network, is_finite
from finetune_trainer.progress import Work
from finetune_trainer.recipes import Recipe
from finetune_trainer.scoring import Score, contexts, labels_of, score
from finetune_trainer.signals import Signals
from finetune_trainer.stage import Run
from finetune_trainer.tasks import HEAD_COST, TRAINING_COST, Task

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 300.0
"""The most work that a lost node can cost, in time; epochs of large data sets are longer."""
INITIALIZERS = {
    "xavier": mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2),
    "zero": mx.init.Zero(),
}
EXTRACTION_BATCH = 32
"""Images at once through a trunk that does not train; speed is the same from 8 to 64."""


def fit(run: Run) -> None:
    """Fit by the job's recipe, from the newest checkpoint if there is one."""
    packed = files.read_json(run.paths.job / PACKED, Packed)
    built = files.read_json(run.paths.job / BUILT, Built)
    recipe = recipes.choose(run.job.training, devices=run.devices)
    log.info("recipe %s: %s", recipe.name, recipe.reason)
    with Signals() as signals:
        work = Work(run.reporter, signals, total=_units(recipe, packed))
        task = _task(run, packed, built, recipe, work)
        fingerprint = _fingerprint(recipe, packed, built)
        checkpoints = Checkpoints(run.paths.job / "checkpoints", fingerprint, run.check_owner)
        network, checkpoint = train(task, recipe, checkpoints=checkpoints, work=work)
    best = run.paths.job / "best"
    with files.whole_directory(best, check=run.check_owner) as staged:
        _save(run, network, packed=packed, built=built, directory=staged)
    run.hand_on(
        FITTED,
        Fitted(
            directory=str(best), recipe=recipe.name, epochs=recipe.epochs, checkpoint=checkpoint
        ),
    )


def train(
    task: Task, recipe: Recipe, *, checkpoints: Checkpoints, work: Work
) -> tuple[Network, CheckpointStatus | None]:
    """Run what is left of the epochs; return the whole network of the last one and its
    checkpoint.
    """
    start = checkpoints.newest() or Checkpoint()
    if start.status:
        log.info("resumed at epoch %d", start.epoch)
        work.reporter.checkpoint(start.status)
        work.skip_to(work.total * start.epoch / recipe.epochs)
    loop = _Loop(task, recipe, start=start, checkpoints=checkpoints, work=work)
    for epoch in range(start.epoch, recipe.epochs):
        loop.run_epoch(epoch)
    return task.whole(loop.network), loop.status


class _Loop:
    """A fit on its way from checkpoint to checkpoint."""

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        *,
        start: Checkpoint,
        checkpoints: Checkpoints,
        work: Work,
    ) -> None:
        self._task, self._recipe, self._start = task, recipe, start
        self._checkpoints, self._work = checkpoints, work
        self._module = _module(task, recipe, start)
        self._step, self._saved = start.step, time.monotonic()
        self.status = start.status
        """The newest checkpoint's."""

    @property
    def network(self) -> Network:
        """The task's network as it is now."""
        return Network(self._task.network.symbol, *self._module.get_params())

    def run_epoch(self, epoch: int) -> None:
        """Train on all images, save and measure."""
        task, recipe, work = self._task, self._recipe, self._work
        began = time.monotonic()
        work.note = f"epoch {epoch + 1} of {recipe.epochs}"
        seen = self._train_batches(epoch)
        # Each device has its own BatchNorm statistics. Their mean becomes everyone's now, so that
        # going on from the checkpoint is the same as going on.
        self._module.set_params(*self._module.get_params())
        network = self.network
        _stop_if_diverged(is_finite(network), recipe, epoch=epoch)
        is_mark = (epoch + 1) % recipe.checkpoint_epochs == 0 or epoch + 1 == recipe.epochs
        if is_mark:
            self._save(Checkpoint(epoch=epoch + 1, step=self._step))
        seconds = time.monotonic() - began
        validation = score(network, task.validation(), task.devices, seen=self._looked_at)
        if is_mark:
            log.info("Epoch[%d] Train-accuracy=%.6f", epoch, seen.accuracy)
            log.info("Epoch[%d] Time cost=%.3f", epoch, seconds)
            log.info("Epoch[%d] Validation-accuracy=%.6f", epoch, validation.accuracy)
        work.report(accuracy=validation.accuracy, loss=seen.cross_entropy)

    def _train_batches(self, epoch: int) -> Score:
        recipe, start, module = self._recipe, self._start, self._module
        began, seen = time.monotonic(), Score()
        done = start.batches if epoch == start.epoch else 0
        # Order and crops follow from the epoch, dropout from the step: a resumed run gets the same.
        batches = self._task.batches(_seed(recipe, f"epoch {epoch}"))
        for number, batch in enumerate(itertools.islice(batches, done, None), start=done + 1):
            mx.random.seed(_seed(recipe, f"step {self._step}"))
            module.forward_backward(batch)
            module.update()
            self._step += 1
            probabilities = module.get_outputs()[0].asnumpy()[: real_rows(batch)]
            seen.add(probabilities, labels_of(batch))
            _stop_if_diverged(seen.is_finite, recipe, epoch=epoch)
            if self._work.stopping or time.monotonic() - self._saved > CHECKPOINT_SECONDS:
                self._save(Checkpoint(epoch=epoch, batches=number, step=self._step))
            speed = seen.total / (time.monotonic() - began)
            self._work.advance(len(probabilities) * self._task.cost, images_per_second=speed)
        return seen

    def _save(self, at: Checkpoint) -> None:
        self.status = self._checkpoints.save(self._module, at)
        self._work.reporter.checkpoint(self.status)
        self._saved = time.monotonic()

    def _looked_at(self, rows: int) -> None:
        self._work.advance(rows * self._task.cost / TRAINING_COST)


def _module(task: Task, recipe: Recipe, start: Checkpoint) -> mx.mod.Module:
    """Return the module to train: as the checkpoint left it, or with a new last layer."""
    module = mx.mod.Module(task.network.symbol, context=task.devices)
    module.bind([("data", task.shape)], [("softmax_label", task.shape[:1])])
    mx.random.seed(_seed(recipe, "new layer"))
    module.init_params(
        INITIALIZERS[recipe.new_layer],
        arg_params=start.args or task.network.args,
        aux_params=start.aux or task.network.aux,
        allow_missing=True,
    )
    module.init_optimizer(
        kvstore="device",
        optimizer=recipe.optimizer,
        # Adam's correction of its averages depends on the number of updates.
        optimizer_params=recipe.optimizer_params | {"begin_num_update": start.step},
    )
    restore_states(module, start.states)
    return module


def _stop_if_diverged(is_finite: bool, recipe: Recipe, *, epoch: int) -> None:
    if not is_finite:
        raise TrainerError(
            ExitCode.Diverged,
            f"the network gives no numbers any more in epoch {epoch + 1} of {recipe.epochs}",
            "lower training.optimizer.learningRate, which was "
            f"{recipe.optimizer_params.get('learning_rate', 'the default')}; "
            "the last checkpoint is kept",
        )


def _seed(recipe: Recipe, purpose: str) -> int:
    return zlib.crc32(f"{recipe.seed} {purpose}".encode()) >> 1


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
        plan = threads.for_training(batch_size=readers["train"].batch_size, cpus=run.threads)
        devices = contexts(devices=run.devices, cpus=plan.contexts)
        return tasks.on_images(network, devices=devices, **readers)
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


def _fingerprint(recipe: Recipe, packed: Packed, built: Built) -> str:
    numbers = (
        recipe.name,
        recipe.epochs,
        recipe.batch_size,
        recipe.optimizer,
        recipe.seed,
        recipe.new_layer,
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
