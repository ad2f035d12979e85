"""The last blocks of a network, on their own."""

from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.model.last_blocks import above, cut_below
from finetune_trainer.model.network import Network

from tests.trainer.support.architectures import mlp, pretrained, tutorial_resnet, vgg_like
from tests.trainer.support.networks import SIZE


def said_by(symbol: mx.sym.Symbol, network: Network, data: Any) -> Any:
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
    executor.copy_params_from(network.args, network.aux, allow_extra_params=True)
    return executor.forward(is_train=False, data=mx.nd.array(data))[0].asnumpy()


@pytest.mark.parametrize("make", [tutorial_resnet, vgg_like])
def test_what_is_above_the_cut_says_of_its_activations_what_the_whole_says_of_the_images(
    make: Any,
) -> None:
    network = pretrained(make(), size=SIZE)
    images = np.random.default_rng(0).normal(size=(2, 3, SIZE, SIZE))
    cut = cut_below(network.symbol, input_size=SIZE)
    assert cut is not None
    activations = said_by(network.symbol.get_internals()[cut], network, images)
    found = said_by(above(network.symbol, cut), network, activations)
    np.testing.assert_allclose(found, said_by(network.symbol, network, images), rtol=1e-5)


def test_cut_is_where_the_last_resolution_begins_and_no_shortcut_passes_it() -> None:
    symbol = tutorial_resnet()
    cut = cut_below(symbol, input_size=SIZE)
    assert cut is not None
    inputs = symbol.get_internals()[cut].get_children()
    assert [layer.name for layer in inputs] == ["stage2_unit1_conv1", "stage2_unit1_sc"]
    top = above(symbol, cut)
    assert top.list_arguments()[0] == "data"
    assert not [name for name in top.list_arguments() if name.startswith(("stage", "conv"))]


def test_network_without_a_picture_inside_has_no_last_blocks() -> None:
    assert cut_below(mlp(), input_size=SIZE) is None
