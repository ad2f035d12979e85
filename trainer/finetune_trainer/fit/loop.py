"""The epochs of a fit, from a checkpoint to the last epoch.

In a gang all pods run the same epochs in step; the leader alone saves checkpoints, measures the
accuracy and checks for a NaN loss.
"""

import dataclasses
import hashlib
import itertools
import logging
import math
import time
import zlib
from typing import Any, NamedTuple

import mxnet as mx
from numpy.typing import NDArray

from finetune_trainer.contract import CheckpointStatus, ExitCode, TrainerError
from finetune_trainer.evaluate.scoring import Score, score_all
from finetune_trainer.fit.averaging import Average
from finetune_trainer.fit.checkpoint import Checkpoint, Checkpoints
from finetune_trainer.fit.early_stopping import Patience
from finetune_trainer.fit.fit_progress import TRAINING_COST, FitProgress
from finetune_trainer.fit.learner import Learner
from finetune_trainer.fit.tasks import Task
from finetune_trainer.model.inference import labels_of
from finetune_trainer.model.network import Network, is_finite
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run.history import Row

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 300.0
"""Longest time between checkpoints within an epoch: a lost node costs no more work than this."""


class TrainResult(NamedTuple):
    """A trained network, with the recipe and the task that it comes from."""

    recipe: Recipe
    """The recipe as it was trained, with batches that fit into memory."""
    task: Task
    network: Network
    """The whole network: after the last epoch, or its mean by training.weightAveraging."""
    task_network: Network
    """The network of the task: the whole network, its last blocks, or its new layer."""
    checkpoint: CheckpointStatus | None
    """The newest checkpoint, which has these weights; None: nothing was saved."""
    slowed: bool
    """True if the fit diverged and went on at a lower learning rate."""


def run_epochs(
    task: Task,
    recipe: Recipe,
    start: Checkpoint,
    checkpoints: Checkpoints | None,
    progress: FitProgress,
    patience: Patience | None = None,
) -> TrainResult:
    """Train from `start` to the recipe's last epoch.

    Without `checkpoints` nothing is saved and the accuracy of the epochs is not measured. With
    `patience` the fit is a trial: it may end earlier, and its checkpoints are not the job's.
    """
    loop = _Loop(task, recipe, start, checkpoints, progress, is_trial=patience is not None)
    earlier = checkpoints.epochs()[: start.epoch] if checkpoints else ()
    if start.status:
        log.info("resumed at epoch %d", start.epoch)
        if not patience:
            progress.reporter.checkpoint(start.status)
    if patience:
        patience.resume(earlier)
    elif earlier:
        progress.report_epoch(earlier[-1])
    for epoch in range(start.epoch, recipe.last_epoch):
        if patience and patience.is_over:
            break
        accuracy = loop.run_epoch(epoch)
        if patience and accuracy is not None:
            patience.add(epoch + 1, accuracy)
    progress.report()  # the work since the last report: a gang's follower reports no epochs
    if task.pods > 1:
        log.info("weights of this pod, the same on all: %s", _digest(loop.learner.network))
    network = loop.network
    return TrainResult(recipe, task, task.whole(network), network, loop.status, start.slowed)


