"""The ONNX file: fixed opset, any batch size, the network's own answers."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import onnx
import pytest
from finetune_trainer.evaluate.onnx_twin import Twin
from finetune_trainer.model.formats.onnx.export import OPSET, convert
from finetune_trainer.model.formats.onnx.session import Session
from finetune_trainer.model.network import Network, Preprocessing
from finetune_trainer.model.surgery import replace_head
from mxnet.gluon.model_zoo import vision

from tests.trainer.support.networks import random_params, small_network

CLASSES = 7


def preprocessing(size: int) -> Preprocessing:
    return Preprocessing(input_size=size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def small(size: int) -> Network:
    symbol = small_network(CLASSES).symbol
    return Network(symbol, *random_params(symbol, seed=1, size=size))


def thin_resnet() -> Any:
    return vision.ResNetV2(vision.BasicBlockV2, [1, 1, 1, 1], [16, 16, 32, 64, 96])


def of_gluon(name: str) -> Callable[[int], Network]:
    def build(size: int) -> Network:
        net = thin_resnet() if name == "resnet" else vision.get_model(name)
        symbol = net(mx.sym.var("data"))
        operated = replace_head(Network(symbol, *random_params(symbol, seed=1, size=size)), CLASSES)
        whole = operated.network.symbol
        return Network(whole, *random_params(whole, seed=2, size=size))

    return build


def classify(network: Network, data: Any) -> Any:
    """Return the probabilities that MXNet computes."""
    module = mx.mod.Module(network.symbol, label_names=["softmax_label"])
    module.bind([("data", data.shape)], [("softmax_label", data.shape[:1])], for_training=False)
    module.set_params(network.args, network.aux)
    batch = mx.io.DataBatch([mx.nd.array(data)], [mx.nd.zeros(len(data))])
    module.forward(batch, is_train=False)
    return module.get_outputs()[0].asnumpy()


def images(count: int, size: int) -> Any:
    return np.random.default_rng(count).normal(0, 1, (count, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (small, 16),
        (of_gluon("mobilenet0.25"), 64),
        (of_gluon("mobilenetv2_0.25"), 64),
        (of_gluon("squeezenet1.1"), 224),
        (of_gluon("resnet"), 64),
    ],
    ids=["small", "mobilenet", "mobilenet-v2", "squeezenet", "resnet-v2"],
)
def test_the_file_gives_the_networks_probabilities_for_any_batch(
    build: Callable[[int], Network], size: int, tmp_path: Path
) -> None:
    network, path = build(size), tmp_path / "model.onnx"
    twin = Twin.of(network, path, preprocessing(size), threads=1)
    for count in (1, 5):
        data = images(count, size)
        twin.compare(data, classify(network, data))
    result = twin.conclude()
    assert (result.opset, result.images, result.differing, result.reason) == (OPSET, 6, 0, "")
    assert result.max_difference < 1e-5


def test_the_file_is_what_the_documentation_says(tmp_path: Path) -> None:
    model = convert(small(16), preprocessing(16))
    (given,), (answer,) = model.graph.input, model.graph.output
    assert [entry.version for entry in model.opset_import] == [OPSET]
    assert (given.name, answer.name) == ("data", "probabilities")
    shape = [dim.dim_param or dim.dim_value for dim in given.type.tensor_type.shape.dim]
    assert shape == ["N", 3, 16, 16]
    onnx.checker.check_model(model, full_check=True)
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read


def test_an_operator_that_cannot_be_converted_costs_the_file_not_the_model(
    tmp_path: Path,
) -> None:
    data = mx.sym.Flatten(mx.sym.smooth_l1(mx.sym.var("data"), scalar=1.0))
    symbol = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(data, num_hidden=2), name="softmax")
    network = Network(symbol, *random_params(symbol, seed=1, size=4))
    twin = Twin.of(network, tmp_path / "model.onnx", preprocessing(4), threads=1)
    twin.compare(images(2, 4), classify(network, images(2, 4)))
    result = twin.conclude()
    assert "smooth_l1" in result.reason
    assert list(tmp_path.iterdir()) == []


def test_a_file_with_other_answers_is_not_kept(tmp_path: Path) -> None:
    network, path = small(16), tmp_path / "model.onnx"
    twin = Twin.of(network, path, preprocessing(16), threads=1)
    data = images(5, 16)
    twin.compare(data, np.roll(classify(network, data), 1, axis=1))
    result = twin.conclude()
    assert "another class for 5 of 5 images" in result.reason
    assert not path.exists()


def test_a_file_that_onnxruntime_cannot_run_costs_the_file_not_the_job(tmp_path: Path) -> None:
    network, path = small(16), tmp_path / "model.onnx"
    twin = Twin.of(network, path, preprocessing(16), threads=1)
    twin.compare(images(2, 20), classify(network, images(2, 20)))  # another size
    twin.compare(images(2, 16), classify(network, images(2, 16)))
    assert twin.conclude().reason.startswith("onnxruntime cannot run it: ")
    assert not path.exists()


def test_a_tie_does_not_count_as_another_class(tmp_path: Path) -> None:
    network, path = small(16), tmp_path / "model.onnx"
    tied = {name: mx.nd.zeros(value.shape) for name, value in network.args.items()}
    twin = Twin.of(Network(network.symbol, tied, network.aux), path, preprocessing(16), threads=1)
    expected = np.full((1, CLASSES), 1 / CLASSES, np.float32)
    expected[0, 3] += np.float32(1e-6)
    twin.compare(images(1, 16), expected)
    result = twin.conclude()
    assert (result.differing, result.ties, result.reason) == (1, 1, "")
    assert path.exists()


def test_the_file_runs_without_mxnet(tmp_path: Path) -> None:
    network, path = small(16), tmp_path / "model.onnx"
    Twin.of(network, path, preprocessing(16), threads=1)
    program = f"""
import sys
sys.modules["mxnet"] = None  # as if it were not installed
import numpy as np
from pathlib import Path
from finetune_trainer.model.formats.onnx.session import Session
print(Session(Path({str(path)!r}), threads=1).run(np.ones((2, 3, 16, 16), np.float32)).shape)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == f"(2, {CLASSES})", done.stderr


def test_the_answers_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    Twin.of(small(16), path, preprocessing(16), threads=1)
    one, two = (Session(path, threads=threads).run(images(9, 16)) for threads in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-6)
