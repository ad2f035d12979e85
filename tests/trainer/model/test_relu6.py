"""ReLU6 in two operators: the same outputs and gradients."""

from typing import Any

import mxnet as mx
import numpy as np
from finetune_trainer import recipes
from finetune_trainer.contract import Training
from finetune_trainer.fit.checkpoint import Checkpoint
from finetune_trainer.fit.learner import Learner
from finetune_trainer.model.network import Network
from finetune_trainer.model.rewrites.relu6 import with_relu_before_clip

from tests.trainer.support.networks import bare_task


def network(clipped: tuple[float, float]) -> Any:
    x = mx.sym.Convolution(mx.sym.var("data"), name="conv", num_filter=16, kernel=(3, 3))
    shortcut = mx.sym.BatchNorm(x, name="bn", fix_gamma=False)
    x = mx.sym.clip(shortcut, *clipped, name="act")
    x = mx.sym.clip(mx.sym.Convolution(x, num_filter=16, kernel=(1, 1)), *clipped) + shortcut
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=3, name="fc1")
    return mx.sym.SoftmaxOutput(x, name="softmax")


def after_one_update(symbol: Any) -> dict[str, Any]:
    """Return the parameters after one update, from the same start on the same images."""
    random = np.random.default_rng(0)
    module = mx.mod.Module(symbol)
    module.bind([("data", (4, 3, 9, 9))], [("softmax_label", (4,))])
    mx.random.seed(1)
    module.init_params(mx.init.Xavier(magnitude=40))  # so that many are above 6
    module.init_optimizer(optimizer_params={"learning_rate": 0.1})
    images = mx.nd.array(random.normal(size=(4, 3, 9, 9)))
    module.forward_backward(mx.io.DataBatch([images], [mx.nd.array([0, 1, 2, 0])]))
    module.update()
    mx.nd.waitall()  # get_params does not wait for BatchNorm's statistics
    args, aux = module.get_params()
    outputs = module.get_outputs()[0]
    return {n: v.asnumpy() for n, v in (args | aux | {"outputs": outputs}).items()}


def test_outputs_and_updates_are_those_of_clip() -> None:
    symbol = network((0, 6))
    changed = with_relu_before_clip(symbol)
    assert changed.list_arguments() == symbol.list_arguments()
    assert changed.list_auxiliary_states() == symbol.list_auxiliary_states()
    before, after = after_one_update(symbol), after_one_update(changed)
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_clip_that_is_not_relu6_stays_as_it_is() -> None:
    symbol = network((-1, 1))
    assert with_relu_before_clip(symbol).tojson() == symbol.tojson()


def test_the_trained_symbol_has_relu_and_the_saved_one_has_not() -> None:
    symbol = network((0, 6))
    task = bare_task(Network(symbol, {}, {}), (4, 3, 9, 9), [mx.cpu()])
    recipe = recipes.choose(Training(recipe="tutorial"), gpus=0)
    learner = Learner(task, recipe, Checkpoint(), seed=0)
    assert "act_relu_output" in learner.module.symbol.get_internals().list_outputs()
    assert learner.network.symbol.tojson() == symbol.tojson()
