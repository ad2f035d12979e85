"""The loop that fits a network: from a checkpoint to the last epoch. In a gang every pod runs it in
step with the others; its leader alone saves, measures and judges.
"""

import dataclasses
import hashlib
import itertools
import logging
import time
import zlib

import mxnet as mx

import finetune_trainer.optimizers  # noqa: F401  # MXNet finds them by name
from finetune_trainer.checkpoint import Checkpoint, Checkpoints, restore_states
from finetune_trainer.contract import CheckpointStatus, ExitCode, TrainerError
from finetune_trainer.dataset.read import real_rows
from finetune_trainer.dataset.stall import Stall
from finetune_trainer.history import Row
from finetune_trainer.model.network import Network, is_finite
from finetune_trainer.progress import Work
from finetune_trainer.recipes import Recipe
from finetune_trainer.scoring import Score, labels_of, score
from finetune_trainer.targets import LABEL, with_targets
from finetune_trainer.tasks import TRAINING_COST, Task

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 300.0
"""The most work that a lost node can cost, in time; epochs of large data sets are longer."""
INITIALIZERS = {
    "xavier": mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2),
    "zero": mx.init.Zero(),
}


def train(
    task: Task,
    recipe: Recipe,
    *,
    start: Checkpoint,
    checkpoints: Checkpoints | None,
    work: Work,
) -> tuple[Network, CheckpointStatus | None]:
    """Run what is left of the epochs; return the whole network of the last one and its
    checkpoint. Without `checkpoints`, only train: the leader of the gang does the rest.
    """
    if start.status:
        log.info("resumed at epoch %d", start.epoch)
        work.reporter.checkpoint(start.status)
        work.skip_to(work.total * start.epoch / recipe.epochs)
    loop = _Loop(task, recipe, start=start, checkpoints=checkpoints, work=work)
    for epoch in range(start.epoch, recipe.epochs):
        loop.run_epoch(epoch)
    if task.pods > 1:
        log.info("weights of this pod, the same on all: %s", _digest(loop.network))
    return task.whole(loop.network), loop.status


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
    ) -> None:
        self._task, self._recipe, self._start = task, recipe, start
        self._checkpoints, self._work = checkpoints, work
        self._module = _module(task, recipe, start)
        self._optimizer = self._module._optimizer  # MXNet has no other way to it
        self._rate = self._optimizer.lr
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
        stall = Stall()
        seen = self._train_batches(epoch, stall)
        stalled = stall.seconds / (time.monotonic() - began)
        # Each device has its own BatchNorm statistics. Their mean becomes everyone's now, so that
        # going on from the checkpoint is the same as going on.
        self._module.set_params(*self._module.get_params())
        if self._checkpoints is None:
            return
        network = self.network
        _stop_if_diverged(is_finite(network), recipe, epoch=epoch)
        is_mark = (epoch + 1) % recipe.checkpoint_epochs == 0 or epoch + 1 == recipe.epochs
        if is_mark:
            self._save(Checkpoint(epoch=epoch + 1, step=self._step))
        seconds = time.monotonic() - began
        row = Row(epoch + 1, seen.accuracy, seen.cross_entropy, None, seconds)
        if is_mark:  # who resumes here does not measure again
            self._checkpoints.note(row)
        validation = score(network, task.validation(), task.devices, seen=self._looked_at)
        if is_mark:
            log.info("Epoch[%d] Train-accuracy=%.6f", epoch, seen.accuracy)
            log.info("Epoch[%d] Time cost=%.3f", epoch, seconds)
            log.info("Epoch[%d] Validation-accuracy=%.6f", epoch, validation.accuracy)
        self._checkpoints.note(dataclasses.replace(row, validation_accuracy=validation.accuracy))
        measured = {"accuracy": validation.accuracy, "loss": seen.cross_entropy}
        if recipe.trains_trunk:
            log.info("Epoch[%d] Data-stall=%.4f", epoch, stalled)
            measured["data-stall"] = stalled
        work.report(measured)

    def _train_batches(self, epoch: int, stall: Stall) -> Score:
        task, recipe, start, module = self._task, self._recipe, self._start, self._module
        began, seen = time.monotonic(), Score()
        done = start.batches if epoch == start.epoch else 0
        # Order and crops follow from the epoch, dropout from the step: a resumed run gets the same.
        batches = task.batches(_seed(recipe, f"epoch {epoch}{task.share}"))
        rest = stall.watch(itertools.islice(batches, done, None))
        for number, batch in enumerate(rest, start=done + 1):
            seed = _seed(recipe, f"step {self._step}{task.share}")
            mx.random.seed(seed)
            # Of the middle of the step: neither the first nor the last one is for nothing.
            place = epoch + (number - 0.5) / task.steps
            self._optimizer.lr = self._rate * recipe.schedule.rate(place, epochs=recipe.epochs)
            module.forward_backward(task.targets.of(batch, seed=seed) if task.targets else batch)
            module.update()
            self._step += 1
            probabilities = module.get_outputs()[0].asnumpy()[: real_rows(batch)]
            seen.add(probabilities, labels_of(batch))
            if self._checkpoints is not None:
                _stop_if_diverged(seen.is_finite, recipe, epoch=epoch)
            if self._work.stopping or time.monotonic() - self._saved > CHECKPOINT_SECONDS:
                self._save(Checkpoint(epoch=epoch, batches=number, step=self._step))
            speed = task.pods * seen.total / (time.monotonic() - began)
            units = task.pods * len(probabilities) * task.cost
            self._work.advance(units, images_per_second=speed)
        return seen

    def _save(self, at: Checkpoint) -> None:
        if self._checkpoints is None:
            return
        self.status = self._checkpoints.save(self._module, at)
        self._work.reporter.checkpoint(self.status)
        self._saved = time.monotonic()

    def _looked_at(self, rows: int) -> None:
        self._work.advance(rows * self._task.cost / TRAINING_COST)


def _module(task: Task, recipe: Recipe, start: Checkpoint) -> mx.mod.Module:
    """Return the module to train: as the checkpoint left it, or with a new last layer."""
    symbol, labels = task.network.symbol, task.shape[:1]
    if task.targets:
        symbol, labels = with_targets(symbol), (*labels, task.targets.classes)
    module = mx.mod.Module(symbol, context=task.devices)
    module.bind([("data", task.shape)], [(LABEL, labels)])
    mx.random.seed(_seed(recipe, "new layer"))
    module.init_params(
        INITIALIZERS[recipe.new_layer],
        arg_params=start.args or task.network.args,
        aux_params=start.aux or task.network.aux,
        allow_missing=True,
    )
    module.init_optimizer(
        kvstore=task.kvstore,
        optimizer=recipe.optimizer,
        # Adam's correction of its averages depends on the number of updates.
        optimizer_params=recipe.optimizer_params | {"begin_num_update": start.step},
    )
    module._optimizer.set_lr_mult(dict.fromkeys(task.pretrained, recipe.trunk_rate))
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


def _digest(network: Network) -> str:
    """Name the weights; BatchNorm's moving statistics are each pod's own."""
    digest = hashlib.sha256()
    for name in sorted(network.args):
        digest.update(network.args[name].asnumpy().tobytes())
    return digest.hexdigest()[:16]


def _seed(recipe: Recipe, purpose: str) -> int:
    return zlib.crc32(f"{recipe.seed} {purpose}".encode()) >> 1
