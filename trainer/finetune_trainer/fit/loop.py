"""The loop that fits a network: from a checkpoint to the last epoch. In a gang every pod runs it in
step with the others; its leader alone saves, measures and judges.
"""

import dataclasses
import hashlib
import itertools
import logging
import math
import time
import zlib
from collections.abc import Callable
from typing import NamedTuple

import mxnet as mx

from finetune_trainer.contract import CheckpointStatus, ExitCode, TrainerError
from finetune_trainer.evaluate.scoring import Score, score
from finetune_trainer.fit.averaging import Average
from finetune_trainer.fit.checkpoint import Checkpoint, Checkpoints
from finetune_trainer.fit.fit_progress import Work
from finetune_trainer.fit.learner import Learner
from finetune_trainer.fit.stall import Stall
from finetune_trainer.fit.tasks import TRAINING_COST, Task
from finetune_trainer.model.inference import labels_of
from finetune_trainer.model.network import Network, is_finite
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run.history import Row

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 300.0
"""The most work that a lost node can cost, in time; epochs of large data sets are longer."""


Ends = Callable[[int, float], bool]
"""Told an epoch, from 1, and its accuracy on the images to measure on: whether it is the last."""


class Trained(NamedTuple):
    """What a fit ends with."""

    network: Network
    """The whole network of the last epoch, or the mean of the last ones."""
    of_task: Network
    """The same, as the task has it: of recipes that train a part, that part."""
    checkpoint: CheckpointStatus | None
    """The newest, which is of this network."""
    slowed: bool
    """Whether it diverged, and went on at a lower rate."""


def train(
    task: Task,
    recipe: Recipe,
    *,
    start: Checkpoint,
    checkpoints: Checkpoints | None,
    work: Work,
    ends: Ends | None = None,
) -> Trained:
    """Run what is left of the epochs. Without `checkpoints`, only train: the leader of the gang
    does the rest. With `ends` it is a trial, whose checkpoints are not the job's.
    """
    if recipe.retries and task.pods > 1:
        # The others would go on where the leader goes back.
        raise TrainerError(
            ExitCode.InvalidSpec,
            "training.onDivergence is Retry, which is not for trainer.numNodes > 1",
            "leave it out",
        )
    try:
        return _train(task, recipe, start=start, checkpoints=checkpoints, work=work, ends=ends)
    except TrainerError as error:
        if error.code != ExitCode.Diverged or not recipe.retries or start.slowed:
            raise
        log.warning("%s: it goes on from the last good checkpoint, at a tenth of the rate", error)
    # An attempt that is lost before its next checkpoint comes to this place again.
    last = (checkpoints and checkpoints.newest()) or start
    slowed = dataclasses.replace(last, slowed=True)
    return _train(task, recipe, start=slowed, checkpoints=checkpoints, work=work, ends=ends)


def _train(
    task: Task,
    recipe: Recipe,
    *,
    start: Checkpoint,
    checkpoints: Checkpoints | None,
    work: Work,
    ends: Ends | None,
) -> Trained:
    is_trial = ends is not None
    if start.status:
        log.info("resumed at epoch %d", start.epoch)
        if not is_trial:
            work.reporter.checkpoint(start.status)
    loop = _Loop(task, recipe, start=start, checkpoints=checkpoints, work=work, is_trial=is_trial)
    for epoch in range(start.epoch, recipe.last_epoch):
        accuracy = loop.run_epoch(epoch)
        if ends and accuracy is not None and ends(epoch + 1, accuracy):
            break
    if task.pods > 1:
        log.info("weights of this pod, the same on all: %s", _digest(loop.learner.network))
    network = loop.network
    return Trained(task.whole(network), network, loop.status, start.slowed)


