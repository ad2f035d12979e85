"""A network of the user's own, from the file that the URI names to a network for the classes."""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import mxnet as mx
import numpy as np
import onnx
import pytest
from finetune_trainer.contract import ExitCode, Model, TrainerError
from finetune_trainer.dataset.preprocessing import PREPROCESSING, Preprocessing
from finetune_trainer.fetch import check_and_fetch
from finetune_trainer.model import catalogue, origin
from finetune_trainer.model.network import Network, load, save
from finetune_trainer.model.stage import build
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import BUILT, FETCHED, Built
from finetune_trainer.storage import web_source

from tests.servers import web
from tests.trainer.model.test_formats import Malicious
from tests.trainer.support import onnx_files
from tests.trainer.support.architectures import alexnet_like, pretrained, tutorial_resnet
from tests.trainer.support.networks import make_run
from tests.trainer.support.reference import resnet_state
from tests.trainer.support.weight_files import bare_pth, pth, safetensors

NORMALIZATION = {"mean": ["123.68", "116.78", "103.94"], "std": ["58.4", "57.1", "57.4"]}
SIZE = 64


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_source, "PAUSES_SECONDS", (0.01,))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def run_of(tmp_path: Path, source: dict[str, Any], **model: Any) -> Run:
    run, _ = make_run(tmp_path, train=[0, 1, 2], validation=[0])
    body = {"source": source, "normalization": NORMALIZATION, "inputSize": SIZE} | model
    body = {key: value for key, value in body.items() if value is not None}
    job = msgspec.structs.replace(run.job, model=msgspec.convert(body, Model))
    return dataclasses.replace(run, job=job)


def built(run: Run) -> tuple[Built, Network]:
    build(run)
    result = files.read_json(run.paths.job / BUILT, Built)
    return result, load(Path(result.directory))


def fail(run: Run) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        build(run)
    return caught.value


def write_pair(folder: Path, prefix: str = "resnet-50", *, epoch: int = 0) -> Network:
    """Write what `mx.model.save_checkpoint` writes: the names of MXNet's model zoo."""
    network = pretrained(tutorial_resnet(), size=SIZE)
    path = str(folder / prefix)
    mx.model.save_checkpoint(path, epoch, network.symbol, network.args, network.aux)
    return network


def assert_same(network: Network, before: Network, *, without: set[str]) -> None:
    assert before.args.keys() - network.args.keys() == without
    for name, value in (network.args | network.aux).items():
        assert np.array_equal(value.asnumpy(), (before.args | before.aux)[name].asnumpy()), name


@pytest.mark.parametrize(
    "path",
    ["", "/resnet-50", "/resnet-50-symbol.json", "/resnet-50-0000.params"],
    ids=["folder", "prefix", "symbol", "parameters"],
)
def test_the_pair_of_mxnets_tutorial_is_found(path: str, claim: Path, tmp_path: Path) -> None:
    before = write_pair(claim)
    result, network = built(run_of(tmp_path, {"uri": f"pvc://networks/imagenet{path}"}))
    assert_same(network, before, without={"fc1_weight", "fc1_bias"})
    assert (result.features, result.status.head) == ("flatten0_output", "fc1")
    assert result.mean == (123.68, 116.78, 103.94)
    assert result.input_size == SIZE
    assert result.status.name == (path[1:] or "imagenet")
    assert result.status.sha256 == files.sha256_of(claim / "resnet-50-0000.params")


def test_a_digest_of_two_files_is_refused(claim: Path, tmp_path: Path) -> None:
    write_pair(claim)
    source = {"uri": "pvc://networks/imagenet/resnet-50", "sha256": "0" * 64}
    error = fail(run_of(tmp_path, source))
    assert error.code == ExitCode.InvalidSpec
    assert "sha256 is of one file, but model.source.uri names two" in error.message


