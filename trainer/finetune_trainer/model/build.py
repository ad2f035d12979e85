"""Puts a new last layer on the pretrained network (the stage `model`)."""

import os
from pathlib import Path

from finetune_trainer import files
from finetune_trainer.contract import ModelStatus
from finetune_trainer.handoff import BUILT, PACKED, Built, Packed
from finetune_trainer.model import catalogue
from finetune_trainer.model.convert import convert
from finetune_trainer.model.network import PREPROCESSING, Network, load, load_preprocessing, save
from finetune_trainer.model.surgery import replace_head, with_momentum
from finetune_trainer.stage import Run

MOMENTUM = 0.9
"""BatchNorm's, for the few hundred steps of a fine-tuning."""


def build(run: Run) -> None:
    """Put a new last layer for the data set's classes on the pretrained network."""
    packed = files.read_json(run.paths.job / PACKED, Packed)
    name = run.job.model.name or ""
    entry = catalogue.find(name)
    directory = _locate(name, run.paths.models)
    surgery = replace_head(load(directory), len(packed.classes))
    network = surgery.network
    status = ModelStatus(name=name, sha256=entry.weights.sha256, head=surgery.replaced)
    target = run.paths.job / "model"
    with files.whole_directory(target, check=run.check_owner) as staged:
        save(Network(with_momentum(network.symbol, MOMENTUM), network.args, network.aux), staged)
        files.write_json(staged / PREPROCESSING, preprocessing := load_preprocessing(directory))
    built = Built(
        directory=str(target),
        features=surgery.features,
        input_size=preprocessing.input_size,
        mean=preprocessing.mean,
        std=preprocessing.std,
        status=status,
    )
    run.hand_on(BUILT, built)
    run.reporter.model(status)


def _locate(name: str, bundled: Path) -> Path:
    """Return the entry's MXNet files: from the image, or converted once into the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cached = cache / "finetune-operator" / "models"
    for models in (bundled, cached):
        if (models / name / PREPROCESSING).is_file():
            return models / name
    return convert(name, cached)