class _Loop:
    """A fit on its way from checkpoint to checkpoint."""

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        *,
        start: Checkpoint,
        checkpoints: Checkpoints | None,
        work: Work,
        is_trial: bool,
    ) -> None:
        self._task, self._recipe, self._start = task, recipe, start
        self._checkpoints, self._work, self._is_trial = checkpoints, work, is_trial
        self._judges = task.pods == 1 or checkpoints is not None
        """Of a gang the leader does."""
        self.learner = Learner(task, recipe, start, seed=_seed(recipe, "new layer"))
        self._average = Average(recipe.averaging, self.learner, start.average)
        self._step, self._saved = start.step, time.monotonic()
        self.status = start.status
        """The newest checkpoint's."""

    @property
    def network(self) -> Network:
        """The task's network as it would be saved now."""
        return self._average.network

    def run_epoch(self, epoch: int) -> float | None:
        """Train on all images, save and measure; return the accuracy."""
        task, recipe, work = self._task, self._recipe, self._work
        began = time.monotonic()
        work.note = f"epoch {epoch + 1} of {recipe.last_epoch}"
        if self._is_trial:
            work.note += ", to find out when to stop"
        stall = Stall()
        seen = self._train_batches(epoch, stall)
        stalled = stall.seconds / (time.monotonic() - began)
        # Each device has its own BatchNorm statistics. Their mean becomes everyone's now, so that
        # going on from the checkpoint is the same as going on.
        self.learner.share_statistics()
        self._average.after_epoch(epoch + 1, epochs=recipe.last_epoch)
        if self._judges:
            self._check(is_finite(self.learner.network), epoch)
        if self._checkpoints is None:
            return None
        is_mark = (epoch + 1) % recipe.checkpoint_epochs == 0 or epoch + 1 == recipe.last_epoch
        if is_mark and not self._is_trial:
            self._save(epoch=epoch + 1)
        seconds = time.monotonic() - began
        row = Row(epoch + 1, seen.accuracy, seen.cross_entropy, None, seconds)
        if is_mark:  # who resumes here does not measure again
            self._checkpoints.note(row)
        validation = score(self.network, task.validation(), task.devices, seen=self._looked_at)
        if is_mark:
            log.info("Epoch[%d] Train-accuracy=%.6f", epoch, seen.accuracy)
            log.info("Epoch[%d] Time cost=%.3f", epoch, seconds)
            log.info("Epoch[%d] Validation-accuracy=%.6f", epoch, validation.accuracy)
        self._checkpoints.note(dataclasses.replace(row, validation_accuracy=validation.accuracy))
        if is_mark and self._is_trial:  # which needs the accuracy of every epoch
            self._save(epoch=epoch + 1)
        measured = {"accuracy": validation.accuracy, "loss": seen.cross_entropy}
        if recipe.trains_trunk:
            log.info("Epoch[%d] Data-stall=%.4f", epoch, stalled)
            measured["data-stall"] = stalled
        work.report(measured)
        return validation.accuracy

    def _train_batches(self, epoch: int, stall: Stall) -> Score:
        task, recipe, start = self._task, self._recipe, self._start
        began, rows, size = time.monotonic(), 0, task.shape[0]
        resumed = start if epoch == start.epoch else Checkpoint()
        seen, done = dataclasses.replace(resumed.seen), math.ceil(resumed.rows / size)
        # Order and crops follow from the epoch, dropout from the batch: a resumed run gets the
        # same.
        batches = task.batches(_seed(recipe, f"epoch {epoch}{task.share}"))
        rest = stall.watch(itertools.islice(batches, done, None))
        for number, batch in enumerate(rest, start=done + 1):
            seed = _seed(recipe, f"step {epoch * task.steps + number - 1}{task.share}")
            mx.random.seed(seed)
            targets = task.targets.of(batch, seed=seed) if task.targets else batch
            probabilities = self.learner.learn(targets)
            seen.add(probabilities, labels_of(batch))
            rows += len(probabilities)
            if number % recipe.accumulation and number < task.steps:
                continue
            self._update(epoch, number)
            if self._judges:
                self._check(seen.is_finite, epoch)
            if self._work.stopping or time.monotonic() - self._saved > CHECKPOINT_SECONDS:
                self._save(epoch=epoch, rows=number * size, seen=seen)
            speed = task.pods * (seen.total - resumed.seen.total) / (time.monotonic() - began)
            units, rows = task.pods * rows * task.cost, 0
            self._work.advance(units, images_per_second=speed)
        return seen

    def _update(self, epoch: int, number: int) -> None:
        """Update the weights by the batches up to the epoch's `number`-th."""
        recipe = self._recipe
        batches = (number - 1) % recipe.accumulation + 1
        # Of their middle: neither the first nor the last update is for nothing.
        place = epoch + (number - batches / 2) / self._task.steps
        self.learner.update(rate=recipe.schedule.rate(place, epochs=recipe.epochs))
        self._step += 1
        self._average.after_step(self._step)

    def _check(self, is_finite: bool, epoch: int) -> None:
        if is_finite:
            return
        recipe = self._recipe
        rate = recipe.optimizer_params.get("learning_rate", "the default")
        wider = "set training.precision to float32, or " if recipe.precision == "float16" else ""
        raise TrainerError(
            ExitCode.Diverged,
            f"the network gives no numbers any more in epoch {epoch + 1} of {recipe.last_epoch}",
            f"{wider}lower training.optimizer.learningRate, which was {rate}"
            f"{', and then a tenth of that' if self._start.slowed else ''}; "
            "the last checkpoint is kept",
        )

    def _save(self, *, epoch: int, rows: int = 0, seen: Score | None = None) -> None:
        if self._checkpoints is None:
            return
        self._check(is_finite(self.learner.network), epoch)
        at = Checkpoint(
            epoch=epoch,
            rows=rows,
            step=self._step,
            average=self._average.arrays,
            slowed=self._start.slowed,
            seen=seen or Score(),
        )
        self.status = self._checkpoints.save(self.learner.module, at)
        if not self._is_trial:
            self._work.reporter.checkpoint(self.status)
        self._saved = time.monotonic()

    def _looked_at(self, rows: int) -> None:
        self._work.advance(rows * self._task.cost / TRAINING_COST)


def _digest(network: Network) -> str:
    """Name the weights; BatchNorm's moving statistics are each pod's own."""
    digest = hashlib.sha256()
    for name in sorted(network.args):
        digest.update(network.args[name].asnumpy().tobytes())
    return digest.hexdigest()[:16]


def _seed(recipe: Recipe, purpose: str) -> int:
    return zlib.crc32(f"{recipe.seed} {purpose}".encode()) >> 1