def test_of_several_epochs_the_last_counts_and_of_several_networks_the_named_one(
    claim: Path, tmp_path: Path
) -> None:
    write_pair(claim)
    last = write_pair(claim, epoch=12)
    write_pair(claim, "vgg16")
    _, network = built(run_of(tmp_path, {"uri": "pvc://networks/imagenet/resnet-50"}))
    assert_same(network, last, without={"fc1_weight", "fc1_bias"})
    error = fail(run_of(tmp_path, {"uri": "pvc://networks/imagenet"}))
    assert error.code == ExitCode.InvalidData
    assert "2 NAME-symbol.json found, one is needed; there is: resnet-50-symbol" in error.message


def test_an_exported_model_of_an_earlier_job_has_its_normalization(
    claim: Path, tmp_path: Path
) -> None:
    network = pretrained(tutorial_resnet(), size=SIZE)
    save(network, claim)
    run = run_of(tmp_path, {"uri": "pvc://networks/imagenet"}, normalization=None, inputSize=None)
    error = fail(run)
    assert error.code == ExitCode.InvalidSpec
    assert error.message.startswith("model.normalization is not set")
    given = Preprocessing(input_size=48, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    files.write_json(claim / PREPROCESSING, given)
    result, _ = built(run)
    assert (result.input_size, result.mean, result.std) == (48, given.mean, given.std)


def test_a_file_that_is_no_preprocessing_of_ours_is_named(claim: Path, tmp_path: Path) -> None:
    write_pair(claim)
    (claim / PREPROCESSING).write_text('{"resize": 256}')
    error = fail(run_of(tmp_path, {"uri": "pvc://networks/imagenet"}))
    assert error.code == ExitCode.InvalidData
    assert "preprocessing.json beside" in error.message


def test_hidden_files_of_macos_are_no_network(claim: Path, tmp_path: Path) -> None:
    write_pair(claim)
    (claim / "._resnet-50-symbol.json").write_bytes(b"\0\5\x16\7")
    built(run_of(tmp_path, {"uri": "pvc://networks/imagenet"}))


def test_parameters_that_gluon_saved_have_no_prefixes(claim: Path, tmp_path: Path) -> None:
    before = write_pair(claim)
    mx.nd.save(str(claim / "resnet-50-0000.params"), before.args | before.aux)
    _, network = built(run_of(tmp_path, {"uri": "pvc://networks/imagenet"}))
    assert_same(network, before, without={"fc1_weight", "fc1_bias"})


@contextlib.contextmanager
def edited(symbol: Path) -> Iterator[dict[str, Any]]:
    """Give the graph of a symbol; changes are written back."""
    graph = json.loads(symbol.read_text())
    yield graph
    symbol.write_text(json.dumps(graph))


def test_a_symbol_of_an_old_mxnet_is_read(claim: Path, tmp_path: Path) -> None:
    before = write_pair(claim)
    with edited(claim / "resnet-50-symbol.json") as graph:
        for node in graph["nodes"]:  # as 0.8 wrote it: two kinds of attributes, no versions
            node["param"] = node.pop("attrs", {})
            node["attr"] = {"ctx_group": "stage1"}
            node["inputs"] = [entry[:2] for entry in node["inputs"]]
            node["backward_source_id"] = -1
        graph["heads"] = [entry[:2] for entry in graph["heads"]]
        del graph["attrs"], graph["node_row_ptr"]
    _, network = built(run_of(tmp_path, {"uri": "pvc://networks/imagenet"}))
    assert_same(network, before, without={"fc1_weight", "fc1_bias"})


def test_the_symbol_may_declare_the_size_of_its_images(claim: Path, tmp_path: Path) -> None:
    network = write_pair(claim)
    path = claim / "resnet-50-symbol.json"
    with edited(path) as graph:
        data = next(node for node in graph["nodes"] if node["name"] == "data")
        data["attrs"] = {"__shape__": "(0, 3, 96, 96)"}
    result, _ = built(run_of(tmp_path, {"uri": "pvc://networks/imagenet"}, inputSize=None))
    assert result.input_size == 96
    path.write_text(network.symbol.tojson())
    result, _ = built(run_of(tmp_path, {"uri": "pvc://networks/imagenet"}, inputSize=None))
    assert result.input_size == 224


def test_the_last_layer_to_keep_can_be_named(claim: Path, tmp_path: Path) -> None:
    write_pair(claim)
    source = {"uri": "pvc://networks/imagenet"}
    result, _ = built(run_of(tmp_path, source, replaceAfter="bn1"))
    assert result.features == "bn1_output"
    error = fail(run_of(tmp_path, source, replaceAfter="flatten9"))
    assert error.code == ExitCode.InvalidSpec
    assert "Similar: flatten0;" in error.hint


def test_batch_norms_adapt_to_the_new_data(claim: Path, tmp_path: Path) -> None:
    write_pair(claim)
    path = claim / "resnet-50-symbol.json"
    path.write_text(
        path.read_text().replace('"eps": "2e-05"', '"eps": "2e-05", "momentum": "0.99"')
    )
    _, network = built(run_of(tmp_path, {"uri": "pvc://networks/imagenet"}))
    nodes = json.loads(network.symbol.tojson())["nodes"]
    momenta = [node["attrs"]["momentum"] for node in nodes if node["op"] == "BatchNorm"]
    assert momenta == ["0.9"] * 4


@pytest.fixture(scope="module")
def state() -> dict[str, Any]:
    return resnet_state(18, classes=9)


FORMATS = pytest.mark.parametrize(
    ("name", "write"), [("resnet18.pth", pth), ("model.safetensors", safetensors)]
)
Writer = Callable[..., bytes]


@FORMATS
@pytest.mark.parametrize("of", ["", "/{name}"], ids=["folder", "file"])
def test_a_state_dict_becomes_the_network_that_is_named(
    of: str, name: str, write: Writer, state: dict[str, Any], claim: Path, tmp_path: Path
) -> None:
    (claim / name).write_bytes(write(state))
    (claim / "config.json").write_text("{}")
    uri = f"pvc://networks/imagenet{of.format(name=name)}"
    result, network = built(run_of(tmp_path, {"uri": uri, "architecture": "resnet-18"}))
    assert network.symbol.infer_shape(data=(1, 3, SIZE, SIZE))[1] == [(1, 3)]
    assert "fc_weight" not in network.args
    kernel = network.args["layer4_1_conv2_weight"].asnumpy()
    assert np.array_equal(kernel, state["layer4.1.conv2.weight"])
    assert result.status.sha256 == files.sha256_of(claim / name)
    assert result.status.head == "fc"


def test_pixels_are_scaled_as_for_the_architecture_that_is_named(
    state: dict[str, Any], claim: Path, tmp_path: Path
) -> None:
    (claim / "weights.pth").write_bytes(pth(state))
    result, _ = built(run_of(tmp_path, PTH, normalization=None))
    assert (result.mean, result.std) == ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


@FORMATS
def test_a_file_on_the_web_is_fetched_once_and_checked(
    name: str, write: Writer, state: dict[str, Any], tmp_path: Path
) -> None:
    with web.serve(write(state)) as site:
        source = {"uri": site.url, "sha256": site.sha256, "architecture": "resnet-18"}
        for _ in range(2):
            result, _ = built(run_of(tmp_path, source))
        assert len(site.requests) == 1
        assert result.status.sha256 == site.sha256
        error = fail(run_of(tmp_path, source | {"sha256": "0" * 64}))
    assert error.code == ExitCode.InvalidData
    assert site.sha256 in error.message
    assert error.hint.endswith("set model.source.sha256 to its new digest.")


def test_a_secret_opens_the_server(
    state: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web.serve(pth(state)) as site:
        site.authorization = "Bearer right"
        source = {"uri": site.url, "sha256": site.sha256, "architecture": "resnet-18"}
        error = fail(run_of(tmp_path, source))
        assert error.code == ExitCode.PermissionDenied
        assert "model.source.secretRef" in error.hint
        monkeypatch.setenv("MODEL_TOKEN", "right")
        built(run_of(tmp_path, source))


def test_an_archive_on_the_web_holds_the_pair(claim: Path, tmp_path: Path) -> None:
    before = write_pair(claim)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(claim, "resnet-50")
    with web.serve(content.getvalue()) as site:
        _, network = built(run_of(tmp_path, {"uri": site.url, "sha256": site.sha256}))
    assert_same(network, before, without={"fc1_weight", "fc1_bias"})


def test_a_released_file_must_have_the_digest_in_its_name(
    tmp_path: Path, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = web.make_certificate(tmp_path / "certificate.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    content = pth(resnet_state(18, classes=1000))
    run, _ = make_run(tmp_path, train=[0, 1, 2], validation=[0])
    with web.serve(content, certificate=certificate) as site:
        entry = catalogue.find("resnet-18")
        release = catalogue.Download(
            uri=site.url, sha256_prefix=hashlib.sha256(content).hexdigest()[:8], megabytes=45
        )
        put = msgspec.structs.replace(entry, download=release)
        monkeypatch.setattr(catalogue, "entries", lambda: {"resnet-18": put})
        model = Model(name="resnet-18", input_size=SIZE)
        run = dataclasses.replace(run, job=msgspec.structs.replace(run.job, model=model))
        result, network = built(run)
        assert result.status.sha256 == site.sha256
        assert network.args["conv1_weight"].shape == (64, 3, 7, 7)
        site.content, site.etag = pth(state), '"v2"'
        error = fail(run)
        site.authorization = "of a proxy"
        denied = fail(run)
    assert error.code == ExitCode.InvalidData
    assert f"does not begin with {release.sha256_prefix}" in error.message
    assert "put the file on a volume and name it in model.source" in error.hint
    assert denied.code == ExitCode.PermissionDenied
    assert "put the file on a volume and name it in model.source" in denied.hint
    assert "secretRef" not in denied.hint


PAIR = {"uri": "pvc://networks/imagenet"}
PTH = {"uri": "pvc://networks/imagenet/weights.pth", "architecture": "resnet-18"}


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("classifier.onnx", {"uri": "pvc://networks/imagenet"}),
        ("classifier.onnx", {"uri": "pvc://networks/imagenet/classifier.onnx"}),
        ("classifier", {"uri": "pvc://networks/imagenet/classifier"}),
        ("model.bin", {"uri": "pvc://networks/imagenet", "format": "onnx"}),
    ],
)
def test_an_onnx_file_has_its_network_and_input_size(
    name: str, source: dict[str, Any], claim: Path, tmp_path: Path
) -> None:
    (claim / name).write_bytes(onnx_files.relu_classifier())
    run = run_of(tmp_path, source, inputSize=None)
    result, network = built(run)
    assert result.input_size == onnx_files.SIZE
    assert (result.features, result.status.head) == ("Flatten_flat_output", "Gemm_logits")
    assert result.status.sha256 == files.sha256_of(claim / name)
    assert network.symbol.infer_shape(data=(1, 3, 12, 12))[1] == [(1, 3)]
    assert set(network.args) == {"Conv_x_weight", "Conv_x_bias"}


def test_an_onnx_file_of_an_earlier_job_has_its_normalization(claim: Path, tmp_path: Path) -> None:
    (claim / "model.onnx").write_bytes(onnx_files.relu_classifier())
    given = Preprocessing(input_size=20, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    files.write_json(claim / PREPROCESSING, given)
    source = {"uri": "pvc://networks/imagenet/model.onnx"}
    result, _ = built(run_of(tmp_path, source, normalization=None, inputSize=None))
    assert (result.input_size, result.mean, result.std) == (20, given.mean, given.std)


def test_an_unsupported_operator_is_named_before_a_photo_is_read(
    claim: Path, tmp_path: Path
) -> None:
    (claim / "net.onnx").write_bytes(onnx_files.relu_classifier("Einsum", equation="a,b->ab"))
    with pytest.raises(TrainerError, match="operator Einsum") as error:
        check_and_fetch(run_of(tmp_path, {"uri": "pvc://networks/imagenet"}, inputSize=32))
    assert error.value.code == ExitCode.InvalidData


def damage_pth(claim: Path, state: dict[str, Any]) -> None:
    (claim / "weights.pth").write_bytes(pth(state)[:-100_000])


def make_malicious(claim: Path, state: dict[str, Any]) -> None:
    (claim / "weights.pth").write_bytes(bare_pth(Malicious(claim / "was-run")))


def write_deeper(claim: Path, state: dict[str, Any]) -> None:
    (claim / "weights.pth").write_bytes(pth(resnet_state(34, classes=3)))


def write_page(claim: Path, state: dict[str, Any]) -> None:
    (claim / "weights.pth").write_bytes(b"<!DOCTYPE html>")


def write_weights(claim: Path, state: dict[str, Any]) -> None:
    (claim / "weights.pth").write_bytes(pth(state))


def damage_params(claim: Path, state: dict[str, Any]) -> None:
    write_pair(claim)
    path = claim / "resnet-50-0000.params"
    path.write_bytes(path.read_bytes()[:-2000])


def damage_symbol(claim: Path, state: dict[str, Any]) -> None:
    write_pair(claim)
    path = claim / "resnet-50-symbol.json"
    path.write_bytes(path.read_bytes()[:-20])


def mix_networks(claim: Path, state: dict[str, Any]) -> None:
    write_pair(claim)
    other = pretrained(alexnet_like(), size=SIZE)
    mx.model.save_checkpoint(str(claim / "resnet-50"), 0, other.symbol, other.args, other.aux)
    (claim / "resnet-50-symbol.json").write_text(tutorial_resnet().tojson())


def mix_widths(claim: Path, state: dict[str, Any]) -> None:
    network = write_pair(claim)
    args = network.args | {"conv0_weight": mx.nd.zeros((16, 3, 3, 3))}
    mx.model.save_checkpoint(str(claim / "resnet-50"), 0, network.symbol, args, network.aux)


def lose_symbol(claim: Path, state: dict[str, Any]) -> None:
    write_pair(claim)
    (claim / "resnet-50-symbol.json").unlink()


def write_nothing(claim: Path, state: dict[str, Any]) -> None:
    pass


BARE = {"uri": PTH["uri"]}
SAFE = PTH | {"format": "safetensors"}
SYMBOL = PTH | {"format": "mxnet"}
DIGEST = PTH | {"sha256": "0" * 64}


@pytest.mark.parametrize(
    ("arrange", "source", "code", "message", "hint"),
    [
        (make_malicious, PTH, "InvalidData", "it names posix.system", "as safetensors"),
        (damage_pth, PTH, "InvalidData", "weights.pth is not a PyTorch", "download it again"),
        (write_page, PTH, "InvalidData", "weights.pth is a web page", "a browser shows"),
        (write_deeper, PTH, "InvalidData", "not those of resnet-18: 80", "resnet-34"),
        (write_deeper, PTH, "InvalidData", "layer1.2.bn1.bias has no place", "resnet-34"),
        (write_weights, BARE, "InvalidSpec", "weights alone", "resnet-50"),
        (write_weights, SYMBOL, "InvalidData", "no NAME-symbol.json", "one model"),
        (write_weights, SAFE, "InvalidData", "not a safetensors", "again"),
        (write_weights, DIGEST, "InvalidData", "has the sha256", "new digest"),
        (write_nothing, PTH, "InputNotFound", "there is no 'weights.pth'", "there: nothing"),
        (write_nothing, PAIR, "InvalidData", "no weights file found", "the one model"),
        (damage_params, PAIR, "InvalidData", "resnet-50-0000.params", "Copy it again"),
        (damage_symbol, PAIR, "InvalidData", "resnet-50-symbol.json", "Copy it again"),
        (mix_networks, PAIR, "InvalidData", "are missing, such as bn_data_gamma", "same"),
        (mix_networks, PAIR, "InvalidData", "does not have conv", "same"),
        (mix_widths, PAIR, "InvalidData", "conv0_weight is 16x3x3x3, not 8x3x3x3", "same"),
        (lose_symbol, PAIR, "InvalidData", "no NAME-symbol.json found", "the one model"),
    ],
)
def test_a_network_that_cannot_be_used_is_explained(
    arrange: Callable[[Path, dict[str, Any]], None],
    source: dict[str, Any],
    code: str,
    message: str,
    hint: str,
    state: dict[str, Any],
    claim: Path,
    tmp_path: Path,
) -> None:
    arrange(claim, state)
    error = fail(run_of(tmp_path, source))
    assert error.code.name == code
    assert message in error.message
    assert hint in error.hint
    assert not (claim / "was-run").exists()


def test_an_input_size_that_does_not_fit_the_network_is_named(claim: Path, tmp_path: Path) -> None:
    network = pretrained(alexnet_like(), size=SIZE)
    mx.model.save_checkpoint(str(claim / "alexnet"), 0, network.symbol, network.args, network.aux)
    error = fail(run_of(tmp_path, PAIR, inputSize=96))
    assert error.code == ExitCode.InvalidData
    assert "for images of 96 x 96" in error.message
    assert "fc1_weight is 8x23064, not 8x53016" in error.message
    assert error.hint.endswith("and its model.inputSize.")


VGG = {"source": PTH | {"architecture": "vgg"}}
UNKNOWN = {"source": BARE | {"format": "torch"}}


@pytest.mark.parametrize(
    ("model", "message", "hint"),
    [
        ({}, "exactly one of model.name, model.source and training", ""),
        ({"name": "resnet-18", "source": PAIR}, "exactly one of", ""),
        ({"name": "resnet-1000"}, "model.name: 'resnet-1000' is not in the", "resnet-152"),
        (VGG, "model.source.architecture: 'vgg'", "resnet-50"),
        (UNKNOWN, "weights alone", "resnet-50"),
        ({"name": "efficientnet-lite2"}, "images of 260 pixels, but", "in 297 pixels"),
        ({"source": PTH, "inputSize": 320}, "images of 320 pixels, but", "in 366 pixels"),
    ],
)
def test_an_invalid_spec_is_refused_before_a_photo_is_read(
    model: dict[str, Any], message: str, hint: str, tmp_path: Path
) -> None:
    run, _ = make_run(tmp_path, train=[0, 1, 2], validation=[0])
    image = msgspec.structs.replace(run.job.dataset.image, resize_short=256)
    job = msgspec.structs.replace(
        run.job,
        model=msgspec.convert(model, Model),
        dataset=msgspec.structs.replace(run.job.dataset, image=image),
    )
    with pytest.raises(TrainerError) as error:
        check_and_fetch(dataclasses.replace(run, job=job))
    assert error.value.code == ExitCode.InvalidSpec
    assert message in error.value.message
    assert hint in error.value.hint


def test_a_file_on_a_volume_stays_where_it_is(
    state: dict[str, Any], claim: Path, tmp_path: Path
) -> None:
    (claim / "weights.pth").write_bytes(pth(state))
    network = origin.obtain(run_of(tmp_path, PTH))
    assert network.weights == claim / "weights.pth"
    assert sorted(os.listdir(claim)) == ["weights.pth"]
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_parameters_of_other_floats_become_float32(dtype: str, claim: Path, tmp_path: Path) -> None:
    before = write_pair(claim)
    args, aux = (
        {name: value.astype(dtype) for name, value in part.items()}
        for part in (before.args, before.aux)
    )
    mx.model.save_checkpoint(str(claim / "resnet-50"), 0, before.symbol, args, aux)
    _, network = built(run_of(tmp_path, PAIR))
    assert {v.dtype for v in (network.args | network.aux).values()} == {np.float32}


def test_a_network_that_casts_to_float16_is_computed_in_float32(
    claim: Path, tmp_path: Path
) -> None:
    names = ("weight", "bias")
    weights = [
        mx.sym.var(f"{layer}_{n}", dtype="float16") for layer in ("conv", "fc") for n in names
    ]
    x = mx.sym.Cast(mx.sym.var("data"), dtype="float16")
    x = mx.sym.Convolution(x, *weights[:2], name="conv", num_filter=4, kernel=(3, 3))
    x = mx.sym.Pooling(x, global_pool=True, pool_type="avg", kernel=(1, 1))
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), *weights[2:], name="fc", num_hidden=5)
    shapes = {"conv_weight": (4, 3, 3, 3), "conv_bias": (4,), "fc_weight": (5, 4), "fc_bias": (5,)}
    args = {n: mx.nd.ones(shape, dtype="float16") for n, shape in shapes.items()}
    mx.model.save_checkpoint(str(claim / "resnet-50"), 0, x, args, {})
    _, network = built(run_of(tmp_path, PAIR))
    module = mx.mod.Module(network.symbol, label_names=["softmax_label"])
    module.bind([("data", (1, 3, SIZE, SIZE))], [("softmax_label", (1,))], for_training=False)
    module.init_params(mx.init.Xavier(), network.args, network.aux, allow_missing=True)
    module.forward(mx.io.DataBatch([mx.nd.ones((1, 3, SIZE, SIZE))]), is_train=False)
    assert module.get_outputs()[0].dtype == np.float32


def zero_all(network: Network) -> dict[str, Any]:
    return {name: value * 0 for name, value in network.args.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (zero_all, "all weights of the network are 0"),
        (lambda n: {"conv0_weight": n.args["conv0_weight"] * float("nan")}, "conv0_weight has 216"),
        (
            lambda n: {"conv0_weight": mx.nd.ones((8, 3, 3, 3), dtype="int8")},
            "conv0_weight (int8): the network is quantized",
        ),
        (lambda n: {"bn1_moving_var": -n.aux["bn1_moving_var"]}, "bn1_moving_var is a variance"),
    ],
)
def test_parameters_that_no_trained_network_has_are_named(
    change: Callable[[Network], dict[str, Any]], message: str, claim: Path, tmp_path: Path
) -> None:
    network = write_pair(claim)
    changed = network.args | network.aux | change(network)
    mx.nd.save(str(claim / "resnet-50-0000.params"), changed)
    error = fail(run_of(tmp_path, PAIR))
    assert error.code == ExitCode.InvalidData
    assert message in error.message


