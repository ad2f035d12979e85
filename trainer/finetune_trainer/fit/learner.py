"""A network on its devices with its optimizer: it takes batches and updates the weights.

It does not know of epochs, and reads of a checkpoint only the arrays.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import mxnet as mx
from numpy.typing import NDArray

from finetune_trainer.fit.checkpoint import Checkpoint, restore_states
from finetune_trainer.fit.kvstore import SharedMemory
from finetune_trainer.fit.optimizers import ClippingUpdater
from finetune_trainer.fit.targets import LABEL, with_targets
from finetune_trainer.fit.tasks import Task
from finetune_trainer.model.inference import real_rows
from finetune_trainer.model.network import Network
from finetune_trainer.model.rewrites import half
from finetune_trainer.model.rewrites.relu6 import with_relu_before_clip
from finetune_trainer.recipes.recipe import Recipe

UPDATE_ON_KVSTORE = "MXNET_UPDATE_ON_KVSTORE"
SLOWED_RATE = 0.1
"""Factor of the learning rate after the fit has diverged."""
INITIALIZERS = {
    "xavier": mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2),
    "zero": mx.init.Zero(),
}


class Learner:
    """A task's network in training, from a checkpoint or with a new last layer."""

    def __init__(self, task: Task, recipe: Recipe, start: Checkpoint, *, seed: int) -> None:
        self.symbol, self._accumulates = task.network.symbol, recipe.accumulation > 1
        loss_scale = _loss_scale(task, recipe)
        self.module = _bind(task, recipe, loss_scale=loss_scale)
        mx.random.seed(seed)
        self.module.init_params(
            INITIALIZERS[recipe.new_layer],
            arg_params=start.args or task.network.args,
            aux_params=start.aux or task.network.aux,
            allow_missing=True,
        )
        _init_optimizer(self.module, task, recipe, step=start.step)
        restore_states(self.module, start.states)
        self._optimizer = self.module._optimizer  # MXNet has no public accessor
        slowed = SLOWED_RATE if start.slowed else 1.0
        self.learning_rate = slowed * self._optimizer.lr
        """The learning rate of the new layers, which the schedule multiplies."""
        self._scale = self._optimizer.rescale_grad / loss_scale
        self._batches = 0
        """Number of batches since the last update."""

    @property
    def network(self) -> Network:
        """The task's network with its present weights."""
        return Network(self.symbol, *self.module.get_params())

    def arrays(self) -> dict[str, Any]:
        """Return the weights on the first device, without copying them, and the mean of BatchNorm's
        statistics over the devices.
        """
        group = self.module._exec_group
        weights = zip(group.param_names, group.param_arrays, strict=True)
        statistics = zip(group.aux_names, group.aux_arrays, strict=True)
        return {name: copies[0] for name, copies in weights} | {
            name: _mean(copies) for name, copies in statistics
        }

    def learn(self, batch: mx.io.DataBatch) -> NDArray[Any]:
        """Add the gradients of a batch; return the probabilities of its rows, without padding."""
        if self._accumulates and not self._batches:
            self._zero_gradients()
        self._batches += 1
        self.module.forward_backward(batch)
        probabilities: NDArray[Any] = self.module.get_outputs()[0].asnumpy()
        return probabilities[: real_rows(batch)]

    def update(self, *, rate: float) -> None:
        """Update the weights by the mean gradient of the batches since the last update, at `rate`
        times the recipe's learning rate.
        """
        self._optimizer.lr = self.learning_rate * rate
        self._optimizer.rescale_grad = self._scale / self._batches
        self.module.update()
        self._batches = 0

    def share_statistics(self) -> None:
        """Give all devices the mean of their BatchNorm statistics."""
        self.module.set_params(*self.module.get_params())

    def _zero_gradients(self) -> None:
        for gradients in self.module._exec_group.grad_arrays:
            for gradient in gradients:
                gradient[:] = 0


def _mean(copies: list[Any]) -> Any:
    first = copies[0].context
    return sum(copy.as_in_context(first) for copy in copies) / len(copies)


def _loss_scale(task: Task, recipe: Recipe) -> float:
    if recipe.precision == "float32":
        return 1.0
    weights = task.targets.weights if task.targets else None
    return half.loss_scale(
        task.shape[0] // len(task.contexts),
        largest_weight=1.0 if weights is None else float(weights.max()),
    )


def _bind(task: Task, recipe: Recipe, *, loss_scale: float) -> mx.mod.Module:
    symbol, labels = task.network.symbol, task.shape[:1]
    if task.targets:
        symbol, labels = with_targets(symbol), (*labels, task.targets.classes)
    if task.contexts[0].device_type == "cpu":
        symbol = with_relu_before_clip(symbol)
    if recipe.precision == "float16":
        symbol = half.in_half_precision(symbol, scale=loss_scale)
    module = mx.mod.Module(symbol, context=task.contexts)
    gradients = "add" if recipe.accumulation > 1 else "write"
    module.bind([("data", task.shape)], [(LABEL, labels)], grad_req=gradients)
    return module


def _kvstore(task: Task) -> Any:
    """Return the gang's kvstore, or the name of one for this pod's devices."""
    if task.kvstore is not None:
        return task.kvstore
    return SharedMemory.__name__ if task.contexts[0].device_type == "cpu" else "device"


def _init_optimizer(module: mx.mod.Module, task: Task, recipe: Recipe, *, step: int) -> None:
    with _updates_on_devices() if recipe.clipping else contextlib.nullcontext():
        module.init_optimizer(
            kvstore=_kvstore(task),
            optimizer=recipe.optimizer,
            # Adam's bias correction depends on the number of updates.
            optimizer_params=recipe.optimizer_params | {"begin_num_update": step},
        )
    module._optimizer.set_lr_mult(dict.fromkeys(task.pretrained, recipe.trunk_rate))
    if recipe.clipping:
        module._updater = ClippingUpdater(module._optimizer, limit=recipe.clipping)


@contextlib.contextmanager
def _updates_on_devices() -> Iterator[None]:
    """Make a module's kvstore only add up gradients, as a gang's does, so that each device updates.
    Clipping needs all gradients at once; a kvstore that updates sees one parameter at a time.
    """
    before = os.environ.get(UPDATE_ON_KVSTORE)
    os.environ[UPDATE_ON_KVSTORE] = "0"
    try:
        yield
    finally:
        del os.environ[UPDATE_ON_KVSTORE]
        if before is not None:
            os.environ[UPDATE_ON_KVSTORE] = before
