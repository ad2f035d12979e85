"""Assertions for any network whose last layer was replaced."""

import mxnet as mx
import numpy as np
from finetune_trainer.fit.learner import INITIALIZERS
from finetune_trainer.model.network import Network
from finetune_trainer.model.surgery import Surgery

CLASSES = 7


def losses_of_one_step(network: Network, *, size: int) -> tuple[float, float]:
    """Return the loss of a batch before and after one small step, with the same dropout."""
    executor = network.symbol.simple_bind(mx.cpu(), data=(4, 3, size, size), softmax_label=(4,))
    labels = np.arange(4) % CLASSES
    data = np.random.default_rng(0).normal(size=(4, 3, size, size))
    inputs = {"data": mx.nd.array(data), "softmax_label": mx.nd.array(labels)}
    executor.copy_params_from(network.args | inputs, network.aux, allow_extra_params=True)
    trained = executor.arg_dict.keys() - inputs.keys()
    for name in trained - network.args.keys():
        INITIALIZERS["xavier"](mx.init.InitDesc(name), executor.arg_dict[name])

    def loss() -> float:
        mx.random.seed(5)
        probabilities = executor.forward(is_train=True)[0].asnumpy()
        assert probabilities.shape == (4, CLASSES)
        return -float(np.log(probabilities[np.arange(4), labels]).sum())

    first = loss()
    executor.backward()
    slopes = {name: executor.grad_dict[name] for name in trained}
    steepness = sum(float((slope**2).sum().asscalar()) for slope in slopes.values())
    for name, slope in slopes.items():  # the step that lowers a linear loss by 0.01
        executor.arg_dict[name][:] -= 0.01 / steepness * slope
    return first, loss()


def assert_only_the_head_is_replaced(before: Network, after: Surgery) -> None:
    network = after.network
    assert before.args.keys() - network.args.keys() == set(after.dropped)
    assert before.aux.keys() == network.aux.keys()
    for name, value in (network.args | network.aux).items():
        assert np.array_equal(value.asnumpy(), (before.args | before.aux)[name].asnumpy()), name


def assert_head_for_classes(surgery: Surgery, *, size: int) -> None:
    symbol = surgery.network.symbol
    assert symbol.list_outputs() == ["softmax_output"]
    assert symbol.infer_shape(data=(2, 3, size, size))[1] == [(2, CLASSES)]
    assert surgery.features in symbol.get_internals().list_outputs()
    assert "data" in symbol.list_arguments()
    first, second = losses_of_one_step(surgery.network, size=size)
    assert second < first
