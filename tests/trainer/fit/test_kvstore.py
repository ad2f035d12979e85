"""The kvstore of several CPU contexts gives the same as MXNet's own."""

from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer import recipes
from finetune_trainer.contract import Training
from finetune_trainer.fit.checkpoint import Checkpoint
from finetune_trainer.fit.kvstore import SharedMemory
from finetune_trainer.fit.learner import Learner

from tests.trainer.support.networks import bare_task, small_network

KEYS, STEPS = ("weight", "bias", "gamma", "beta"), 3


def updated(store: Any, devices: int) -> dict[str, list[Any]]:
    """Return each parameter on each device after some updates by the same gradients."""
    random = np.random.default_rng(0)
    store.set_optimizer(mx.optimizer.create("adam", learning_rate=0.1))
    weights = {}
    for key in KEYS:
        start = mx.nd.array(random.normal(size=(4, 5)))
        weights[key] = [mx.nd.zeros((4, 5), mx.cpu(device)) for device in range(devices)]
        store.broadcast(key, start, out=weights[key])
    for _ in range(STEPS):
        for key in KEYS:
            gradients = [
                mx.nd.array(random.normal(size=(4, 5)), mx.cpu(device)) for device in range(devices)
            ]
            store.pushpull(key, gradients, out=weights[key])
    return {key: [copy.asnumpy() for copy in copies] for key, copies in weights.items()}


@pytest.mark.parametrize("devices", [2, 3])
def test_updates_are_those_of_mxnets_own_store(devices: int) -> None:
    expected = updated(mx.kvstore.create("device"), devices)
    for key, copies in updated(SharedMemory(), devices).items():
        for copy in copies:
            np.testing.assert_array_equal(copy, copies[0])
            np.testing.assert_allclose(copy, expected[key][0], rtol=1e-5, err_msg=key)


@pytest.mark.parametrize("devices", [2, 3])
def test_without_weights_every_device_gets_the_sum_of_the_gradients(devices: int) -> None:
    store = SharedMemory()
    for key in KEYS:
        gradients = [mx.nd.full((2,), 10**device, mx.cpu(device)) for device in range(devices)]
        store.pushpull(key, gradients)
        for gradient in gradients:
            np.testing.assert_array_equal(gradient.asnumpy(), (10**devices - 1) / 9)


@pytest.mark.parametrize(("devices", "shared"), [(1, False), (2, True)])
def test_learner_of_several_cpus_uses_it(devices: int, shared: bool) -> None:
    task = bare_task(
        small_network(3), (4, 3, 16, 16), [mx.cpu(device) for device in range(devices)]
    )
    recipe = recipes.choose(Training(recipe="tutorial"), gpus=0)
    learner = Learner(task, recipe, Checkpoint(), seed=0)
    assert isinstance(learner.module._kvstore, SharedMemory) is shared
