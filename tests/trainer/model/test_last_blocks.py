"""The last blocks of a network as a network of their own."""

from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.model.last_blocks import find_cut, layers_after
from finetune_trainer.model.network import Network

from tests.trainer.support.architectures import mlp, pretrained, tutorial_resnet, vgg_like
from tests.trainer.support.networks import SIZE


def output_of(symbol: mx.sym.Symbol, network: Network, data: Any) -> Any:
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
    executor.copy_params_from(network.args, network.aux, allow_extra_params=True)
    return executor.forward(is_train=False, data=mx.nd.array(data))[0].asnumpy()


@pytest.mark.parametrize("make", [tutorial_resnet, vgg_like])
def test_layers_after_the_cut_give_the_same_output_as_the_whole_network(
    make: Any,
) -> None:
    network = pretrained(make(), size=SIZE)
    images = np.random.default_rng(0).normal(size=(2, 3, SIZE, SIZE))
    cut = find_cut(network.symbol, input_size=SIZE)
    assert cut is not None
    activations = output_of(network.symbol.get_internals()[cut], network, images)
    output = output_of(layers_after(network.symbol, cut), network, activations)
    np.testing.assert_allclose(output, output_of(network.symbol, network, images), rtol=1e-5)


def test_the_cut_is_where_the_last_resolution_begins_and_no_shortcut_goes_around_it() -> None:
    symbol = tutorial_resnet()
    cut = find_cut(symbol, input_size=SIZE)
    assert cut is not None
    inputs = symbol.get_internals()[cut].get_children()
    assert [layer.name for layer in inputs] == ["stage2_unit1_conv1", "stage2_unit1_sc"]
    arguments = layers_after(symbol, cut).list_arguments()
    assert arguments[0] == "data"
    assert not [name for name in arguments if name.startswith(("stage", "conv"))]


def test_a_network_without_images_inside_has_no_last_blocks() -> None:
    assert find_cut(mlp(), input_size=SIZE) is None