def test_values_of_an_onnx_file_are_checked_by_the_names_in_it(claim: Path, tmp_path: Path) -> None:
    model = onnx.load_from_string(onnx_files.relu_classifier())
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    lost = np.full(tensor.dims, np.nan, np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(lost, tensor.name))
    (claim / "net.onnx").write_bytes(model.SerializeToString())
    error = fail(run_of(tmp_path, PAIR, inputSize=None))
    assert f"{tensor.name} has {lost.size} of {lost.size} values that are NaN" in error.message


@pytest.mark.parametrize(
    ("arrange", "source", "message"),
    [
        (write_deeper, PTH, "layer1.2.bn1.bias has no place"),
        (make_malicious, PTH, "it names posix.system"),
        (mix_widths, PAIR, "conv0_weight is 16x3x3x3, not 8x3x3x3"),
        (mix_networks, PAIR, "are missing, such as bn_data_gamma"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_a_photo_is_read(
    arrange: Callable[[Path, dict[str, Any]], None],
    source: dict[str, Any],
    message: str,
    state: dict[str, Any],
    claim: Path,
    tmp_path: Path,
) -> None:
    arrange(claim, state)
    run = run_of(tmp_path, source, inputSize=32)
    with pytest.raises(TrainerError, match=message) as error:
        check_and_fetch(run)
    assert error.value.code == ExitCode.InvalidData
    assert not (run.paths.job / FETCHED).exists()
    assert not (claim / "was-run").exists()