class _Loop:
    """The state of a fit between epochs."""

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        start: Checkpoint,
        checkpoints: Checkpoints | None,
        progress: FitProgress,
        *,
        is_trial: bool,
    ) -> None:
        self._task, self._recipe, self._start = task, recipe, start
        self._checkpoints, self._progress, self._is_trial = checkpoints, progress, is_trial
        self._is_leader = task.pods == 1 or checkpoints is not None
        """True for a pod alone and for a gang's leader, which checks the loss for all pods."""
        self.learner = Learner(task, recipe, start, seed=_seed(recipe, "new layer"))
        self._average = Average(recipe.averaging, self.learner, start.average)
        self._updates, self._saved = start.step, time.monotonic()
        self.status = start.status
        """Status of the newest checkpoint."""

    @property
    def network(self) -> Network:
        """The task's network with its present weights, or their mean."""
        return self._average.network

    def run_epoch(self, epoch: int) -> float | None:
        """Train on all images, save a checkpoint where one is due, and return the accuracy on the
        task's validation images; None: this pod does not measure it.
        """
        task, recipe, progress = self._task, self._recipe, self._progress
        began = time.monotonic()
        progress.note = f"epoch {epoch + 1} of {recipe.last_epoch}"
        waited = progress.stall.seconds
        score, speed = self._train_batches(epoch)
        stalled = (progress.stall.seconds - waited) / (time.monotonic() - began)
        # Each device has its own BatchNorm statistics. All devices get their mean now, so that a
        # resumed fit, which starts from the mean, has the same bits.
        self.learner.share_statistics()
        self._average.after_epoch(epoch + 1, epochs=recipe.last_epoch)
        if self._is_leader:
            self._raise_if_diverged(is_finite(self.learner.network), epoch)
        if self._checkpoints is None:
            return None
        saves = (epoch + 1) % recipe.checkpoint_epochs == 0 or epoch + 1 == recipe.last_epoch
        if saves and not self._is_trial:
            self._save(epoch=epoch + 1)
        row = Row(
            epoch=epoch + 1,
            train_accuracy=score.accuracy,
            train_loss=score.cross_entropy,
            validation_accuracy=None,
            seconds=time.monotonic() - began,
            learning_rate=self.learner.learning_rate * self._rate(epoch, task.steps),
            images_per_second=speed,
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )
        if saves:  # an attempt that resumes here does not measure this epoch again
            self._checkpoints.add_epoch(row)
        validation = score_all(
            self.network, task.validation(), task.contexts, on_batch=self._count_validation
        )
        if saves:
            log.info("Epoch[%d] Train-accuracy=%.6f", epoch, score.accuracy)
            log.info("Epoch[%d] Time cost=%.3f", epoch, row.seconds)
            log.info("Epoch[%d] Validation-accuracy=%.6f", epoch, validation.accuracy)
        row = dataclasses.replace(row, validation_accuracy=validation.accuracy)
        self._checkpoints.add_epoch(row)
        # A trial saves after it has measured: resumed, it needs the accuracy of every epoch.
        if saves and self._is_trial:
            self._save(epoch=epoch + 1)
        if recipe.trains_trunk:
            log.info("Epoch[%d] Data-stall=%.4f", epoch, stalled)
        if self._is_trial:  # its figures are not the job's
            progress.report()
        else:
            progress.report_epoch(row, data_stall=stalled if recipe.trains_trunk else None)
        return validation.accuracy

    def _train_batches(self, epoch: int) -> tuple[Score, float | None]:
        """Train on the images that are left of the epoch; return the epoch's score, and the images
        per second; None: no image was left.
        """
        task, recipe, start = self._task, self._recipe, self._start
        began, rows, size, speed = time.monotonic(), 0, task.shape[0], None
        resumed = start if epoch == start.epoch else Checkpoint()
        score, batches_done = dataclasses.replace(resumed.score), math.ceil(resumed.rows / size)
        # The epoch seeds order and crops, the batch seeds dropout: a resumed fit has the same bits.
        batches = task.batches(_seed(recipe, f"epoch {epoch}{task.seed_suffix}"))
        remaining = self._progress.stall.watch(itertools.islice(batches, batches_done, None))
        for number, batch in enumerate(remaining, start=batches_done + 1):
            probabilities = self._step(epoch, number, batch)
            score.add(probabilities, labels_of(batch))
            rows += len(probabilities)
            if not self._ends_update(number):
                continue
            if self._is_leader:
                self._raise_if_diverged(score.is_finite, epoch)
            if self._progress.stopping or time.monotonic() - self._saved > CHECKPOINT_SECONDS:
                self._save(epoch=epoch, rows=number * size, score=score)
            speed = task.pods * (score.total - resumed.score.total) / (time.monotonic() - began)
            units, rows = task.pods * rows * task.cost, 0
            self._progress.advance(units, images_per_second=speed)
        return score, speed

    def _step(self, epoch: int, number: int, batch: mx.io.DataBatch) -> NDArray[Any]:
        """Learn the `number`-th batch of an epoch, and update the weights if an update ends with
        it; return the probabilities of its rows.
        """
        task, work, began = self._task, self._progress.work, time.perf_counter()
        purpose = f"step {epoch * task.steps + number - 1}{task.seed_suffix}"
        seed = _seed(self._recipe, purpose)
        mx.random.seed(seed)
        targets = task.targets.of(batch, seed=seed) if task.targets else batch
        probabilities = self.learner.learn(targets)
        if self._ends_update(number):
            self.learner.update(rate=self._rate(epoch, number))
            self._updates += 1
            self._average.after_step(self._updates)
            work.steps += 1
        work.images += len(probabilities)
        work.step_seconds += time.perf_counter() - began
        return probabilities

    def _ends_update(self, number: int) -> bool:
        """Return True if the weights are updated after the `number`-th batch of an epoch."""
        return number % self._recipe.accumulation == 0 or number == self._task.steps

    def _rate(self, epoch: int, number: int) -> float:
        """Return the factor of the learning rate for the update after the `number`-th batch."""
        recipe = self._recipe
        batches = (number - 1) % recipe.accumulation + 1
        # The rate at the middle of these batches: at either end of the schedule it could be 0.
        position = epoch + (number - batches / 2) / self._task.steps
        return recipe.schedule.rate(position, epochs=recipe.epochs)

    def _raise_if_diverged(self, is_finite: bool, epoch: int) -> None:
        """Raise Diverged with a hint unless loss or weights are finite."""
        if is_finite:
            return
        recipe = self._recipe
        rate = recipe.optimizer_params.get("learning_rate", "the default")
        wider = "set training.precision to float32, or " if recipe.precision == "float16" else ""
        raise TrainerError(
            ExitCode.Diverged,
            f"the loss is NaN in epoch {epoch + 1} of {recipe.last_epoch}",
            f"{wider}lower training.optimizer.learningRate, which was {rate}"
            f"{', and then a tenth of that' if self._start.slowed else ''}; "
            "the last checkpoint is kept",
        )

    def _save(self, *, epoch: int, rows: int = 0, score: Score | None = None) -> None:
        if self._checkpoints is None:
            return
        self._raise_if_diverged(is_finite(self.learner.network), epoch)
        checkpoint = Checkpoint(
            epoch=epoch,
            rows=rows,
            step=self._updates,
            average=self._average.arrays,
            slowed=self._start.slowed,
            score=score or Score(),
        )
        work, began = self._progress.work, time.perf_counter()
        self.status = self._checkpoints.save(self.learner.module, checkpoint)
        work.checkpoints += 1
        work.checkpoint_seconds += time.perf_counter() - began
        if not self._is_trial:
            self._progress.reporter.checkpoint(self.status)
        self._saved = time.monotonic()

    def _count_validation(self, rows: int) -> None:
        self._progress.advance(rows * self._task.cost / TRAINING_COST)


def _digest(network: Network) -> str:
    """Return a digest of the weights, without BatchNorm's statistics, which differ between pods."""
    digest = hashlib.sha256()
    for name in sorted(network.args):
        digest.update(network.args[name].asnumpy().tobytes())
    return digest.hexdigest()[:16]


def _seed(recipe: Recipe, purpose: str) -> int:
    return zlib.crc32(f"{recipe.seed} {purpose}".encode()) >> 1
