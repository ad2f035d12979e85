"""ONNX classifiers become MXNet networks with the same outputs, or are refused by name."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import onnx
import pytest
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.convert import convert as convert_entry
from finetune_trainer.model.formats.onnx.export import convert
from finetune_trainer.model.formats.onnx.file import FOLDED, OPERATORS, read_graph
from finetune_trainer.model.formats.onnx.operators import CONVERTERS
from finetune_trainer.model.formats.onnx.translate import to_network
from finetune_trainer.model.network import Network, load, load_preprocessing
from finetune_trainer.model.surgery import replace_head
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from tests.trainer.evaluate.test_onnx_twin import images, of_gluon, preprocessing
from tests.trainer.support.onnx_files import (
    CHANNELS,
    CLASSES,
    SIZE,
    Piece,
    classifier,
    integers,
    node,
    numbers,
    onnxruntime_output,
)
from tests.trainer.support.surgeries import (
    assert_head_for_classes,
    assert_only_the_head_is_replaced,
)

NORM = {"g": numbers(CHANNELS) + 1, "b": numbers(CHANNELS), "m": numbers(CHANNELS)}
NORM |= {"v": abs(numbers(CHANNELS)) + 0.5}
EVERY = numbers(1, CHANNELS, 1, 1)


def one(operator: str, more: str = "", opset: int = 13, **attributes: Any) -> Piece:
    return Piece([node(operator, f"x {more}", **attributes)], opset=opset)


def conv(shape: tuple[int, ...], **attributes: Any) -> Piece:
    return Piece([node("Conv", "x w b", **attributes)], {"w": numbers(*shape), "b": numbers(4)})


def binary(operator: str, value: Any, inputs: str = "x c") -> Piece:
    return Piece([node(operator, inputs)], {"c": np.asarray(value, np.float32)})


PIECES: dict[str, Piece] = {
    "conv in groups": conv((4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    "conv with holes": conv((4, 4, 3, 3), dilations=[2, 2], pads=[2, 2, 2, 2], strides=[2, 2]),
    "conv padded on one side": conv((4, 4, 3, 3), pads=[0, 1, 2, 1], strides=[2, 2]),
    "conv SAME_UPPER": conv((4, 4, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv SAME_LOWER": conv((4, 4, 4, 4), auto_pad="SAME_LOWER"),
    "conv VALID": conv((4, 4, 3, 2), auto_pad="VALID"),
    "conv without bias": Piece([node("Conv", "x w")], {"w": numbers(4, 4, 1, 1)}),
    "BatchNormalization": Piece([node("BatchNormalization", "x g b m v", epsilon=1e-3)], NORM),
    "BatchNormalization 9": Piece([node("BatchNormalization", "x g b m v")], NORM, opset=9),
    "BatchNormalization 15": Piece([node("BatchNormalization", "x g b m v")], NORM, opset=15),
    "Relu": one("Relu"),
    "Sigmoid": one("Sigmoid"),
    "Tanh": one("Tanh"),
    "Elu": one("Elu", alpha=0.7),
    "LeakyRelu": one("LeakyRelu", alpha=0.3),
    "PRelu": Piece([node("PRelu", "x s")], {"s": numbers(CHANNELS, 1, 1)}),
    "PRelu of one slope": Piece([node("PRelu", "x s")], {"s": numbers(1)}),
    "HardSigmoid": one("HardSigmoid"),
    "HardSigmoid of its own": one("HardSigmoid", alpha=0.1666667, beta=0.4),
    "HardSwish": one("HardSwish", opset=14),
    "swish": Piece([node("Sigmoid", "x", "gate"), node("Mul", "x gate")]),
    "Clip 6": one("Clip", opset=7, min=0.0, max=6.0),
    "Clip 13": Piece(
        [node("Constant", "", "low", value_float=-0.1), node("Clip", "x low high")],
        {"high": np.float32(0.2)},
    ),
    "Clip on one side": Piece([node("Clip", "x - high")], {"high": np.float32(0.1)}),
    "Identity, Cast and Dropout": Piece(
        [
            node("Identity", "x", "x1"),
            node("Cast", "x1", "x2", to=TensorProto.FLOAT),
            node("Dropout", "x2 ratio"),
        ],
        {"ratio": np.float32(0.4)},
    ),
    "Dropout 7": one("Dropout", opset=7, ratio=0.3),
    "LRN": one("LRN", size=3, alpha=0.1, beta=0.6, bias=1.5),
    "MaxPool": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "MaxPool padded on one side": one("MaxPool", kernel_shape=[3, 3], pads=[0, 0, 2, 2]),
    "MaxPool rounded up": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "MaxPool SAME": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    "AveragePool": one("AveragePool", kernel_shape=[3, 2], strides=[2, 1]),
    "AveragePool without its padding": one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "AveragePool with its padding": one(
        "AveragePool", kernel_shape=[3, 3], pads=[1, 0, 1, 2], count_include_pad=1
    ),
    "GlobalMaxPool": one("GlobalMaxPool"),
    "ReduceMean": one("ReduceMean", axes=[2, 3]),
    "ReduceMean 18": Piece([node("ReduceMean", "x a")], {"a": integers(-1, -2)}, opset=18),
    "squeeze and excitation": Piece(
        [
            node("ReduceMean", "x", "mean", axes=[2, 3], keepdims=0),
            node("Gemm", "mean w", "gate", transB=1),
            node("Unsqueeze", "gate axes", "wide"),
            node("Mul", "x wide"),
        ],
        {"w": numbers(4, 4), "axes": integers(2, 3)},
    ),
    "Add": Piece([node("Relu", "x", "r"), node("Tanh", "x", "t"), node("Add", "r t")]),
    "Add to a convolution that is read twice": Piece([node("Tanh", "x", "t"), node("Add", "x t")]),
    "Sub": Piece([node("Relu", "x", "r"), node("Sub", "x r")]),
    "Sum": Piece([node("Relu", "x", "r"), node("Tanh", "x", "t"), node("Sum", "x r t")]),
    "Mul by one for each channel": binary("Mul", EVERY),
    "Add of one for each channel": binary("Add", EVERY[0]),
    "Sub of one for each channel": binary("Sub", EVERY),
    "Div by one for each channel": binary("Div", abs(EVERY) + 1),
    "Sub of a number": binary("Sub", 0.4),
    "Sub from a number": binary("Sub", [0.4], "c x"),
    "Div of a number": binary("Div", [[2.5]]),
    "Concat": Piece([node("Relu", "x", "r"), node("Concat", "x r", axis=1)]),
    "Split": Piece(
        [node("Split", "x", "a b", axis=1), node("Concat", "b a", axis=1)],
    ),
    "Split 9": Piece(
        [node("Split", "x", "a b", axis=1, split=[1, 3]), node("Concat", "b a", axis=1)], opset=9
    ),
    "Split 18": Piece(
        [node("Split", "x parts", "a b", axis=1), node("Concat", "b a", axis=1)],
        {"parts": integers(3, 1)},
        opset=18,
    ),
    "Slice": Piece(
        [node("Slice", "x from to axes", "a"), node("Concat", "x a", axis=1)],
        {"from": integers(-3), "to": integers(2**62), "axes": integers(1)},
    ),
    "Slice 7": Piece([node("Slice", "x", axes=[2, 3], starts=[1, 0], ends=[9, -1])], opset=7),
    "Pad": Piece(
        [node("Pad", "x p v")], {"p": integers(0, 0, 1, 0, 0, 0, 2, 3), "v": np.float32(0.3)}
    ),
    "Pad 7": one("Pad", opset=7, mode="reflect", pads=[0, 0, 1, 1, 0, 0, 1, 1]),
    "Pad of nothing": Piece([node("Pad", "x p")], {"p": integers(*[0] * 8)}),
    "shuffled channels": Piece(
        [
            node("Reshape", "x apart", "groups"),
            node("Transpose", "groups", "swapped", perm=[0, 2, 1, 3, 4]),
            node("Reshape", "swapped together"),
        ],
        {"apart": integers(-1, 2, 2, SIZE, SIZE), "together": integers(0, 4, 12, -1)},
    ),
    "Reshape without zeros": Piece(
        [
            node("Reshape", "x apart", "groups", allowzero=1),
            node("Reshape", "groups together", allowzero=1),
        ],
        {"apart": integers(-1, 2, 2 * SIZE * SIZE), "together": integers(-1, 4, SIZE, SIZE)},
        opset=14,
    ),
    "LogSoftmax": Piece([node("LogSoftmax", "x", axis=1)]),
    "Squeeze": Piece(
        [
            node("GlobalAveragePool", "x", "mean"),
            node("Squeeze", "mean axes", "flat2"),
            node("Unsqueeze", "flat2 axes"),
        ],
        {"axes": integers(2, 3)},
    ),
    "Squeeze 11": Piece(
        [
            node("GlobalAveragePool", "x", "mean"),
            node("Squeeze", "mean", "flat2", axes=[-1, -2]),
            node("Unsqueeze", "flat2", axes=[-1, 2]),
        ],
        opset=11,
    ),
}  # fmt: skip
COLUMNS = {"Concat": 8, "Slice": 7}


def write(model: onnx.ModelProto, directory: Path) -> Path:
    path = directory / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def output_of(network: Network, data: Any) -> Any:
    """Return the output of an imported network."""
    executor = network.symbol.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
    executor.copy_params_from(network.args, network.aux)
    (output,) = executor.forward(data=mx.nd.array(data))
    return output.asnumpy()


def assert_alike(path: Path, *, size: int = SIZE, count: int = 3) -> Network:
    network, data = to_network(read_graph(path), size=size), images(count, size)
    theirs = onnxruntime_output(path, data)
    np.testing.assert_allclose(output_of(network, data), theirs, atol=2e-6, rtol=1e-5)
    return network


def refused(path: Path, *, size: int = SIZE) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        to_network(read_graph(path), size=size)
    assert caught.value.code == ExitCode.InvalidData
    return caught.value


@pytest.mark.parametrize("name", PIECES)
def test_each_operator_computes_what_onnx_defines(name: str, tmp_path: Path) -> None:
    model = classifier(PIECES[name], columns=COLUMNS.get(name, CHANNELS))
    network = assert_alike(path := write(model, tmp_path))
    assert (
        np.ptp(onnxruntime_output(path, images(3, SIZE)), axis=0).max() > 1e-3
    )  # it depends on the images
    surgery = replace_head(network, 7)
    assert surgery.replaced == "Gemm_logits"
    assert_only_the_head_is_replaced(network, surgery)
    assert_head_for_classes(surgery, size=SIZE)


def test_every_supported_operator_is_tested() -> None:
    tried = {each.op_type for piece in [*PIECES.values(), *HEADS.values()] for each in piece.nodes}
    assert CONVERTERS.keys() == OPERATORS
    assert tried >= OPERATORS | FOLDED - {"Floor"}


def computed_shape(operator: str = "Reshape") -> Piece:
    """Return the nodes that PyTorch exports for `x.view(x.size(0), -1)`."""
    return Piece(
        [
            node("GlobalAveragePool", "y", "pooled"),
            node("Shape", "pooled", "shape"),
            node("Constant", "", "zero", value=numpy_helper.from_array(np.array(0, np.int64))),
            node("Gather", "shape zero", "count", axis=0),
            node("Unsqueeze", "count first", "counts"),
            node("ConstantOfShape", "length", "one",
                 value=numpy_helper.from_array(integers(-1))),
            node("Concat", "counts one", "target", axis=0),
            node(operator, "pooled target", "flat"),
            node("Gemm", "flat w b", "logits", transB=1),
            node("Softmax", "logits", "probabilities"),
        ],
        {"w": numbers(CLASSES, 4), "b": numbers(CLASSES), "first": integers(0),
         "length": integers(1)},
    )  # fmt: skip


POOLED = [node("GlobalAveragePool", "y", "pooled"), node("Flatten", "pooled", "flat")]
END = node("Softmax", "logits", "probabilities")
MATRIX = {"w": numbers(4, CLASSES), "b": numbers(CLASSES)}
HEADS: dict[str, Piece] = {
    "a computed shape": computed_shape(),
    "MatMul and Add": Piece(
        [*POOLED, node("MatMul", "flat w", "product"), node("Add", "b product", "logits"), END],
        MATRIX,
    ),
    "MatMul alone": Piece([*POOLED, node("MatMul", "flat w", "logits"), END], MATRIX),
    "MatMul by a transposed matrix": Piece(
        [
            *POOLED,
            node("Transpose", "t", "w", perm=[1, 0]),
            node("MatMul", "flat w", "product"),
            node("Add", "product b", "logits"),
            END,
        ],
        {"t": numbers(CLASSES, 4), "b": numbers(1, CLASSES)},
    ),
    "Gemm with factors": Piece(
        [*POOLED, node("Gemm", "flat w b", "logits", alpha=0.5, beta=2.0), END], MATRIX
    ),
    "1x1 convolution": Piece(
        [
            node("Conv", "y w b", "maps"),
            node("GlobalAveragePool", "maps", "pooled"),
            node("Flatten", "pooled", "logits"),
            END,
        ],
        {"w": numbers(CLASSES, 4, 1, 1), "b": numbers(CLASSES)},
    ),
    "logits": Piece(
        [*POOLED, node("Gemm", "flat w b", "probabilities")], MATRIX
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_the_last_layer_is_found_in_all_its_forms(name: str, tmp_path: Path) -> None:
    network = assert_alike(write(classifier(PIECES["Relu"], head=HEADS[name]), tmp_path))
    surgery = replace_head(network, 7)
    layer = surgery.replaced.partition("_")[0]
    assert layer == (
        "Conv" if "convolution" in name else name.split()[0] if "M" in name else "Gemm"
    )
    assert set(surgery.dropped) >= {f"{surgery.replaced}_weight"}
    assert_head_for_classes(surgery, size=SIZE)


@pytest.mark.parametrize("opset", range(7, 22))
def test_files_of_all_opsets_are_read(opset: int, tmp_path: Path) -> None:
    piece = Piece([node("BatchNormalization", "x g b m v", "n"), node("Relu", "n")], NORM, opset)
    assert_alike(write(classifier(piece), tmp_path))


def test_a_network_exported_for_one_image_takes_many(tmp_path: Path) -> None:
    """Exporters write the number of images of their example into shapes."""
    head = Piece(
        [
            node("GlobalAveragePool", "y", "pooled"),
            node("Reshape", "pooled target", "flat"),
            node("Gemm", "flat w b", "probabilities"),
        ],
        MATRIX | {"target": integers(1, -1)},
    )
    path = write(classifier(PIECES["Relu"], head=head, batch=1), tmp_path)
    network = assert_alike(path, count=1)
    both = images(2, SIZE)
    rows = [onnxruntime_output(path, both[index : index + 1])[0] for index in (0, 1)]
    np.testing.assert_allclose(output_of(network, both), rows, atol=2e-6)


def test_a_network_of_tensorflow_gets_channels_last(tmp_path: Path) -> None:
    model = classifier(Piece([node("Relu", "x")]), shape=(SIZE, SIZE, 3))
    model.graph.node[0].input[0] = "first"
    model.graph.node.insert(0, node("Transpose", "images", "first", perm=[0, 3, 1, 2]))
    path = write(model, tmp_path)
    network, data = to_network(read_graph(path), size=SIZE), images(3, SIZE)
    theirs = onnxruntime_output(path, data.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(output_of(network, data), theirs, atol=2e-6)
    assert_head_for_classes(replace_head(network, 7), size=SIZE)


def test_another_size_of_images_can_be_set(tmp_path: Path) -> None:
    path = write(classifier(PIECES["Relu"]), tmp_path)
    assert read_graph(path).size == SIZE
    network = to_network(read_graph(path), size=20)
    assert output_of(network, images(2, 20)).shape == (2, CLASSES)


def test_weights_of_half_precision_are_read(tmp_path: Path) -> None:
    model = classifier(PIECES["Relu"])
    for tensor in model.graph.initializer:
        half = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    path = write(model, tmp_path)
    network, data = to_network(read_graph(path), size=SIZE), images(2, SIZE)
    theirs = onnxruntime_output(path, data.astype(np.float16))
    np.testing.assert_allclose(output_of(network, data), theirs, atol=2e-3)


def test_constants_are_not_trained(tmp_path: Path) -> None:
    """The mean of the pixels, subtracted inside of the network, is one."""
    path = write(classifier(PIECES["Sub of one for each channel"]), tmp_path)
    network = replace_head(to_network(read_graph(path), size=SIZE), 7).network
    executor = network.symbol.simple_bind(mx.cpu(), data=(2, 3, SIZE, SIZE), softmax_label=(2,))
    executor.copy_params_from(network.args, network.aux, allow_extra_params=True)
    executor.arg_dict["fc1_weight"][:] = 0.1 * mx.nd.random.normal(shape=(7, CHANNELS))
    executor.forward(is_train=True, data=mx.nd.array(images(2, SIZE)))
    executor.backward()
    slopes = {
        name: float(abs(value).sum().asscalar()) for name, value in executor.grad_dict.items()
    }
    assert slopes["Sub_y_constant"] == 0
    assert slopes["Conv_x_weight"] > 0


def assert_read_as_the_same(before: Network, path: Path, *, size: int) -> None:
    network = assert_alike(path, size=size)
    bare = Network(before.symbol.get_children()[0], before.args, before.aux)
    probabilities = mx.nd.softmax(mx.nd.array(output_of(bare, images(3, size)))).asnumpy()
    np.testing.assert_allclose(output_of(network, images(3, size)), probabilities, atol=1e-6)
    surgery = replace_head(network, 7)
    assert_only_the_head_is_replaced(network, surgery)
    assert_head_for_classes(surgery, size=size)


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (of_gluon("mobilenetv2_0.25"), 64),
        (of_gluon("squeezenet1.1"), 224),
        (of_gluon("resnet"), 64),
        pytest.param(of_gluon("alexnet"), 96, marks=pytest.mark.slow),
        pytest.param(of_gluon("densenet121"), 224, marks=pytest.mark.slow),
        pytest.param(of_gluon("inceptionv3"), 299, marks=pytest.mark.slow),
        pytest.param(of_gluon("mobilenet0.25"), 64, marks=pytest.mark.slow),
        pytest.param(of_gluon("vgg11_bn"), 32, marks=pytest.mark.slow),
    ],
)
def test_an_exported_network_is_read_as_the_same_network(
    build: Callable[[int], Network], size: int, tmp_path: Path
) -> None:
    before = build(size)
    path = write(convert(before, preprocessing(size)), tmp_path)
    assert_read_as_the_same(before, path, size=size)


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet-lite0",
        pytest.param("efficientnet-lite1", marks=pytest.mark.slow),
        pytest.param("efficientnet-lite2", marks=pytest.mark.slow),
        pytest.param("mobilenet-v2", marks=pytest.mark.slow),
    ],
)
def test_an_exported_network_of_the_catalogue_is_read_as_the_same_network(
    name: str, tmp_path: Path
) -> None:
    directory = convert_entry(name, tmp_path)
    before, given = load(directory), load_preprocessing(directory)
    path, size = write(convert(before, given), tmp_path), given.input_size
    assert_read_as_the_same(before, path, size=size)


UNKNOWN = Piece([node("Einsum", "x x", equation="nchw,nchw->nchw")])
TRAINING = Piece(
    [node("BatchNormalization", "x g b m v", "y rm rv", training_mode=1)], NORM, opset=15
)
VARIABLE = Piece([node("Relu", "x", "w"), node("Conv", "x w")])
MIXED = Piece([node("Reshape", "x target")], {"target": integers(-1, 2, SIZE, SIZE)})
EMPTY = Piece([node("Reshape", "x zero", allowzero=1)], {"zero": integers(0, 4, 12, 12)}, 14)
CUSTOM = Piece([helper.make_node("Fused", ["x"], ["y"], "odd", domain="com.example")])


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (UNKNOWN, "the operator Einsum (node 'Einsum_y') is not supported"),
        (CUSTOM, "the operator com.example.Fused (node 'odd') is not supported"),
        (TRAINING, "(node 'BatchNormalization_y rm rv'): it is in training mode"),
        (VARIABLE, "Conv (node 'Conv_y'): its input 'w' depends on the image"),
        (MIXED, "Reshape (node 'Reshape_y'): it mixes the images of a batch"),
        (one("AveragePool", kernel_shape=[3, 3], pads=[0, 0, 1, 1]), "not the same on both sides"),
        (one("MaxPool", kernel_shape=[3, 3], dilations=[2, 2]), "indices or dilations"),
        (one("ReduceMean", axes=[1]), "it is not the mean of each channel"),
        (one("Flatten", axis=2), "it mixes the images of a batch"),
        (one("Reshape", "x"), "depends on the image"),
        (EMPTY, "its output would be empty"),
    ],
)  # fmt: skip
def test_a_node_without_mxnet_equivalent_is_refused_by_name(
    piece: Piece, message: str, tmp_path: Path
) -> None:
    model = classifier(piece)
    if piece is CUSTOM:
        model.opset_import.append(helper.make_opsetid("com.example", 1))
    error = refused(write(model, tmp_path))
    assert message in error.message
    assert "GlobalAveragePool, GlobalMaxPool, HardSigmoid" in error.hint


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


def no_output(model: onnx.ModelProto) -> None:
    model.graph.node[1].ClearField("name")
    model.graph.node[1].ClearField("output")


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1]))


def grey(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1


def oblong(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 9


def old(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 6


def future(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def cut_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = b"\0" * 40


def huge_weights(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2**20, 2**20]


def outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    external_data_helper.set_external_data(tensor, "../weights.data", length=len(tensor.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL


def endless(model: onnx.ModelProto) -> None:
    outside(model)
    model.graph.initializer[0].external_data[-1].value = "400000000"


def empty(model: onnx.ModelProto) -> None:
    model.Clear()


def vast_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(integers(2**40), "length"))
    model.graph.node[1].CopyFrom(node("ConstantOfShape", "length"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (rename_input, "nowhere"),
        (no_output, "output size 0"),
        (second_input, "it must have one input, images; it has 2 (images, mask)"),
        (grey, "its input images is not of images in RGB: any x 1 x 12 x 12"),
        (oblong, "its images are not square: any x 3 x 12 x 9"),
        (old, "its opset is [6], not one of 7 to "),
        (future, "its opset is [99], not one of 7 to "),
        (cut_weights, "cannot reshape array of size 10"),
        (huge_weights, "its weights would take more than 1073741824 bytes"),
        (outside, "weights.data"),
        (endless, "has another length in '../weights.data'"),
        (empty, "it must have one input, images; it has 0 (none)"),
        (vast_constant, "it is supported only where it computes shapes"),
    ],
)
def test_an_invalid_file_is_explained(
    damage: Callable[[onnx.ModelProto], None], message: str, tmp_path: Path
) -> None:
    model = classifier(PIECES["Relu"])
    damage(model)
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "weights.data").write_bytes(b"\0" * 1000)
    assert message in refused(write(model, inner)).message


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"\x08\x08\x12\x7fshort"])
def test_a_file_that_is_not_onnx_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert "is not an ONNX file that can be used" in refused(path).message


def test_weights_in_a_second_file_are_read(tmp_path: Path) -> None:
    """PyTorch's exporter writes large networks like this."""
    model = classifier(PIECES["Relu"])
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    assert (tmp_path / "model.onnx.data").stat().st_size > 0
    assert_alike(path)


def test_a_network_with_other_outputs_than_onnxruntime_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONVERTERS, "Relu", CONVERTERS["Tanh"])
    error = refused(write(classifier(PIECES["Relu"]), tmp_path))
    assert error.message.endswith("MXNet's output differs from onnxruntime's")


def test_reading_needs_no_mxnet(tmp_path: Path) -> None:
    path = write(classifier(PIECES["Relu"]), tmp_path)
    program = f"""
import sys
sys.modules["mxnet"] = None  # as if it were not installed
from pathlib import Path
from finetune_trainer.model.formats.onnx.file import read_graph
print(read_graph(Path({str(path)!r})).size)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == str(SIZE), done.stderr
