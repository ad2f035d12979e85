"""Outputs of PyTorch's own networks, layer by layer: the other half of `bench.parity`.

`python parity_reference.py NAME DIRECTORY [WEIGHTS]` runs where PyTorch is, without the project: it
writes weights.pth, image.npy, layers.npz (the output of every layer, by its module's name) and, of
a network that torch.onnx takes, network.onnx.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray

SIZES = {"efficientnet-lite1": 240, "efficientnet-lite2": 260}


def build(name: str) -> torch.nn.Module:
    """Return the reference implementation, with random weights."""
    torch.manual_seed(0)
    if name.startswith("efficientnet-lite"):
        from efficientnet_lite_pytorch import EfficientNet

        return EfficientNet.from_name(name)
    network = torchvision.models.get_model(
        name.replace("resnet-", "resnet").replace("-", "_"), weights=None
    )
    for module in network.modules():  # as training leaves them: the same everywhere shows nothing
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.7, 1.3)
    return network


def layers(network: torch.nn.Module, image: torch.Tensor) -> dict[str, NDArray[Any]]:
    """Return the outputs of all modules without modules of their own; "" is the network's."""
    found: dict[str, NDArray[Any]] = {}

    def keep(name: str) -> None:
        def hook(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
            found[name] = output.detach().numpy().copy()

        dict(network.named_modules())[name].register_forward_hook(hook)

    for name, module in network.named_modules():
        if not any(module.children()):
            keep(name)
    with torch.no_grad():
        found[""] = network(image).numpy()
    return found


def main(name: str, directory: Path, weights: Path | None) -> None:
    """Write the files of one network."""
    network = build(name).eval()
    if weights:
        network.load_state_dict(torch.load(weights, weights_only=True))
    torch.save(network.state_dict(), directory / "weights.pth")
    size = SIZES.get(name, 224)
    image = torch.randn((1, 3, size, size), generator=torch.Generator().manual_seed(1))
    np.save(directory / "image.npy", image.numpy())
    np.savez(directory / "layers.npz", **layers(network, image))
    if not name.startswith("efficientnet-lite"):
        torch.onnx.export(network, (image,), directory / "network.onnx", dynamo=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
