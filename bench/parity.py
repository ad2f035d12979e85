"""Compares networks with PyTorch's: the converters layer by layer, the ONNX importer at its end.

`python -m bench.parity PYTHON [NAME...]` (`make parity`) has bench/parity_reference.py run by an
interpreter that has PyTorch, which nothing else here needs.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from finetune_trainer.contract import TrainerError
from finetune_trainer.model import catalogue
from finetune_trainer.model.architectures.assemble import ARCHITECTURES, assemble
from finetune_trainer.model.formats.pytorch import read_tensors
from finetune_trainer.model.network import Network

CONVERTED = (
    *("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2", "mobilenet-v2"),
    *("resnet-18", "resnet-34", "resnet-50", "resnet-101", "resnet-152"),
)
IMPORTED = (
    *("alexnet", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "mnasnet1_0"),
    *("mobilenet_v3_small", "regnet_y_400mf", "resnext50_32x4d", "shufflenet_v2_x1_0"),
    *("squeezenet1_1", "vgg11_bn"),
)
FUSION = "MXNET_SUBGRAPH_BACKEND"
LIMIT = 1e-4
"""Largest difference, as a share of the largest number of a layer; rounding makes 1e-6 to 1e-5."""


def main(python: str, names: list[str]) -> int:
    """Print a line for each stage of each network; return 1 if one is not the same."""
    worst = 0.0
    for name in names or (*CONVERTED, *IMPORTED):
        with tempfile.TemporaryDirectory() as temporary:
            directory = Path(temporary)
            script = Path(__file__).with_name("parity_reference.py")
            weights = _weights(name)
            subprocess.run([python, script, name, directory, *weights], check=True)
            if name in CONVERTED:
                worst = max(worst, _compare_layers(name, directory))
            if (directory / "network.onnx").exists():
                worst = max(worst, _compare_import(name, directory))
    print(f"worst {worst:.1e}, allowed {LIMIT:.0e}")
    return int(worst > LIMIT)


def _weights(name: str) -> list[Path]:
    """Return the released weights, where a package has them."""
    package = catalogue.find(name).package if name in CONVERTED else None
    found = catalogue.find_installed(package) if package else None
    return [found] if found else []


def _compare_layers(name: str, directory: Path) -> float:
    image, expected = np.load(directory / "image.npy"), dict(np.load(directory / "layers.npz"))
    network = assemble(name, read_tensors(directory / "weights.pth"), size=image.shape[2])
    module_of = ARCHITECTURES[name].module_of
    internals = network.symbol.get_internals()
    outputs = {module_of(out.removesuffix("_output")): out for out in internals.list_outputs()}
    known = {module: outputs[module] for module in expected if module in outputs}
    # MXNet cannot compute several layers at once and show them one by one.
    os.environ[FUSION] = "NONE"
    given = _outputs(network, [internals[output] for output in known.values()], image)
    del os.environ[FUSION]
    stages: dict[str, tuple[int, float]] = {}
    for module, ours in zip(known, given, strict=True):
        stage = ".".join(module.split(".")[:2])
        count, most = stages.get(stage, (0, 0.0))
        stages[stage] = count + 1, max(most, _difference(ours, expected[module]))
    (logits,) = _outputs(network, [network.symbol.get_children()[0]], image)
    stages["all at once"] = 1, _difference(logits, expected[""])
    for stage, (count, difference) in stages.items():
        print(f"{name:20} {stage:20} {count:3} layers  {difference:.1e}", flush=True)
    return max(difference for _, difference in stages.values())


def _compare_import(name: str, directory: Path) -> float:
    from finetune_trainer.model.formats.onnx.file import read_graph
    from finetune_trainer.model.formats.onnx.translate import to_network

    image, expected = np.load(directory / "image.npy"), np.load(directory / "layers.npz")[""]
    try:
        network = to_network(read_graph(directory / "network.onnx"), size=image.shape[2])
    except TrainerError as error:
        print(f"{name:20} ONNX refused: {error.message}", flush=True)
        return np.inf
    (given,) = _outputs(network, [network.symbol], image)
    difference = _difference(given, expected)
    print(f"{name:20} {'from its ONNX file':20} {difference:.1e}", flush=True)
    return difference


def _outputs(network: Network, outputs: list[Any], image: Any) -> list[Any]:
    import mxnet as mx

    executor = mx.sym.Group(outputs).simple_bind(mx.cpu(), grad_req="null", data=image.shape)
    executor.copy_params_from(network.args, network.aux, allow_extra_params=True)
    return [output.asnumpy() for output in executor.forward(data=mx.nd.array(image))]


def _difference(ours: Any, theirs: Any) -> float:
    return float(np.abs(ours.reshape(theirs.shape) - theirs).max() / np.abs(theirs).max())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
