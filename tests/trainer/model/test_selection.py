"""A network is found in a checkpoint, whatever it is wrapped in, and its values are checked."""

import logging
from collections.abc import Callable
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.architectures.assemble import assemble

from tests.trainer.support.reference import resnet_state

NAME, SIZE = "resnet-18", 64
State = dict[str, Any]


@pytest.fixture(scope="module")
def state() -> State:
    return resnet_state(18, classes=9)


def below(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def trunk_of(state: State) -> State:
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


@pytest.mark.parametrize(
    "prefix",
    [
        "_orig_mod.",  # torch.compile
        "module._orig_mod.",  # and DistributedDataParallel
        "state_dict.model.",  # Lightning
        "backbone.",  # mmpretrain
        "teacher.backbone.",  # DINO
        "model.state_dict.module.encoder.",
        "0.",
    ],
)
def test_a_prefix_of_all_names_is_no_part_of_them(prefix: str, state: State) -> None:
    network = assemble(NAME, below(prefix, state), size=SIZE)
    assert np.array_equal(network.args["conv1_weight"].asnumpy(), state["conv1.weight"])
    assert network.args["fc_weight"].shape == (9, 512)


@pytest.mark.parametrize(
    "beside",
    [
        {"n_averaged": np.array(5)},
        {"queue": np.ones((4, 4), np.float32)},
        {"head.fc.weight": np.ones((9, 512), np.float32)},
        {"criterion.weight": np.ones(9, np.float32)},
        {"net.fc.0.weight": np.ones((9, 512), np.float32)},
    ],
)
def test_tensors_beside_the_network_are_logged_and_not_used(
    beside: State, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assemble(NAME, below("net.", trunk_of(state)) | beside, size=SIZE)
    assert f"not used: {next(iter(beside))}" in caplog.text


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        ("model_ema.", "model."),
        ("state_dict_ema.module.", "state_dict.module."),
        ("ema_model.module.", "model."),
        ("teacher.backbone.", "student.backbone."),
        ("swa_state_dict.", "net."),
    ],
)
def test_of_two_networks_the_moving_average_is_used_and_logged(
    taken: str, left: str, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    other = {name: value + 1 for name, value in state.items()}
    network = assemble(NAME, below(left, other) | below(taken, state), size=SIZE)
    assert np.array_equal(network.args["conv1_weight"].asnumpy(), state["conv1.weight"])
    assert f"those below {taken!r} are used, not those below {left!r}" in caplog.text


def test_of_two_encoders_the_first_one_is_used(state: State) -> None:
    other = {name: value + 1 for name, value in state.items()}
    network = assemble(NAME, below("encoder_q.", state) | below("encoder_k.", other), size=SIZE)
    assert np.array_equal(network.args["conv1_weight"].asnumpy(), state["conv1.weight"])


def test_a_network_that_fits_is_preferred_to_one_that_does_not(state: State) -> None:
    wide = state | {"conv1.weight": np.ones((64, 3, 3, 3), np.float32)}
    network = assemble(NAME, below("ema.", wide) | below("model.", state), size=SIZE)
    assert np.array_equal(network.args["conv1_weight"].asnumpy(), state["conv1.weight"])


Change = Callable[[State], State]
CHANGES: dict[str, tuple[Change, str]] = {
    "missing": (
        lambda s: below("model.", {k: v for k, v in s.items() if not k.startswith("bn1.")}),
        "model.bn1.bias is missing",
    ),
    "extra": (
        lambda s: s | {"layer1.0.se.weight": np.ones((64, 64))},
        "layer1.0.se.weight has no place",
    ),
    "shape": (
        lambda s: s | {"conv1.weight": np.ones((64, 1, 7, 7))},
        "conv1.weight is 64x1x7x7, not 64x3x7x7",
    ),
    "transposed head": (
        lambda s: s | {"fc.weight": s["fc.weight"].T},
        "fc.weight is 512x9, not Nx512",
    ),
    "names of Hugging Face": (
        lambda s: {"resnet.embedder.embedder.convolution.weight": s["conv1.weight"]},
        "it has resnet.embedder.embedder.convolution.weight",
    ),
    "nothing": (lambda s: {}, "no tensor has one of their names"),
}


@pytest.mark.parametrize(("change", "message"), CHANGES.values(), ids=CHANGES)
def test_what_does_not_fit_has_the_names_of_the_file(
    change: Change, message: str, state: State
) -> None:
    with pytest.raises(TrainerError) as error:
        assemble(NAME, change(state), size=SIZE)
    assert error.value.code == ExitCode.InvalidData
    assert message in error.value.message
    assert "torch.onnx.export" in error.value.hint


def test_the_network_of_the_catalogue_that_weights_are_of_is_named() -> None:
    with pytest.raises(TrainerError) as error:
        assemble(NAME, below("module.", resnet_state(34, classes=3)), size=SIZE)
    assert error.value.hint.endswith("those of resnet-34: set model.source.architecture to it.")


VALUES: dict[str, tuple[Change, str]] = {
    "NaN": (
        lambda s: s | {"layer2.0.conv1.weight": s["layer2.0.conv1.weight"] * np.nan},
        "layer2.0.conv1.weight has 73728 of 73728 values that are NaN or infinite",
    ),
    "infinite": (
        lambda s: s | {"bn1.weight": np.full(64, np.inf, np.float32)},
        "bn1.weight has 64 of 64 values",
    ),
    "too large": (
        lambda s: s | {"bn1.bias": np.full(64, 1e300)},
        "bn1.bias has 64 of 64 values that are NaN or infinite",
    ),
    "variance": (
        lambda s: s | {"bn1.running_var": -s["bn1.running_var"]},
        "bn1.running_var is a variance",
    ),
    "quantized": (
        lambda s: s | {"conv1.weight": np.ones((64, 3, 7, 7), np.int8)},
        "conv1.weight (int8): the network is quantized",
    ),
    "zeros": (
        lambda s: {name: value * 0 for name, value in s.items()},
        "all weights of the network are 0",
    ),
    "zeros but for the last layer": (
        lambda s: {n: v * (n == "fc.weight") for n, v in s.items()},
        "all weights of the network are 0",
    ),
}


@pytest.mark.parametrize(("change", "message"), VALUES.values(), ids=VALUES)
def test_values_that_no_trained_network_has_are_refused_by_name(
    change: Change, message: str, state: State
) -> None:
    with pytest.raises(TrainerError) as error:
        assemble(NAME, change(state), size=SIZE)
    assert error.value.code == ExitCode.InvalidData
    assert message in error.value.message


def test_float16_and_float64_become_float32(state: State) -> None:
    for kind in (np.float16, np.float64):
        network = assemble(NAME, {n: v.astype(kind) for n, v in state.items()}, size=SIZE)
        assert {v.dtype for v in (network.args | network.aux).values()} == {np.float32}
        mx.nd.waitall()
